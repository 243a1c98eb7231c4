"""Inputs of the other handedness agree with the mirror; the means that a network keeps tell them."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.errors import DataFileError
from chiralize.graph.running import Call
from chiralize.problem.data.checks import judged
from chiralize.problem.data.handedness import handedness
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.problem.request import Request
from tests.support.problems import posed
from tests.support.small_body import BODY, IMAGE, Net, normal

SPEC = BODY + 'negate: x\ninputs: [{layout: "b j d"}]\noutputs: [{layout: "b j d"}]\n'
PLACES = torch.tensor([[0.0, 0], [0.3, 0.4], [0.1, -0.9], [-0.3, 0.4], [-0.1, -0.9], [0, 0.7]]).double()
FLIPPED = torch.tensor([-1.0, 1.0]).double()
SPREAD = torch.full((6, 2), 0.2).double()


def network(mean: Tensor = PLACES) -> Network:
    net = Net(
        lambda net, x: net.last((x - net.mean) / net.spread), mean=mean, spread=SPREAD * 1.1, last=nn.Linear(2, 2)
    )
    net.spread[0] *= 1.5  # entries have spreads of their own
    return prepare(net.double().eval(), parse_spec(SPEC), (normal(3, 6, 2),))


def calls(flipped: bool, spread: float = 0.2) -> list[Call]:
    """People who move about one place, seen by a sensor of either handedness."""
    samples = PLACES + 0.1 * normal(1, 6, 2, seed=5) + spread * normal(600, 6, 2, seed=3)
    return [((part * (FLIPPED if flipped else 1),), {}) for part in samples.split(50)]


@pytest.mark.parametrize("spread", [0.02, 0.2, 0.5])
def test_which_hand(spread: float) -> None:
    for flipped, sign in ((False, 1), (True, -1)):
        alike = handedness(network(), calls(flipped, spread))
        assert alike is not None and abs(alike.alike - sign) < 0.4 and alike.is_other == flipped


def test_a_mirrored_body_is_of_the_same_hand() -> None:
    """T exchanges its joints as well: a person who faces the other way, as far as the network knows."""
    images = [((call[0][0][:, IMAGE] * FLIPPED,), {}) for call in calls(False)]
    alike = handedness(network(), images)
    assert alike is not None and alike.alike > 0.6


@pytest.mark.parametrize("offset", [-3.0, 3.0])
def test_where_a_body_stands_does_not_count(offset: float) -> None:
    """To the left of the camera in training, to its right in use."""
    aside = PLACES + torch.tensor([3.0, 0.0])
    moved = [((call[0][0] + torch.tensor([offset, 0.0]),), {}) for call in calls(False)]
    alike = handedness(network(aside), moved)
    assert alike is not None and alike.alike > 0.6


def test_where_nothing_lies_on_a_side_nothing_is_said() -> None:
    """People seen from all around, and networks that keep nothing."""
    assert handedness(network(0.01 * PLACES), calls(True)) is None
    plain = prepare(nn.Linear(2, 2).double(), parse_spec(SPEC), (normal(3, 6, 2),))
    assert handedness(plain, calls(True)) is None


def test_they_are_refused_before_anything_is_fitted() -> None:
    assert not judged(posed(network(), Request("reduce", calibration=calls(False)))).batches.remarks[1:]
    with pytest.raises(DataFileError, match="left is where right was in training") as caught:
        judged(posed(network(), Request("reduce", calibration=calls(True))))
    assert re.search(
        r"\((l_arm\.x is -0\.\d+ in the mean, 0\.3|r_arm\.x is 0\.\d+ in the mean, -0\.3) in", str(caught.value)
    )
    assert caught.value.remedy.startswith("negate the lateral axis of the calibration inputs, or exchange")
    forced = judged(posed(network(), Request("reduce", calibration=calls(True), force=True)))
    assert any("left is where right was" in remark for remark in forced.batches.remarks)
    averaged = judged(posed(network(), Request("average", calibration=calls(True))))
    assert any("left is where right was" in remark for remark in averaged.batches.remarks)
