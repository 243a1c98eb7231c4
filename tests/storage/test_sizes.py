"""Whole numbers that sizes are computed from: ONNX divides towards zero, also what is open."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from chiralize.storage.onnx_reading.sizes import arithmetic, numbers, shape_of, single

PAIRS = [(one, other) for one, other in product(range(-7, 8), range(-3, 4)) if other]


def result(kind: str, one: object, other: object, fmod: int = 0) -> object:
    """The operator on two numbers."""
    function = arithmetic(kind, fmod)
    assert function is not None
    return single(function(numbers(one), numbers(other)))


def test_whole_numbers_are_divided_towards_zero() -> None:
    for one, other in PAIRS:
        assert result("Div", one, other) == math.trunc(one / other)
        assert result("Mod", one, other) == one % other
        assert result("Mod", one, other, fmod=1) == math.fmod(one, other)
    assert result("Mod", -5.5, 2.0, fmod=1) == -1.5 and result("Div", 7.0, 2) == 3.5


class Divided(nn.Module):
    """An open size, less `less`, divided by two, and what that leaves, as entries of a sum."""

    def __init__(self, sign: int, less: int) -> None:
        super().__init__()
        self.sign, self.less = sign, less

    def forward(self, x: Tensor) -> Tensor:
        size = self.sign * (single(shape_of(x)[:1]) - self.less)
        quotient, rest = result("Div", size, 2), result("Mod", size, 2, fmod=1)
        return x.new_ones(1) * quotient * 10 + rest  # type: ignore[operator]


@pytest.mark.parametrize(("sign", "less"), [(1, 0), (-1, 0), (1, 6), (-1, 6)])
def test_open_sizes_are_divided_towards_zero(sign: int, less: int) -> None:
    """Also where they are negated, and where their sign is open: at each size the program has the number of ONNX."""
    program = torch.export.export(
        Divided(sign, less), (torch.zeros(5, 2),), dynamic_shapes=({0: torch.export.Dim("b", min=2, max=64)},)
    )
    for rows in (2, 3, 5, 8, 9):
        size = sign * (rows - less)
        wanted = 10 * math.trunc(size / 2) + math.fmod(size, 2)
        assert float(program.module()(torch.zeros(rows, 2))) == wanted
