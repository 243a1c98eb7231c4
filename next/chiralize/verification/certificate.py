"""The second verdict: is it proved, by the rules of ops and the weights, that a network commutes with the mirror?

Inference has shown that every op commutes if each weight has the representation found for it. What is left is to look
at the weights themselves: each must be what the mirror makes of it.

Example: y = W x, where T exchanges the two entries of x, and likewise those of y. Inference says that T acts on W by an
exchange of its rows and of its columns. W = [[1, 2], [2, 1]] is left as it is, so y commutes. Of [[1, 2], [3, 1]] the
image is [[1, 3], [2, 1]]: max |W - T W| = 1, and the proof breaks at W.

Where pairs of similar weights prove nothing there are more ways to a proof (`another_proof`). Each of them is whole, so
it is enough that one holds; none can approve what is not equivariant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

from chiralize.errors import ChiralizeError, Finding, UnsupportedError
from chiralize.graph.model import CapturedModel, Leaf, Node, Ref, Where
from chiralize.infer.records import RepMap, Space
from chiralize.infer.rules.elementwise import divisor
from chiralize.infer.symbolic import evaluate
from chiralize.problem.mirror import NetworkMirror, analyse
from chiralize.problem.network import Network
from chiralize.symmetry.action import Turn, act, images, rounding_scale, wide
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.verification.average import why_no_average
from chiralize.verification.verdicts import CertificateVerdict

_ULPS, _SINGLE = 32, 2.0**-23  # units in the last place that are rounding; eps of float32
_COARSE = 1e-4  # a weight in half precision was computed in another: it is off by its own rounding at most
_AVERAGE = Finding("capture", "note", "two views averaged: T exchanges them")


# ---- by rules and weights --------------------------------------------------------------------------------------------
def prove(captured: CapturedModel, repmap: RepMap) -> CertificateVerdict:
    """Check every parameter and statistic against its representation; constants were checked by inference.

    A weight passes if it differs from its mirror image by no more than rounding: 32 eps of an entry, or of what its row
    is measured by (`action.rounding_scale`); in half precision by the rounding of the entry alone. What a state starts
    from is looked at likewise: a roll-out from elsewhere does not mirror that of T x.
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
    return CertificateVerdict(True, ops, weights, findings=tuple(_divided(captured, repmap)))


def refused(error: ChiralizeError, ops: int) -> CertificateVerdict:
    """The verdict where inference met an op that cannot commute."""
    return CertificateVerdict(False, ops, 0, Where("", error.where), error.facts)


def _divided(captured: CapturedModel, repmap: RepMap) -> Iterator[Finding]:
    """Findings on ops that divide by numbers that the mirror negates: 1 / x is odd, except at x = 0."""
    for node in captured.nodes:
        divided_by = _divisor(node)
        rep = repmap.of(divided_by.name) if divided_by is not None else None
        if rep is not None and not evaluate(rep, {}).is_sign_free:
            facts = f"{node.where}: true where no number that the mirror negates is exactly 0 ({node.target})"
            yield Finding("precision", "note", facts)


def _divisor(node: Node) -> Ref | None:
    """The tensor that an op divides by, or takes to a negative power."""
    position = divisor(node.target)
    values = list(node.arguments.values())
    value = values[position] if position is not None and position < len(values) else None
    return value if isinstance(value, Ref) else None


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
        entry_eps, row_eps = eps, _ULPS * _SINGLE
    else:
        entry_eps, row_eps = _ULPS * eps, _ULPS * eps
    slack = _slack(leaf, other, rep)
    excess = deviation = 0.0
    for rows, image in images(other.tensor.detach(), rep):
        weight, mirrored = wide(tensor[rows]), wide(image)
        apart = torch.where(weight == mirrored, 0.0, (weight - mirrored).abs())  # inf - inf is no difference
        largest = torch.maximum(weight.abs(), mirrored.abs())
        allowed = torch.maximum(entry_eps * largest, row_eps * rounding_scale(weight))
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


# ---- in other ways ---------------------------------------------------------------------------------------------------
def prove_average(
    captured: CapturedModel, turns_in: Sequence[Turn], turns_out: Sequence[Turn], exchanged: Mapping[str, str]
) -> CertificateVerdict:
    """The verdict on a graph that is to be an average over both views. The arguments are those of `why_no_average`."""
    ops, weights = len(captured.nodes), len(captured.weights)
    broken = why_no_average(captured, turns_in, turns_out, exchanged)
    if broken is None:
        return CertificateVerdict(True, ops, weights, findings=(_AVERAGE,))
    text = "is not unchanged when the two views are exchanged"
    return CertificateVerdict(False, ops, weights, Where(broken), text)


def another_proof(network: Network, mirror: NetworkMirror) -> tuple[CertificateVerdict, RepMap | None] | None:
    """The first proof that holds, with the representations that it used; None where there is none.

    The network may be an average, whatever lies between its views, as users write them; that proof uses no
    representations. Or the mirror leaves all hidden channels alone, as in networks where only joints move.
    Networks with states are left to their own proof, and so are those that draw numbers.
    """
    captured = network.captured
    if captured is None or captured.mutations or captured.drawing or mirror.states:
        return None
    average = prove_average(captured, mirror.turns_in, mirror.turns_out, {})
    if average.passed:
        return average, None
    try:
        repmap = analyse(network, _left_alone).repmap
    except UnsupportedError:
        return None
    # What was chosen is a guess: the certificate looks at every weight under it.
    proof = prove(network.graph(), repmap)
    return (proof, repmap) if proof.passed else None


def _left_alone(spaces: Sequence[Space], repmap: RepMap) -> dict[int, tuple[SignedPermutation, str]]:
    """Choose every hidden unit to be its own mirror image."""
    return {space.key: (SignedPermutation.identity(space.size), "left alone") for space in spaces}
