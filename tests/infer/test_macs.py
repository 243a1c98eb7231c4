"""Multiplications that rules count: against counts by hand, and for every op that says how many it takes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import chiralize
from chiralize.infer.products import left_alone
from chiralize.infer.registry import Call, Operand, registry
from chiralize.infer.solver.unify import Solver


def of(*shape: int) -> Operand:
    return Operand(left_alone(shape))


BY_HAND: dict[str, tuple[str, dict[str, Any], tuple[int, ...], int]] = {
    "two axes summed": (
        "tensordot", {"self": of(2, 3, 4), "other": of(4, 2, 3), "dims_self": [2, 0], "dims_other": [0, 1]}, (3, 3), 72,
    ),
    "no axis summed": (
        "tensordot", {"self": of(3), "other": of(4), "dims_self": [], "dims_other": []}, (3, 4), 12,
    ),
    "a power": ("matrix_power", {"self": of(4, 4), "n": 3}, (4, 4), 128),
    "a chain": ("chain_matmul", {"matrices": [of(3, 4), of(4, 3), of(3, 2)]}, (3, 2), 54),
    "a chain from a vector": ("linalg_multi_dot", {"tensors": [of(4), of(4, 3), of(3, 4)]}, (4,), 24),
    "an outer product": ("addr", {"self": of(3, 4), "vec1": of(3), "vec2": of(4)}, (3, 4), 12),
    "a batch summed": ("addbmm", {"self": of(3, 3), "batch1": of(2, 3, 4), "batch2": of(2, 4, 3)}, (3, 3), 72),
    "a batch": ("baddbmm", {"self": of(2, 3, 3), "batch1": of(2, 3, 4), "batch2": of(2, 4, 3)}, (2, 3, 3), 72),
    "columns": ("linalg_vecdot", {"x": of(3, 4), "y": of(3, 4), "dim": 0}, (4,), 12),
    "rows against one": ("linalg_vecdot", {"x": of(3, 4), "y": of(4), "dim": -1}, (3,), 12),
    "every row with every row": ("inner", {"self": of(3, 4), "other": of(2, 4)}, (3, 2), 24),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_counts_are_those_by_hand(case: str) -> None:
    name, arguments, shape, expected = BY_HAND[case]
    target = f"aten.{name}.default"
    assert registry()[target].macs(Call(target, arguments, (shape,), Solver())) == expected


class Powers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.w, self.out = nn.Parameter(torch.randn(34, 34) ** 3 / 6), nn.Linear(34, 51)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(x.flatten(1) @ torch.matrix_power(self.w, 2)).unflatten(1, (17, 3))


def test_a_network_with_the_power_of_a_matrix_is_counted() -> None:
    """It ended in an IndexError, since the op has one operand."""
    result = chiralize.chiralize(Powers().eval(), "h36m", (torch.randn(4, 17, 2),), method="average")
    report = chiralize.chirality(result).report
    assert report is not None and report.cost.macs_before >= 34**3 + 4 * 34 * (34 + 51)
