"""Poses relative to one joint, whose coordinates are repeated for all of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor, nn

from tests.support.small_body import ROUNDING, Net, converted, residual, trained, verdicts

ROOTS: dict[str, Callable[[Tensor], Tensor]] = {
    "per joint": lambda x: x - x[:, :1].repeat(1, 6, 1),
    "flat": lambda x: (x.flatten(1) - x[:, 0].repeat(1, 6)).unflatten(1, (6, 2)),
    "flat, tiled": lambda x: (x.flatten(1) - x[:, 0].tile(6)).unflatten(1, (6, 2)),
}


@pytest.mark.one_in(3)
@pytest.mark.parametrize("relative", ROOTS.values(), ids=ROOTS)
def test_the_root_is_the_same_for_all_joints(relative: Callable[[Tensor], Tensor]) -> None:
    parts = {"first": nn.Linear(12, 16), "last": nn.Linear(16, 12)}
    net = Net(lambda s, x: s.last(s.first(relative(x).flatten(1)).relu()).unflatten(1, (6, 2)), **parts)
    found = converted(trained(net))
    assert residual(found, (3, 6, 2)) <= ROUNDING
    assert verdicts(found)[:2] == (True, True)
