"""How near two runs of one network are to each other, and how near they have to be.

For files that another runtime computes: a written ONNX file (`onnx_comparing`), one that was read (`onnx_reading`).
The unit is the scale of an output, its largest absolute value: answers 2.00 and -1.00, computed as 2.00 and -1.01, are
0.01 / 2 = 0.005 apart. Runtimes sum in different orders, so that the last digits differ. Some networks enlarge such
differences by themselves: theirs get a wider bound, by how far they move when only their inputs are rounded.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from chiralize.graph.running import Call, results

PARITY = {torch.float64: 1e-10, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 8e-2}
"""The bound, in units of the output's scale."""
_TIMES, _FARTHEST, _LARGEST = 16, 100, 1e-3
"""Of a network that enlarges rounding: the multiple of what its outputs move by when its inputs are rounded, as a
multiple of the bound above at most, and never more than the last. A kernel rounds at every layer, not at the first.
"""
_DRAWS = 3
_DIGITS_OF_ONE = 4
"""By how many units in the last place of 1 sigmoids of two runtimes may differ."""


def widened(bound: float, moved: float) -> float:
    """The bound on a network whose outputs move by so much, in units of their scale, when its inputs are rounded."""
    return max(bound, min(_TIMES * moved, _FARTHEST * bound, _LARGEST))


def moved_by_rounding(network: Callable[..., Any], call: Call, answers: Sequence[torch.Tensor]) -> list[float]:
    """By how much the outputs move, in units of their scale, when every number of the inputs moves by its last digit.

    answers: to the call as it is.  The largest of three draws; nothing moves integers.
    """
    generator = torch.Generator().manual_seed(0)  # the same verdict each time
    moved = [0.0] * len(answers)

    def nudged(leaf: Any) -> Any:
        """The tensor, each entry up or down by one unit in the last place; anything else as it is."""
        if not isinstance(leaf, torch.Tensor) or not leaf.is_floating_point():
            return leaf
        sign = torch.randint(0, 2, leaf.shape, generator=generator).to(leaf.device, leaf.dtype) * 2 - 1
        return leaf * (1 + torch.finfo(leaf.dtype).eps * sign)

    for _ in range(_DRAWS):
        args, kwargs = pytree.tree_map(nudged, copy.deepcopy(call))
        with torch.no_grad():
            others, _ = results(network(*args, **kwargs))
        for index, (other, answer) in enumerate(zip(others, answers, strict=True)):
            moved[index] = max(moved[index], share_apart(other, answer))
    return moved


def share_apart(output: torch.Tensor, expected: torch.Tensor, of_size_one: bool = False) -> float:
    """max |output - expected| / max |expected|; infinite where one is not finite and the other differs.

    of_size_one: both are answers of an op that ends at one. Where they differ by a few of its last digits they are as
    near as runtimes compute it, however small they are themselves: then the difference.
    """
    if not output.numel() or torch.equal(output, expected):
        return 0.0
    last_digit = torch.finfo(expected.dtype).eps if expected.is_floating_point() else 0.0
    output, expected = output.double(), expected.double()
    # Equal ones returned above, infinite entries included. Else a difference with infinities would be NaN.
    if not bool(torch.isfinite(output).all() and torch.isfinite(expected).all()):
        return float("inf")
    apart, scale = float((output - expected).abs().max()), float(expected.abs().max())
    if of_size_one and apart <= _DIGITS_OF_ONE * last_digit:
        return apart
    return apart / scale if scale else float("inf")  # zeros were wanted, and are not there
