"""On how many inputs figures are taken."""

from __future__ import annotations

import pytest
from torch import nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Request, convert
from chiralize.problem.preparation import prepare
from chiralize.verification import figures
from tests.support.small_body import POSE, Net, normal, trained


def samples_of(method: str) -> int:
    """Samples that the figures of a conversion are of, with 320 given, of which 64 are held out."""
    net = Net(lambda net, x: net.last(net.first(x.flatten(1)).tanh()).unflatten(1, (6, 2)),
              first=nn.Linear(12, 16), last=nn.Linear(16, 12))  # fmt: skip
    network = prepare(trained(net), parse_spec(POSE), (normal(8, 6, 2),))
    calls = [((normal(8, 6, 2, seed=seed),), {}) for seed in range(40)]
    drift = convert(network, "net", Request(method, calibration=calls, samples=1, rounds=0, force=True)).report.drift
    assert drift is not None
    return drift.samples


@pytest.mark.parametrize(("method", "dear"), [("average", 32), ("match", 64)])
def test_the_average_of_a_costly_network_is_measured_on_few(
    method: str, dear: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fit is measured on all that was held out, whatever that costs."""
    assert samples_of(method) == 64
    monkeypatch.setattr(figures, "_WORK", 0)
    assert samples_of(method) == dear
