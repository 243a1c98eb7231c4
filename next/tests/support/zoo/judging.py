"""Measures on networks of the zoo: residual against the T of the case, flip averages from two roll-outs apart."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from tests.support.zoo.case import Case, Step, rolled_out, turned

STEPS = 3


def entered(module: nn.Module, case: Case) -> Callable[..., Any]:
    """The method that the case calls, on a copy, so that nothing is remembered; forward of a two-view network."""
    own = copy.deepcopy(module)
    return getattr(own, case.entry, own) if case.entry != "forward" else own


def widened(step: Step, case: Case) -> Step:
    """States once per view, side by side on their last axis."""
    rest = iter(case.turns_in)
    return pytree.tree_map_only(Tensor, lambda x: torch.cat([x, x], -1) if next(rest) is None else x, step)


def inputs(case: Case, dtype: torch.dtype, lifted: bool = False) -> list[Step]:
    steps = case.steps(STEPS, dtype, seed=11)
    return [widened(step, case) for step in steps] if lifted else steps


def residual(module: nn.Module, case: Case, dtype: torch.dtype = torch.float64, lifted: bool = False) -> float:
    """max |F(T x) - T F(x)| over max |F(x)|, states rolled out from zero."""
    steps = inputs(case, dtype, lifted)
    plain = rolled_out(entered(module, case), steps, case)
    there = rolled_out(entered(module, case), [turned(step, case.turns_in) for step in steps], case)
    expected = [_turned_outputs(step, case) for step in plain]
    return apart(expected, [_kept(step, case) for step in there]) / scale(expected)


def flip_average(module: nn.Module, case: Case, dtype: torch.dtype = torch.float64) -> list[list[Tensor]]:
    """Two roll-outs apart, on x and on T x, averaged."""
    steps = inputs(case, dtype)
    plain = rolled_out(entered(module, case), steps, case)
    there = rolled_out(entered(module, case), [turned(step, case.turns_in) for step in steps], case)
    return [
        [0.5 * (a + b) for a, b in zip(_kept(own, case), _turned_outputs(theirs, case), strict=True)]
        for own, theirs in zip(plain, there, strict=True)
    ]


def answers(
    module: nn.Module, case: Case, dtype: torch.dtype = torch.float64, lifted: bool = False
) -> list[list[Tensor]]:
    """Outputs that are no states."""
    return [_kept(step, case) for step in rolled_out(entered(module, case), inputs(case, dtype, lifted), case)]


def apart(left: Sequence[Sequence[Tensor]], right: Sequence[Sequence[Tensor]]) -> float:
    """Largest difference."""
    return max(float((a - b).abs().max()) for x, y in zip(left, right, strict=True) for a, b in zip(x, y, strict=True))


def scale(values: Sequence[Sequence[Tensor]]) -> float:
    return max(float(own.abs().max()) for step in values for own in step)


def _kept(step: Sequence[Tensor], case: Case) -> list[Tensor]:
    return [own for own, turn in zip(step, case.turns_out, strict=True) if turn is not None]


def _turned_outputs(step: Sequence[Tensor], case: Case) -> list[Tensor]:
    return [turn(own) for own, turn in zip(step, case.turns_out, strict=True) if turn is not None]
