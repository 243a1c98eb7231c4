"""The second verdict: a proof by the op rules that a network commutes with the mirror, for all inputs.

Inference has shown that every op commutes if each weight has the representation found for it. What is left is to look
at the weights themselves: each must be what the mirror makes of it.
"""

from __future__ import annotations

import torch

from chiralize import reynolds
from chiralize.errors import ChiralizeError
from chiralize.records import CapturedModel, Leaf, RepMap, Where
from chiralize.representation import TensorRepresentation
from chiralize.symbolic import evaluate
from chiralize.verdicts import CertificateVerdict

_ULPS = 32


def judge(captured: CapturedModel, repmap: RepMap) -> CertificateVerdict:
    """Check every parameter and statistic against its representation; constants were checked by inference.

    A weight passes if it differs from its mirror image by no more than rounding (32 eps of its largest entry).
    """
    constants = sum(leaf.kind == "constant" for leaf in captured.leaves.values())
    ops, weights = len(captured.nodes), len(captured.weights) + constants
    for leaf in _in_order(captured):
        excess, deviation = _excess(leaf, evaluate(repmap.leaves[leaf.name], {}))
        if excess > 1.0:
            largest = float(leaf.tensor.detach().abs().max())
            text = f"{leaf.names[0]} {tuple(leaf.shape)}: max |W - T W| = {deviation:.3g}, largest entry {largest:.3g}"
            return CertificateVerdict(False, ops, weights, leaf.where, text)
    uneven = [leaf.names[0] for leaf in captured.states if _excess(leaf, evaluate(repmap.leaves[leaf.name], {}))[0] > 1]
    notes = tuple(f"state {name} starts lopsided: roll-outs mirror each other once it is reset" for name in uneven)
    return CertificateVerdict(True, ops, weights, notes=notes)


def _in_order(captured: CapturedModel) -> list[Leaf]:
    """Weights in the order in which the graph reads them."""
    reads = (ref.name for node in captured.nodes for ref in node.reads)
    place = {name: at for at, name in enumerate(dict.fromkeys(reads))}
    return sorted(captured.weights, key=lambda leaf: place.get(leaf.name, len(place)))


def _excess(leaf: Leaf, rep: TensorRepresentation) -> tuple[float, float]:
    """max |W - T W| in units of what rounding explains, and itself."""
    tensor = leaf.tensor.detach()
    if not tensor.numel():
        return 0.0, 0.0
    eps = torch.finfo(tensor.dtype).eps if tensor.is_floating_point() else 0.0
    wide = tensor.double()
    deviation = float((wide - reynolds.act(wide, rep)).abs().max())
    allowed = _ULPS * eps * float(wide.abs().max())
    return (deviation / allowed if allowed else float(deviation > 0) * 2), deviation


def refused(error: ChiralizeError, ops: int) -> CertificateVerdict:
    """The verdict where inference found an op that cannot commute."""
    return CertificateVerdict(False, ops, 0, Where("", error.where), error.facts)
