"""Whether a passport belongs to a module: its names and shapes are there, and its weights are symmetric.

A passport says by name how T acts on every weight, such as `fc1.weight: [64 pairs | 17 joints]`. `load`, `attach` and
`save` ask here before they hold a module to it:

    fitted             the passport that is true of this module (blocks and dense weights have two), or UsageError
    check_symmetric    |W - P(W)| is rounding for every weight, or AsymmetricWeightError

What forward does with these weights is not looked at; verdicts do that.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

import torch
from torch import nn

from chiralize.body.tensors import ConversionSpec
from chiralize.body.tensors.claims import claimed_parts, is_partial
from chiralize.errors import AsymmetricWeightError, UsageError
from chiralize.errors.words import when
from chiralize.nn import ChiralModule
from chiralize.nn.symmetric import Weights, are_computed, in_blocks, tensors_by_name
from chiralize.nn.two_view import TwoView
from chiralize.storage.passport import Passport

_SHOWN = 3
"""Names that a message lists."""
_STATISTICS = ("running_mean", "running_var")


def as_folded(passport: Passport, names: Container[str]) -> Passport:
    """The passport of the same network with dense weights, which has these names; as it is unless it holds blocks.

    A passport of blocks says of dense weights, too, how they transform; of the blocks, that nothing happens to them.
    """
    if passport.form != "blocks":
        return passport
    dense = {name: rep for name, rep in passport.hidden.items() if name in names or not rep.is_trivial}
    return replace(passport, form="folded", hidden=dense)


def refuse_claims_in_part(spec: ConversionSpec, where: str) -> None:
    """Raise UsageError where entries of outputs are left out: whatever holds weights to a mirror holds all of them."""
    if is_partial(spec):
        names = ", ".join(name for part in claimed_parts(spec) for name, _ in part.names)
        facts = f"nothing is claimed of some of its outputs ({names}), and this is for networks that are mirrored whole"
        raise UsageError(
            where, facts, "write such a network with `chiralize convert -o FILE`, and look at it by verify"
        )


def fitted(passport: Passport, module: nn.Module, where: str) -> Passport:
    """The passport as it is true of this module, whose weights it describes by name and shape. Raises UsageError.

    First of all one view or two: an average has the original's weights, of which no mirror says anything, so that its
    passport is right for every module of two views and wrong for any of one. Then names, then shapes.
    """
    refuse_claims_in_part(passport.spec, where)
    if isinstance(module, TwoView):
        if not passport.is_average:
            facts = f"the module runs both views, the mirror is of a network made by {passport.method}"
            raise UsageError(where, facts, "attach it to a module of the original class")
        return passport
    # A graph that was loaded from a file runs both views by its ops, and no class tells: it is taken at its word.
    is_graph = isinstance(module, torch.fx.GraphModule)
    if is_script_of_both_views(module):
        if not passport.is_average:
            facts = f"the script runs both views, the mirror is of a network made by {passport.method}"
            raise UsageError(where, facts, "attach it to a module of the original class")
        return passport
    if passport.is_average and not is_graph:
        facts = f"it is of a network that runs both views, {type(module).__name__} runs one"
        raise UsageError(where, facts, "use chiralize.load(path), which gives that network back")
    # Of a part that is averaged, too, the weights are those of one view: only the graph runs both.
    if passport.averaged and not is_graph:
        facts = f"it is of a network that runs both views of a part, {type(module).__name__} runs one"
        raise UsageError(where, facts, "use chiralize.load(path), which gives that network back")
    tensors = tensors_by_name(module)
    # A module of dense weights whose passport is of blocks is the same network before they were made, or put together
    # again.
    passport = passport if is_graph or has_blocks(module) else as_folded(passport, tensors)
    weights = [name for name in passport.hidden if " output " not in name]  # stretches that are averaged are no weights
    computed = are_computed(tensors, weights, passport.form) if is_graph else ()
    # A weight may be missing by its name and be there all the same: in blocks, or computed from them in a graph.
    absent = [name for name in weights if name not in tensors and not in_blocks(module, name)]
    missing = [name for name in absent if name not in computed]
    if missing:
        facts = f"{type(module).__name__} has no {_first(missing)}, of {len(weights)} weights that the mirror acts on"
        raise UsageError(where, facts, "give the module that was converted, with the same names")
    wrong = [name for name in weights if name in tensors and tensors[name].shape != passport.hidden[name].shape]
    if wrong:
        name = wrong[0]
        facts = f"{name} is {tuple(tensors[name].shape)}, the mirror acts on {passport.hidden[name].shape}"
        raise UsageError(where, facts, "build it with the sizes of the converted one, or use chiralize.load(path)")
    return passport


def is_script_of_both_views(module: nn.Module) -> bool:
    """Whether this is the TorchScript that an average is written as (`nn.deploy.script_views`), read from its file."""
    parts = {name for name, _ in module.named_children()}
    return isinstance(module, torch.jit.ScriptModule) and {"views", "mirror_inputs", "mirror_outputs"} <= parts


def check_symmetric(passport: Passport, module: nn.Module) -> None:
    """Raise AsymmetricWeightError where the mirror moves weights, statistics, or states that are stored.

    Not asked of an affine mirror, whose biases hold an offset: there forward has to be proved.
    """
    if passport.spec.is_affine or passport.is_average:
        return
    weights = Weights.of(module, passport.hidden, passport.exchanged, passport.others)
    apart = weights.asymmetric()
    if not apart:
        return
    parameters = dict(module.named_parameters(remove_duplicate=False))
    # The parameter that is off furthest; a buffer only where no parameter is off.
    name = max(apart, key=lambda candidate: (candidate in parameters, apart[candidate]))
    facts = (
        f"the mirror moves {len(apart)} of {len(weights.hidden)} weights and buffers, this one the furthest: "
        f"|W - P(W)| / |W| = {apart[name]:.3g}"
    )
    remedy = (
        "train with chiralize.keep_symmetric(network, optimizer); "
        "attach(module, path, project=True) takes the nearest symmetric weights"
    )
    if name not in parameters and not name.endswith(_STATISTICS):
        remedy = f"if it is a state that forward left there, reset it first, as before a first call; else {remedy}"
    raise AsymmetricWeightError(name, facts, remedy)


def has_blocks(module: nn.Module) -> bool:
    """Whether some layer of a module is one of `chiralize.nn`."""
    return any(isinstance(layer, ChiralModule) for layer in module.modules())


def _first(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = when(len(names) > _SHOWN, f", and {len(names) - _SHOWN} more")
    return ", ".join(names[:_SHOWN]) + more
