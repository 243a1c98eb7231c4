"""The second verdict: a proof by the op rules that a network of one pass commutes with the mirror, for all inputs.

The average of both views has a proof of its own, which needs no rules: `average_proof`.

Inference has shown that every op commutes if each weight has the representation found for it. What is left is to look
at the weights themselves: each must be what the mirror makes of it.

Example: y = W x, where T exchanges the two entries of x, and likewise those of y. Inference says that T acts on W by an
exchange of its rows and of its columns. W = [[1, 2], [2, 1]] is left as it is, so y commutes. Of [[1, 2], [3, 1]] the
image is [[1, 3], [2, 1]]: max |W - T W| = 1, and the proof breaks at W.

`judge.judge` calls this with the graph captured anew, and with the representations inferred on it (`repmap`).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from chiralize.errors import ChiralizeError
from chiralize.graph.model import CapturedModel, Leaf, Ref, Where
from chiralize.infer.records import RepMap
from chiralize.infer.registry import registry
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.symmetry.reynolds import act, ground, images, wide
from chiralize.symmetry.symbolic import evaluate
from chiralize.verification.verdicts import CertificateVerdict

_ULPS, _SINGLE = 32, 2.0**-23  # units in the last place that are rounding; eps of float32
_COARSE = 1e-4  # a weight in half precision was computed in another: it is off by its own rounding at most


def judge(captured: CapturedModel, repmap: RepMap) -> CertificateVerdict:
    """Check every parameter and statistic against its representation; constants were checked by inference.

    A weight passes if it differs from its mirror image by no more than rounding: 32 eps of an entry, or of what its row
    is measured by (`reynolds.ground`); in half precision by the rounding of the entry alone. What a state starts from
    is looked at likewise: a roll-out from elsewhere does not mirror that of T x.
    """
    constants = sum(leaf.kind == "constant" for leaf in captured.leaves.values())
    ops, weights = len(captured.nodes), len(captured.weights) + constants
    # In the order of the graph, so that the first weight that breaks the proof is the one nearest to the input.
    for leaf in (*_in_order(captured), *captured.states):
        excess, deviation = _excess(leaf, captured, repmap)
        if excess > 1.0:
            largest = float(leaf.tensor.detach().abs().max())
            text = f"{leaf.names[0]} {tuple(leaf.shape)}: max |W - T W| = {deviation:.3g}, largest entry {largest:.3g}"
            if leaf.kind == "state":
                text = f"the start of state {text}; reset it first"
            return CertificateVerdict(False, ops, weights, leaf.where, text)
    return CertificateVerdict(True, ops, weights, notes=tuple(_divided(captured, repmap)))


def _divided(captured: CapturedModel, repmap: RepMap) -> Iterator[str]:
    """Notes on ops that divide by numbers that the mirror negates: 1 / x is odd, except at x = 0."""
    for node in captured.nodes:
        rule = registry().get(node.target)
        if rule is not None:
            divisor = node.arguments.get(rule.divisor)
        else:
            divisor = None
        if not isinstance(divisor, Ref):
            continue
        rep = repmap.leaves.get(divisor.name) or repmap.nodes[divisor.name][0]
        if rep is not None and not evaluate(rep, {}).is_sign_free:
            yield f"{node.where}: true where no number that the mirror negates is exactly 0 ({node.target})"


def _in_order(captured: CapturedModel) -> list[Leaf]:
    """Weights in the order in which the graph reads them."""
    position = {name: index for index, name in enumerate(captured.read_counts)}
    return sorted(captured.weights, key=lambda leaf: position.get(leaf.name, len(position)))


def _excess(leaf: Leaf, captured: CapturedModel, repmap: RepMap) -> tuple[float, float]:
    """max |W - T W'|, as a multiple of the allowed rounding and as a number. W' is W, or the weight that T exchanges
    with W.
    """
    tensor, rep = leaf.tensor.detach(), evaluate(repmap.leaves[leaf.name], {})
    # Two weights of one shape may be exchanged: those of a left and of a right branch.
    other = captured.leaves[repmap.partners.get(leaf.name, leaf.name)]
    if not tensor.numel():
        return 0.0, 0.0
    exact = not (tensor.is_floating_point() or tensor.is_complex())
    eps = 0.0 if exact else torch.finfo(tensor.dtype).eps
    # Half precision, with eps of 1e-3 and 8e-3: 32 of those would pass a weight that is off by a quarter.
    if eps > _COARSE:
        entry_eps, ground_eps = eps, _ULPS * _SINGLE
    else:
        entry_eps, ground_eps = _ULPS * eps, _ULPS * eps
    slack = _slack(leaf, other, rep)
    excess = deviation = 0.0
    for rows, image in images(other.tensor.detach(), rep):
        weight, mirrored = wide(tensor[rows]), wide(image)
        apart = torch.where(weight == mirrored, 0.0, (weight - mirrored).abs())  # inf - inf is no difference
        largest = torch.maximum(weight.abs(), mirrored.abs())
        allowed = torch.maximum(entry_eps * largest, ground_eps * ground(weight))
        if slack is not None:
            allowed = allowed + slack[rows]
        ratio = torch.where(apart == 0, 0.0, apart / allowed).nan_to_num(torch.inf)  # where nothing is allowed
        excess, deviation = max(excess, float(ratio.max())), max(deviation, float(apart.max()))
    return excess, deviation


def _slack(leaf: Leaf, partner: Leaf, rep: TensorRepresentation) -> torch.Tensor | None:
    """The rounding of an offset that a bias took up, in an entry and its partner: b in b + W c is rounded."""
    if leaf.slack is None or partner.slack is None:
        return None
    return leaf.slack + act(partner.slack, rep).abs()


def refused(error: ChiralizeError, ops: int) -> CertificateVerdict:
    """The verdict where inference found an op that cannot commute."""
    return CertificateVerdict(False, ops, 0, Where("", error.where), error.facts)
