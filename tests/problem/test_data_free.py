"""Conversion without data: on samples of a Gaussian with the moments that the network remembers, or the average."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Conversion, Request, convert
from chiralize.errors import MethodUnavailableError
from chiralize.graph.running import Call
from chiralize.problem.data import drawn
from chiralize.problem.preparation import prepare
from tests.methods.test_reduce_trained import error, learnt, poses, ready
from tests.support.reduce_nets import Residual, flip_average, subject_of
from tests.support.small_body import BODY, normal, residual, trained

UNKNOWN = (
    "norm has 16 channels for 42 unknowns, 63 are needed; no built-in poses: joint 'l_arm' of skeleton unnamed is "
    "no known part of a human body"
)


@cache
def narrow() -> nn.Module:
    return trained(Residual(16))


@cache
def without_data() -> Conversion:
    return convert(ready(), "net", Request(rounds=0, samples=1))


def told(found: Conversion) -> str:
    return " | ".join(found.report.notes)


def off_the_average(net: nn.Module) -> float:
    """RMS distance from the original's flip average on samples that nothing has seen."""
    x = poses(2000, 11).double()
    original = learnt()
    with torch.no_grad():
        return float((net(x) - flip_average(original, x)).square().mean().sqrt())


def test_auto_reduces_without_data() -> None:
    """As good as with data, within a hundredth; the report says what it stands on."""
    found = without_data()
    assert (found.report.method, found.report.form) == ("reduce", "folded")
    assert error(found.module) < 1.05 * error(learnt())
    assert residual(found.module, (4, 6, 2)) <= 1e-11
    source = "moments recovered from norm, 64 channels for 42 unknowns"
    assert told(found) == f"fitted without data, on samples of a Gaussian: {source}"
    assert found.report.drift is not None
    assert found.report.drift.source == f"held-out samples of a Gaussian, {source}"
    assert found.report.drift.samples == drawn.SAMPLES // 5 // 64 // 4 * 4 * 64  # which four processes could share


@pytest.mark.thorough
def test_a_diagonal_gaussian_would_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: the correlations forgotten. It is further from what is aimed at."""
    plain = drawn.recover
    good = off_the_average(without_data().module)

    def uncorrelated(*arguments: Any) -> Any:
        found = plain(*arguments)
        spreads = found.gaussian.covariance.diagonal().sqrt().diag()
        return replace(found, gaussian=replace(found.gaussian, factor=spreads))

    monkeypatch.setattr(drawn, "recover", uncorrelated)
    found = convert(ready(), "net", Request("reduce", width=0.5, force=True, rounds=0, samples=1))
    assert off_the_average(found.module) > 1.1 * good


@pytest.mark.thorough
def test_distilled_without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn, "SAMPLES", 640)
    found = convert(ready(), "net", Request("reduce", distill=3, rounds=0, force=True, samples=1))
    assert "distilled on held-out loss" in told(found) and "fitted without data" in told(found)


def test_auto_averages_and_says_why() -> None:
    found = convert(subject_of(narrow(), (6, 2)), "net", Request(samples=1))
    assert found.report.method == "average"
    says = "averaged: reducing needs inputs to fit on (--calibration), and none can be drawn"
    assert (
        told(found) == f"{says}: {UNKNOWN}; for one pass give --calibration inputs.npz, thousands of unlabelled inputs"
    )
    assert found.report.drift is not None and found.report.drift.source.startswith("N(0, 1)")


REFUSED = {
    "--method reduce: there are no inputs to fit on": Request("reduce"),
    "--distill: there are no inputs to train on": Request("match", distill=3),
}


@pytest.mark.parametrize("says", REFUSED)
def test_by_name_it_is_refused(says: str) -> None:
    with pytest.raises(MethodUnavailableError) as caught:
        convert(subject_of(narrow(), (6, 2)), "net", REFUSED[says])
    why = f"{says}, and none can be drawn: {UNKNOWN}"
    start = f"MethodUnavailableError CH307  {why}\n    Fix: give --calibration inputs.npz"
    assert str(caught.value).startswith(start)


@pytest.mark.thorough
def test_given_inputs_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is drawn, and nothing is said of a Gaussian."""
    monkeypatch.setattr(drawn, "recover", None)
    calls: list[Call] = [((part,), {}) for part in poses(256, 21).double().split(32)]
    found = convert(ready(), "net", Request("reduce", calibration=calls, rounds=0, force=True, samples=1))
    assert "Gaussian" not in told(found) and found.report.drift is not None
    assert found.report.drift.source == "held-out calibration inputs"


def test_samples_of_pixels_lie_round_the_centre() -> None:
    """Where the mirror is affine, moments are those of x - c."""
    spec = BODY + 'inputs: [{layout: "b j d", reflect: {x: 320}}]\noutputs: [{layout: "b j d", reflect: {x: 320}}]\n'
    net, x = Residual(256).double(), 320 + 50 * poses(4000, 2).double()
    with torch.no_grad():
        first = net.first
        first.weight.mul_(0.02)
        z = first(x.flatten(1))
        net.norm.load_state_dict({"running_mean": z.mean(0), "running_var": z.var(0)}, strict=False)
    network = prepare(net.eval(), parse_spec(spec), (320 + 50 * normal(8, 6, 2),))
    found = drawn.recover(network.graph(), network.resolved.inputs)
    rows = torch.cat([call[0][0] for call in drawn.drawn(network, found.gaussian, found.inputs)]).flatten(1)
    own, true = torch.cov(rows.T), torch.cov(x.flatten(1).T)
    assert float((rows.mean(0) - x.flatten(1).mean(0)).abs().max()) < 3
    assert float((own - true).abs().max()) < 0.06 * float(true.abs().max())
