"""Sets of pairs that the order of joints gives: involutions, each once, and all that a box of corners can have."""

from __future__ import annotations

import pytest

from chiralize.body.skeleton.regular_pairs import regular_pairs
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.verification.evidence.paired_in_order import paired_in_order


def names(count: int) -> tuple[str, ...]:
    return tuple(f"k{joint}" for joint in range(count))


@pytest.mark.parametrize("count", range(1, 25))
def test_each_set_pairs_no_joint_twice_and_comes_once(count: int) -> None:
    sets = [pairs for _, pairs in regular_pairs(names(count))]
    for pairs in sets:
        joints = [joint for pair in pairs for joint in pair]
        assert len(joints) == len(set(joints)) >= count - count % 2 - count // 3 and set(joints) <= set(range(count))
    assert len({frozenset(map(frozenset, pairs)) for pairs in sets}) == len(sets)
    assert bool(sets) == (count >= 4)


def test_the_three_axes_of_a_box_are_among_them() -> None:
    sets = [{frozenset(pair) for pair in pairs} for _, pairs in regular_pairs(names(8))]
    for bit in (1, 2, 4):
        assert {frozenset((corner, corner ^ bit)) for corner in range(8)} in sets


def test_pairs_that_a_skeleton_has_are_no_change() -> None:
    body = Skeleton("box", names(4), ((1, 0), (2, 3)), ("x", "y", "z"), ("x",))
    changed = [change(body).pairs for _, change in paired_in_order(body)]
    assert ((0, 1), (2, 3)) not in changed and ((0, 2), (1, 3)) in changed and ((0, 3), (1, 2)) in changed
    other = Skeleton("more", names(6), (), ("x", "y", "z"), ("x",))
    assert all(change(other) is other for _, change in paired_in_order(body))
