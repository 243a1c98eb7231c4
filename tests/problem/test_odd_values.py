"""Values of calibration inputs that are odd: those that never vary and did in training, zeros for missing joints."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.graph.running import Call
from chiralize.problem.data.checks import judged
from chiralize.problem.data.odd_values import odd_values
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.problem.request import Request
from tests.support.problems import posed
from tests.support.small_body import BODY, Net, normal

SCORED = BODY.replace("[x, y]", "[x, y, c]") + "negate: x\n"
MEAN, SPREAD = torch.tensor([0.3, -0.2, 0.9]).double(), torch.tensor([0.5, 0.4, 0.1]).double()
PIXELS = BODY + "negate: x\ninputs: [{layout: b j d, reflect: {x: 320}}]\noutputs: [{layout: b j d}]\n"


def network(spread: Tensor = SPREAD) -> Network:
    spec = parse_spec(SCORED + "inputs: [{layout: b j d}]\noutputs: [{layout: b j d}]\n")
    net = Net(lambda net, x: net.last((x - net.mean) / net.spread), mean=MEAN, spread=spread, last=nn.Linear(3, 3))
    return prepare(net.double().eval(), spec, (normal(3, 6, 3),))


def as_calls(values: Tensor) -> list[Call]:
    return [((part,), {}) for part in values.split(50)]


def samples(score: float | None = None) -> Tensor:
    """As in training, with the same score everywhere where one is given."""
    drawn = MEAN + SPREAD * normal(300, 6, 3, seed=3)
    if score is not None:
        drawn[..., 2] = score
    return drawn


def test_what_never_varies_is_named() -> None:
    (text,) = odd_values(network(), as_calls(samples(1.0)))
    assert text.startswith(
        "warning: the calibration inputs never vary in what varied in training: hip.c, l_arm.c, l_leg.c and 3 more "
        "(hip.c is 1 in all of them, 0.9 ± 0.1 there)"
    )
    remarks = judged(posed(network(), Request(calibration=as_calls(samples(1.0)), method="reduce"))).batches.remarks
    assert text in remarks


@pytest.mark.parametrize("values", [samples(), samples(0.9), samples(0.905)], ids=["varied", "at its mean", "near it"])
def test_what_varies_and_what_stays_at_its_mean_is_not(values: Tensor) -> None:
    """A network that never saw a number vary may keep any spread of it."""
    assert list(odd_values(network(), as_calls(values))) == []
