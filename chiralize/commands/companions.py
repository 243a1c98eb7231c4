"""What belongs to a policy's weights without being read by forward: spreads of actions, a second form of a variance.

A conversion sees what forward computes, the mean. Samples are drawn around it with standard deviations that trainers
keep in a parameter of their own; where partners have different ones, samples are not mirrored although their mean is.
rsl_rl's normaliser divides by `_std`, and makes that anew from `_var` when training goes on.

Spreads of 1.0 (left hip) and 2.0 (right hip) become sqrt((1 + 4) / 2) = 1.58 for both. `commands.convert` calls
`with_companions` on the finished module. Two views and fused graphs are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from chiralize.body.tensors import ResolvedSpec
from chiralize.commands.records import Conversion
from chiralize.graph.model import CapturedModel
from chiralize.problem.network import Network
from chiralize.storage.weight_notes import SPREADS
from chiralize.symmetry.involution import SignedPermutation

_VARIANCE, _DEVIATION = "_var", "_std"
_WHOLE = ("two-view", "fused")


def with_companions(conversion: Conversion, network: Network) -> Conversion:
    """The conversion with spreads that partners share and variances that fit, in its module; with a note on each.

    Nothing that forward reads is touched: the answers stay what was proved and measured.
    The module is the conversion's own copy, and changed in place.
    """
    if conversion.report.form in _WHOLE or network.captured is None:
        return conversion
    before, after = network.module.state_dict(), conversion.module.state_dict()
    # That the conversion left it as it was is not enough: a normaliser's spread may go with the mirror already.
    read = _read(network.captured)
    unread = {
        name: tensor for name, tensor in after.items() if name in before.keys() - read and _same(tensor, before[name])
    }
    notes = [*_spreads(unread, network), *_variances(unread, before, after)]
    if not notes:
        return conversion
    return replace(conversion, report=replace(conversion.report, notes=(*conversion.report.notes, *notes)))


def _read(captured: CapturedModel) -> set[str]:
    """The keys of what forward reads, also of what is computed from it beforehand, and of what it returns as it is."""
    names = set[str]()
    for value in (*captured.read_counts, *captured.results):
        leaf = captured.leaves.get(value)
        if leaf is not None:
            names.update(leaf.names, leaf.sources, leaf.frozen)
    return names


def _same(tensor: Tensor, other: Tensor) -> bool:
    """Whether a tensor of the result is still that of the original."""
    return tensor.shape == other.shape and torch.equal(tensor, other.to(tensor.device))


def _spreads(unread: Mapping[str, Tensor], network: Network) -> Iterator[str]:
    """Give partners one spread: of the mixture of both views, whose variance is the mean of theirs."""
    actions = [_of_actions(resolved) for resolved in (network.resolved, *dict(network.others.further).values())]
    partners = [torch.tensor(action.partner.tolist()) for action in actions if action is not None]
    # Under each mirror it has to be known how actions go; else a mean over some of them would be no symmetry.
    if not partners or len(partners) < len(actions):
        return
    for name, tensor in unread.items():
        last = name.rpartition(".")[2]
        if last not in SPREADS or not tensor.is_floating_point():
            continue
        size = len(partners[0])
        if tensor.numel() != size or tensor.shape[-1] != size:
            yield (
                f"{name} of shape {tuple(tensor.shape)}, a spread that forward does not read, stays as it was: samples "
                "of the actions are not mirrored, their mean is"
            )
            continue
        # log sigma to variance and back: exp(2 log sigma).
        is_log = "log" in last
        variances = tensor.double().mul(2).exp() if is_log else tensor.double().square()
        shared = variances
        for partner in partners:  # mirrors commute: one after another is the mean over all their products
            shared = (shared + shared[..., partner.to(tensor.device)]) / 2
        factor = float((shared / variances).log().abs().max().div(2).exp())
        # Equal already, but for rounding: nothing to say.
        if factor - 1 < 1e-6:
            continue
        with torch.no_grad():
            tensor.copy_(shared.log() / 2 if is_log else shared.sqrt())
        yield (
            f"{name}, a spread of the actions that forward does not read, was made equal for partners (by a factor of "
            f"up to {factor:.3g}), so that samples are mirrored as the mean is"
        )


def _of_actions(resolved: ResolvedSpec) -> SignedPermutation | None:
    """How the mirror acts on the last axis of the first output; None where it is no row of numbers."""
    tensors = resolved.output_tensors
    if not tensors or tensors[0].representation is None or tensors[0].kind not in ("pose", "fields"):
        return None
    axes = tensors[0].representation.axes
    if any(not axis.is_trivial for axis in axes[:-1]):
        return None
    return axes[-1].action


def _variances(
    unread: Mapping[str, Tensor], before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> Iterator[str]:
    """Make variances the squares of deviations that changed, where they were so before."""
    for name, tensor in unread.items():
        if not name.endswith(_VARIANCE):
            continue
        deviation = name.removesuffix(_VARIANCE) + _DEVIATION
        # Only a deviation that the conversion changed has left its variance behind.
        if deviation not in after or deviation in unread or after[deviation].shape != tensor.shape:
            continue
        if not torch.allclose(before[deviation].square(), before[name], rtol=1e-3, atol=1e-6):
            continue
        with torch.no_grad():
            tensor.copy_(after[deviation].square())
        yield f"{name} was set to the square of {deviation}, from which training would make that anew"
