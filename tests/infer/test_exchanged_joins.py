"""Two stacks that the mirror exchanges, whose parts stand in reversed order; look-alikes are not approved."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import chiralize
from chiralize.errors import UnsupportedError
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
