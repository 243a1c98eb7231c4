"""Crossed pairs are read off where joints lie in the mean; data that show one side are not taken for them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from chiralize.body.tensors import ResolvedSpec, parse_spec, resolve
from chiralize.symmetry.action import act
from chiralize.verification.evidence.pairs_of_inputs import with_crossed_pairs, with_pairs_of_inputs

PARTS = 6
NAMES = ["nose", *(f"{side}{part}" for part in range(PARTS) for side in "lr")]
LAYOUTS = {"b j d": "bjd", "b t j d": "btjd", "b (j d)": "b(jd)", "b (d j) t": "b(dj)t"}


def bodies(count: int = 200, lean: float = 0.0, seed: int = 0) -> Tensor:
    """Poses that move about a symmetric one, "count joint 2". lean: of all joints to one side."""
    drawn = torch.Generator().manual_seed(seed)
    right = torch.rand(PARTS, 2, generator=drawn) * 2 + torch.arange(PARTS)[:, None]
    mean = torch.cat(
        [torch.tensor([[0.0, 9.0]]), torch.stack([right * torch.tensor([-1.0, 1.0]), right], 1).flatten(0, 1)]
    )
    return mean + torch.tensor([lean, 0.0]) + 0.05 * torch.randn(count, len(NAMES), 2, generator=drawn)


def specified(partners: list[int], layout: str, sizes: tuple[int, ...]) -> ResolvedSpec:
    """The left part of every number paired with the right one of another number."""
    pairs = ", ".join(f"[l{part}, r{partner}]" for part, partner in enumerate(partners))
    text = (
        f"{{joints: [{', '.join(NAMES)}], pairs: [{pairs}], dims: [x, y], negate: x, inputs: [{{layout: {layout!r}}}]}}"
    )
    return resolve(parse_spec(text), [sizes], [(1, len(NAMES), 2)])


def arranged(poses: Tensor, layout: str) -> Tensor:
    """The same poses in another layout."""
    if layout == "b j d":
        return poses
    if layout == "b t j d":
        return poses.unflatten(0, (-1, 10))
    if layout == "b (j d)":
        return poses.flatten(1)
    return poses.transpose(1, 2).flatten(1).unflatten(0, (-1, 10)).transpose(1, 2)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_crossed_pairs_are_named_in_every_layout(layout: str) -> None:
    values = arranged(bodies(), layout)
    resolved = specified([0, 2, 1, 3, 4, 5], layout, tuple(values.shape))
    (neighbour,) = with_pairs_of_inputs(resolved, [((values,), {})])
    assert neighbour.name == "l1 paired with r1, l2 paired with r2 (as the means of input 0 tell)"
    names = [{NAMES[joint] for joint in pair} for pair in neighbour.spec.skeleton.pairs]
    assert all({f"l{part}", f"r{part}"} in names for part in range(PARTS)) and len(names) == PARTS


@given(st.permutations(range(PARTS)), st.integers(0, 1000))
def test_no_right_pair_is_taken_away(partners: list[int], seed: int) -> None:
    """Whatever is crossed, what is proposed are the pairs that the body has, or nothing."""
    values = bodies(seed=seed)
    resolved = specified(partners, "b j d", tuple(values.shape))
    for neighbour in with_pairs_of_inputs(resolved, [((values,), {})]):
        names = [{NAMES[joint] for joint in pair} for pair in neighbour.spec.skeleton.pairs]
        assert all({f"l{part}", f"r{part}"} in names for part in range(PARTS))


@pytest.mark.parametrize("lean", [0.0, 1.0])
def test_right_pairs_are_left_alone(lean: float) -> None:
    """Also of people who all lean to one side: no joint lies where the image of another one does."""
    values = bodies(lean=lean)
    resolved = specified(list(range(PARTS)), "b j d", tuple(values.shape))
    assert not list(with_pairs_of_inputs(resolved, [((values,), {})]))


MANY = 12
MARKERS = [*(f"{side}{part}" for part in range(MANY) for side in "lr"), "extra"]


def markers(count: int = 200, spread: float = 1.0) -> Tensor:
    """Twelve markers a side, of which 4 and 5 are as near each other as heel and toe, and one on the right alone."""
    drawn = torch.Generator().manual_seed(3)
    right = torch.stack([1 + torch.rand(MANY, generator=drawn), 2.0 * torch.arange(MANY)], 1)
    right[5] = right[4] + torch.tensor([0.0, 0.6])
    both = torch.stack([right * torch.tensor([-1.0, 1.0]), right], 1).flatten(0, 1)
    return torch.cat([both, torch.tensor([[3.0, 5.0]])]) + spread * torch.randn(count, len(MARKERS), 2, generator=drawn)


def of_markers(partners: list[int], values: Tensor) -> ResolvedSpec:
    pairs = ", ".join(f"[l{part}, r{partner}]" for part, partner in enumerate(partners))
    names = ", ".join(MARKERS)
    text = f"{{joints: [{names}], pairs: [{pairs}], dims: [x, y], negate: x, inputs: [{{layout: 'b j d'}}]}}"
    return resolve(parse_spec(text), [tuple(values.shape)], [(1, len(MARKERS), 2)])


@pytest.mark.parametrize("mirrored", [False, True])
def test_near_markers_of_many_are_tried_crossed(mirrored: bool) -> None:
    """Also where images of the samples under the wrong mirror were added, in which the means tell nothing."""
    crossed = [0, 1, 2, 3, 5, 4, *range(6, MANY)]
    values = markers()
    resolved = of_markers(crossed, values)
    if mirrored:
        action = resolved.inputs[0]
        assert action is not None
        values = torch.cat([values, act(values, action)])
    tried = list(with_crossed_pairs(resolved, [((values,), {})]))
    assert len(tried) <= 2 * MANY
    right = [other for other in tried if "l4 paired with r4 and l5 paired with r5" in other.name]
    assert len(right) == 1
    names = {frozenset(MARKERS[joint] for joint in pair) for pair in right[0].spec.skeleton.pairs}
    assert names == {frozenset({f"l{part}", f"r{part}"}) for part in range(MANY)}


def test_a_marker_of_one_side_hides_no_crossed_pairs() -> None:
    values = markers(spread=0.1)
    resolved = of_markers([0, 1, 2, 3, 4, 5, 7, 6, *range(8, MANY)], values)
    (neighbour,) = with_pairs_of_inputs(resolved, [((values,), {})])
    assert neighbour.name == "l6 paired with r6, l7 paired with r7 (as the means of input 0 tell)"


def test_few_pairs_are_all_crossed_elsewhere() -> None:
    values = bodies()
    assert not list(with_crossed_pairs(specified([0, 2, 1, 3, 4, 5], "b j d", tuple(values.shape)), [((values,), {})]))
