"""Inputs whose coordinates stand in another order than in training: the means that a network keeps tell which."""

from __future__ import annotations

import re
from itertools import permutations, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.errors import DataFileError
from chiralize.graph.running import Call
from chiralize.problem.data.arranged import arrangement
from chiralize.problem.data.checks import judged
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.problem.request import Request
from tests.support.problems import posed
from tests.support.small_body import BODY, Net, normal

BODY_IN_SPACE = BODY.replace("[x, y]", "[x, y, z]") + "negate: x\n"
SPREADS = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64).expand(6, 3)
PLACES = torch.tensor([[0.1, -0.9, 3.0]]).double() + 0.4 * normal(6, 3, seed=7)
SIGNED = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def network(layout: str = "b j d", mean: Tensor = PLACES) -> Network:
    """One that keeps the mean and the spread of its inputs in the order of the layout."""
    spec = parse_spec(f'{BODY_IN_SPACE}inputs: [{{layout: "{layout}"}}]\noutputs: [{{layout: "{layout}"}}]\n')
    kept = [stored(values, layout) for values in (mean, SPREADS)]
    last = nn.Linear(kept[0].shape[-1], kept[0].shape[-1])
    net = Net(lambda net, x: net.last((x - net.mean) / net.spread), mean=kept[0], spread=kept[1], last=last)
    return prepare(net.double().eval(), spec, (normal(3, *kept[0].shape),))


def stored(poses: Tensor, layout: str) -> Tensor:
    if layout == "b j d":
        return poses
    return (poses if "(j d)" in layout else poses.mT).reshape(*poses.shape[:-2], -1)


def samples(count: int = 300) -> Tensor:
    """People about the places in training, "sample joint coordinate"."""
    return PLACES + SPREADS * normal(count, 6, 3, seed=3)


def as_calls(values: Tensor) -> list[Call]:
    return [((part,), {}) for part in values.split(50)]


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(SIGNED), st.sampled_from(["b j d", "b (j d)", "b (d j)"]))
def test_which_axes(change: tuple[tuple[int, ...], tuple[int, ...]], layout: str) -> None:
    """x' = x[order] * signs; what is named undoes it, checked on the values themselves."""
    order, signs = change
    given_poses = samples()[..., list(order)] * torch.tensor(signs)
    kept = network(layout)
    other = arrangement(kept, as_calls(stored(given_poses, layout)))
    off = float(((given_poses.mean(0) - PLACES) / SPREADS).square().mean().sqrt())
    if other is None:
        assert off < 2.0  # near already, or none is so much nearer
        return
    read = undone(given_poses, other.words)
    shift = float(((read.mean(0) - PLACES) / SPREADS).square().mean().sqrt())
    assert shift == pytest.approx(other.shift, rel=1e-6) and shift <= min(1.0, off / 2)


def undone(poses: Tensor, words: str) -> Tensor:
    """What the words say, done: `y in training is -z`."""
    read = poses.clone()
    for dim, sign, other in re.findall(r"(\w) in training is (-?)(\w)", words):
        read[..., "xyz".index(dim)] = poses[..., "xyz".index(other)] * (-1 if sign else 1)
    return read


@pytest.mark.parametrize(
    ("layout", "other", "words"),
    [
        ("b (j d)", "b (d j)", "they are stored (d j), coordinate by coordinate, where the layout has (j d)"),
        ("b (d j)", "b (j d)", "they are stored (j d), joint by joint, where the layout has (d j)"),
    ],
)
def test_by_coordinate_in_place_of_by_joint(layout: str, other: str, words: str) -> None:
    seen = arrangement(network(layout), as_calls(stored(samples(), other)))
    assert seen is not None and seen.words == words and seen.shift < 0.2


def test_inputs_in_order_and_foreign_ones_are_not_rearranged() -> None:
    assert arrangement(network(), as_calls(samples())) is None
    assert arrangement(network(), as_calls(100 * normal(300, 6, 3) + 50)) is None
    plain = Net(lambda net, x: net.last(x), last=nn.Linear(3, 3)).double()
    spec = parse_spec(f'{BODY_IN_SPACE}inputs: [{{layout: "b j d"}}]\noutputs: [{{layout: "b j d"}}]\n')
    assert arrangement(prepare(plain, spec, (normal(3, 6, 3),)), as_calls(samples())) is None


def test_the_message_begins_with_the_order() -> None:
    exchanged = samples()[..., [0, 2, 1]]
    with pytest.raises(DataFileError) as caught:
        judged(posed(network(), Request(calibration=as_calls(exchanged), method="reduce")))
    assert "Fix: put the calibration inputs in the order of its training, by whose means y in training is z, z in " in (
        str(caught.value)
    )


def test_an_entry_of_many_frames_is_named_once() -> None:
    spec = parse_spec(f'{BODY_IN_SPACE}inputs: [{{layout: "b t j d"}}]\noutputs: [{{layout: "b t j d"}}]\n')
    net = Net(lambda net, x: net.last((x - net.mean) / net.spread), mean=PLACES, spread=SPREADS, last=nn.Linear(3, 3))
    clips = prepare(net.double().eval(), spec, (normal(3, 4, 6, 3),))
    moved = as_calls(samples()[:, None].expand(-1, 4, -1, -1) + torch.from_numpy(np.array([0.0, 5.0, 0.0])))
    with pytest.raises(DataFileError) as caught:
        judged(posed(clips, Request(calibration=moved, method="reduce")))
    named = re.findall(r"(\w+\.\w) is [-\d.e]+ in the mean", str(caught.value))
    assert len(named) == len(set(named)) == 3
