"""How near two runs of one network are to each other, and how near they have to be."""

from __future__ import annotations

import torch

PARITY = {torch.float64: 1e-10, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 8e-2}
"""The bound, in units of the output's scale."""


def share_apart(output: torch.Tensor, expected: torch.Tensor) -> float:
    """max |output - expected| / max |expected|; infinite where one is not finite and the other differs."""
    if not output.numel() or torch.equal(output, expected):
        return 0.0
    output, expected = output.double(), expected.double()
    if not bool(torch.isfinite(output).all() and torch.isfinite(expected).all()):
        return float("inf")
    scale = float(expected.abs().max())
    if scale:
        return float((output - expected).abs().max()) / scale
    return float("inf")
