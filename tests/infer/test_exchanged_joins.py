"""Two stacks that the mirror exchanges, whose parts stand in reversed order; look-alikes are not approved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import chiralize
from chiralize.errors import UnsupportedError
from chiralize.graph.model import Node, Ref, Where
from chiralize.infer.exchanges import settings
from tests.support.small_body import Net, normal

SPEC = {"skeleton": "coco", "inputs": [{"layout": "b c h ~w"}], "outputs": [{"layout": "b c h ~w"}]}
Stacks = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]

STACKS: dict[str, tuple[bool, Stacks]] = {
    "reversed": (True, lambda p, p_, r, r_: (torch.stack([p, r], -1), torch.stack([r_, p_], -1))),
    "joined": (True, lambda p, p_, r, r_: (torch.cat([p, r], -1), torch.cat([r_, p_], -1))),
    "in the same order": (False, lambda p, p_, r, r_: (torch.stack([p, r], -1), torch.stack([p_, r_], -1))),
    "along another axis": (False, lambda p, p_, r, r_: (torch.stack([p, r], -1), torch.stack([r_, p_], -2))),
    "one part twice": (False, lambda p, p_, r, r_: (torch.stack([p, r], -1), torch.stack([p_, p_], -1))),
}


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", STACKS)
def test_places_of_two_stacks(name: str) -> None:
    exact, stacked = STACKS[name]

    def compute(_: Net, x: Tensor) -> Tensor:
        a, b = x[..., 1:], x[..., :-1]  # exchanged, and so are the sums below, two by two
        one, two = stacked(a + 2 * b, b + 2 * a, a + 3 * b, b + 3 * a)
        return torch.tanh(one).flatten(3) + torch.tanh(two).flatten(3)

    try:
        report = chiralize.verify(Net(compute).eval(), SPEC, (normal(2, 3, 4, 5),), samples=2)
    except UnsupportedError:
        proved, passed = False, exact
    else:
        proved, passed = (
            report.judgement.certificate is not None and report.judgement.certificate.passed,
            report.judgement.numeric.passed,
        )
    assert (passed, proved) == (exact, exact)


A, B = Ref("a"), Ref("b")
ARGUMENTS: dict[str, tuple[bool, dict[str, Any], dict[str, Any]]] = {
    "other tensors": (True, {"self": A, "min": 0.1}, {"self": B, "min": 0.1}),
    "a list and a tuple": (True, {"self": A, "dim": [1, 2]}, {"self": B, "dim": (1, 2)}),
    "another bound": (False, {"self": A, "min": 0.1}, {"self": B, "max": 0.1}),
    "another bound, a tensor": (False, {"self": A, "min": B, "max": None}, {"self": A, "min": None, "max": B}),
    "another axis": (False, {"self": A, "indices": [None, B]}, {"self": A, "indices": [B, None]}),
    "a number and a truth": (False, {"self": A, "other": 1}, {"self": B, "other": True}),
    "a whole number": (False, {"self": A, "other": 1}, {"self": B, "other": 1.0}),
    "a list of truths": (False, {"self": A, "dim": [0, 1]}, {"self": B, "dim": [False, True]}),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_settings_tell_arguments_apart(name: str) -> None:
    """Two ops with equal settings differ in their tensors alone."""
    alike, *arguments = ARGUMENTS[name]
    one, two = (settings(Node(name, "aten.op", given, ((2,),), frozenset((0,)), Where())) for given in arguments)
    assert (one == two) == alike
