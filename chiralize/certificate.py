"""The second verdict: a proof by the op rules that a network commutes with the mirror, for all inputs.

Inference has shown that every op commutes if each weight has the representation found for it. What is left is to look
at the weights themselves: each must be what the mirror makes of it.
"""

from __future__ import annotations

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
    checked = 0
    worst: tuple[float, Leaf, float] | None = None
    for leaf in captured.weights:
        excess, deviation = _excess(leaf, evaluate(repmap.leaves[leaf.name], {}))
        checked += 1
        if excess > 1.0 and worst is None:
            worst = (excess, leaf, deviation)
    constants = sum(leaf.kind == "constant" for leaf in captured.leaves.values())
    if worst is None:
        return CertificateVerdict(True, len(captured.nodes), checked + constants)
    _, leaf, deviation = worst
    scale = float(leaf.tensor.abs().max())
    text = f"{leaf.names[0]} {tuple(leaf.shape)}: max |W - T W| = {deviation:.3g}, largest entry {scale:.3g}"
    return CertificateVerdict(False, len(captured.nodes), checked + constants, leaf.where, text)


def _excess(leaf: Leaf, rep: TensorRepresentation) -> tuple[float, float]:
    """max |W - T W| in units of what rounding explains, and itself."""
    tensor = leaf.tensor.detach()
    if not tensor.numel():
        return 0.0, 0.0
    wide = tensor.double()
    deviation = float((wide - reynolds.act(wide, rep)).abs().max())
    allowed = _ULPS * torch_eps(tensor) * float(wide.abs().max())
    return (deviation / allowed if allowed else float(deviation > 0) * 2), deviation


def torch_eps(tensor: object) -> float:
    """Rounding unit of a tensor's dtype."""
    import torch

    assert isinstance(tensor, torch.Tensor)
    return torch.finfo(tensor.dtype).eps if tensor.is_floating_point() else 0.0


def refused(error: ChiralizeError, ops: int) -> CertificateVerdict:
    """The verdict where inference found an op that cannot commute."""
    return CertificateVerdict(False, ops, 0, Where("", error.where), error.facts)
