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


SHARES = torch.tensor([640.0, 480.0]).double()
IN_PIXELS = 320 + 90 * normal(6, 2, seed=8)


@pytest.mark.parametrize("turned", [False, True], ids=["as they are", "turned as was advised once"])
def test_shares_of_a_picture_are_in_another_unit_and_not_in_another_order(turned: bool) -> None:
    """Where pixels are meant: all spreads are off by about one factor, and so are the means, whatever their order."""
    spec = parse_spec(f'{BODY}negate: x\ninputs: [{{layout: "b j d"}}]\noutputs: [{{layout: "b j d"}}]\n')
    spread = torch.tensor([60.0, 50.0]).double().expand(6, 2)
    net = Net(lambda net, x: net.last((x - net.mean) / net.spread), mean=IN_PIXELS, spread=spread, last=nn.Linear(2, 2))
    kept = prepare(net.double().eval(), spec, (normal(3, 6, 2),))
    shares = (IN_PIXELS + spread * normal(300, 6, 2, seed=3)) / SHARES
    if turned:
        shares = torch.stack([-shares[..., 1], shares[..., 0]], -1)
    with pytest.raises(DataFileError) as caught:
        judged(posed(kept, Request(calibration=as_calls(shares), method="reduce")))
    facts = r"the spread is 0\.00\d+ of that in training, at all of them alike, as in another unit or standardised"
    assert re.search(rf"{facts} \(x[456]\d0\); ", str(caught.value))
    fix = r"Fix: give the calibration inputs in the unit of its training \(x[456]\d0 or so\); else check joint order, "
    assert re.search(fix, str(caught.value)) and "order of its training" not in str(caught.value)


def test_an_entry_of_many_frames_is_named_once() -> None:
    spec = parse_spec(f'{BODY_IN_SPACE}inputs: [{{layout: "b t j d"}}]\noutputs: [{{layout: "b t j d"}}]\n')
    net = Net(lambda net, x: net.last((x - net.mean) / net.spread), mean=PLACES, spread=SPREADS, last=nn.Linear(3, 3))
    clips = prepare(net.double().eval(), spec, (normal(3, 4, 6, 3),))
    moved = as_calls(samples()[:, None].expand(-1, 4, -1, -1) + torch.from_numpy(np.array([0.0, 5.0, 0.0])))
    with pytest.raises(DataFileError) as caught:
        judged(posed(clips, Request(calibration=moved, method="reduce")))
    named = re.findall(r"(\w+\.\w) is [-\d.e]+ in the mean", str(caught.value))
    assert len(named) == len(set(named)) == 3


SENSORS = BODY_IN_SPACE + (
    "lateral: x\ninputs:\n  - fields:\n"
    "      - {sensors: [head, left, right], kind: rotation, order: 6d_by_column, name: turn}\n"
    "      - {sensors: [head, left, right], kind: vector, name: place}\noutputs: [{layout: 'b (j d)'}]\n"
)


def sensed(axis: int | None) -> tuple[Network, Tensor]:
    """Rotations and places of sensors, with an axis of space the other way round, and a network that keeps moments."""
    drawn = torch.Generator().manual_seed(0)
    turns = torch.linalg.matrix_exp(0.4 * torch.randn(300, 3, 3, 3, generator=drawn).double())
    usual = torch.linalg.matrix_exp(torch.tensor([[0.0, -0.5, 0.4], [0.5, 0.0, -0.3], [-0.4, 0.3, 0.0]]).double())
    turns = usual @ torch.linalg.qr(turns).Q
    places = torch.tensor([[0.0, 0.6, 0.2], [0.3, 0.1, 0.4], [-0.3, 0.1, 0.4]]).double()
    places = places + 0.8 * torch.randn(300, 3, 3, generator=drawn).double()

    def stored_as(signs: Tensor) -> Tensor:
        seen = signs[:, None] * turns * signs
        return torch.cat([seen[..., :2].mT.flatten(1), (places * signs).flatten(1)], 1)

    plain = stored_as(torch.ones(3).double())
    signs = torch.ones(3).double()
    if axis is not None:
        signs[axis] = -1
    net = Net(lambda net, x: net.last((x - net.mean) / net.spread), mean=plain.mean(0), spread=plain.std(0),
              last=nn.Linear(27, 18))  # fmt: skip
    return prepare(net.double().eval(), parse_spec(SENSORS), (plain[:3],)), stored_as(signs)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_axes_of_sensors_that_point_elsewhere_are_refused(axis: int) -> None:
    """A left-handed frame: positions and rotations change together, though by less than foreign inputs do."""
    kept, given_values = sensed(axis)
    other = arrangement(kept, as_calls(given_values))
    assert other is not None and other.is_certain and other.words == f"{'xyz'[axis]} in training is -{'xyz'[axis]}"
    said = "the axes of the calibration inputs are not those of the network's training"
    with pytest.raises(DataFileError, match=said):
        judged(posed(kept, Request(calibration=as_calls(given_values), method="reduce")))
    for method in ("reduce", "average"):
        forced = judged(posed(kept, Request(calibration=as_calls(given_values), method=method, force=True)))
        assert any(said in remark for remark in forced.batches.remarks)


def test_axes_as_in_training_are_not_questioned() -> None:
    kept, given_values = sensed(None)
    assert arrangement(kept, as_calls(given_values)) is None


def test_few_numbers_of_another_sign_are_not_refused() -> None:
    """A robot that walks backwards, where it walked ahead in training."""
    spec = parse_spec(
        BODY_IN_SPACE + "lateral: x\ninputs: [{fields: [{vector: speed}]}]\noutputs: [{layout: 'b (j d)'}]\n"
    )
    ahead = torch.tensor([0.0, 1.5, 0.0]).double() + 0.3 * normal(300, 3, seed=1).double()
    net = Net(lambda net, x: net.last((x - net.mean) / net.spread), mean=ahead.mean(0), spread=ahead.std(0),
              last=nn.Linear(3, 18))  # fmt: skip
    kept = prepare(net.double().eval(), spec, (ahead[:3],))
    other = arrangement(kept, as_calls(ahead * torch.tensor([1.0, -1.0, 1.0])))
    assert other is not None and other.words == "y in training is -y" and not other.is_certain
