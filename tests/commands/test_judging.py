"""How many calls of the user the verdicts are run on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from chiralize.body.tensors import parse_spec
from chiralize.commands import judging
from chiralize.commands.convert import Request
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from tests.support.problems import posed
from tests.support.small_body import POSE, Net, normal, trained

CALLS = [((normal(8, 6, 2, seed=seed),), {}) for seed in range(20)]
PER_CALL = 2 * 12 * 16 * 8
"""Multiplications of one of them: two layers, eight samples."""


def lifter() -> Network:
    """Two layers, for two samples at first."""
    net = Net(lambda net, x: net.last(net.first(x.flatten(1)).tanh()).unflatten(1, (6, 2)),
              first=nn.Linear(12, 16), last=nn.Linear(16, 12))  # fmt: skip
    return prepare(trained(net), parse_spec(POSE), (normal(2, 6, 2),))


@pytest.mark.parametrize(("work", "count"), [(1e10, 8), (3 * PER_CALL, 3), (PER_CALL, 1)])
def test_fewer_calls_of_costly_networks_but_one(work: float, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network = lifter()
    monkeypatch.setattr(judging, "_WORK", work)
    chosen = judging.last_calls(posed(network, Request(calibration=CALLS)))
    assert [call is other for call, other in zip(chosen, CALLS[-count:], strict=True)] == [True] * count
    assert not judging.last_calls(posed(network, Request()))


def test_a_few_samples_of_the_last_call_where_that_costs_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the examples have."""
    monkeypatch.setattr(judging, "_WORK", 0)
    (call,) = judging.last_calls(posed(lifter(), Request(calibration=CALLS)))
    assert torch.equal(call[0][0], CALLS[-1][0][0][-2:])
