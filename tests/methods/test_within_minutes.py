"""A costly network is fitted on as many inputs as take minutes, and the progress says how long that is."""

from __future__ import annotations

from functools import cache

import pytest

from chiralize.commands.convert import Request, convert
from chiralize.graph.running import Call
from chiralize.methods import within_minutes
from chiralize.methods.within_minutes import affordable_widths, are_too_many, forecast, with_fewer_inputs
from tests.methods.test_reduce_trained import poses, ready, rho
from tests.support.problems import posed


@pytest.fixture
def costly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small network of these tests, as if a run took minutes."""
    monkeypatch.setattr(within_minutes, "_WORK", 1e5)
    monkeypatch.setattr(within_minutes, "_USES", 300)
    monkeypatch.setattr(within_minutes, "_COSTLY", 0.0)
    monkeypatch.setattr(within_minutes, "_WORK_BESIDE", 0.0)
    monkeypatch.setattr(within_minutes, "_WORTH_TELLING", 0.0)


@cache
def small_batches() -> tuple[Call, ...]:
    return tuple(((part,), {}) for part in poses(1280, 21).double().split(8))


@pytest.mark.usefixtures("costly")
def test_fewer_inputs_and_a_remark_that_says_so() -> None:
    """As many as use every weight often enough."""
    problem = posed(ready(), Request(calibration=small_batches()))
    assert are_too_many(problem)
    fewer = with_fewer_inputs(problem)
    assert sum(len(call[0][0]) for call in fewer.batches.given) == 320
    (remark,) = fewer.batches.remarks
    assert remark.startswith("fitted on 320 of 1,280 inputs, each of ")
    assert remark.endswith(" million multiplications: --method reduce takes all")


@pytest.mark.usefixtures("costly")
def test_a_method_by_name_takes_all_inputs() -> None:
    assert not are_too_many(posed(ready(), Request("reduce", calibration=small_batches())))


def test_a_cheap_network_takes_all_inputs() -> None:
    assert not are_too_many(posed(ready(), Request(calibration=small_batches())))


@pytest.mark.usefixtures("costly")
def test_auto_converts_a_costly_network_on_few_inputs() -> None:
    steps: list[str] = []
    request = Request(calibration=small_batches(), progress=lambda step, done=None: steps.append(step))
    conversion = convert(ready(), "lifter", request)
    assert conversion.report.method == "reduce" and rho(conversion) < 1.25
    assert any(note.startswith("fitted on 320 of 1,280 inputs") for note in conversion.report.notes)
    assert "measuring the hidden units (the fit takes about a minute)" in steps
    assert not any("scattered" in note for note in conversion.report.notes)  # nothing is made beside them


def test_nothing_is_told_of_seconds() -> None:
    steps: list[str] = []
    noted = {"progress": lambda step, done=None: steps.append(step), "samples": 1, "rounds": 0}
    convert(ready(), "lifter", Request("reduce", calibration=small_batches(), **noted))
    assert "measuring the hidden units" in steps


@pytest.mark.usefixtures("costly")
def test_what_auto_takes_is_said_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shorter and the longer way, and the one without a fit."""
    monkeypatch.setattr(within_minutes, "_minutes_of", lambda network, call: 0.01)
    problem = posed(ready(), Request(calibration=small_batches()))
    assert (
        forecast(problem) == " (auto takes about 60 to 114 minutes with the machine as busy as now; --method average 6)"
    )
    assert forecast(posed(ready(), Request("reduce", calibration=small_batches()))) == ""
    average = forecast(posed(ready(), Request("average", calibration=small_batches())))
    assert average == " (that and all that follows take about 6 minutes with the machine as busy as now)"
    monkeypatch.setattr(within_minutes, "_minutes_of", lambda network, call: 1e-6)
    assert forecast(problem) == ""


def test_one_width_of_a_network_whose_fit_takes_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the units, or of one that reads clips the wider result."""
    problem = posed(ready(), Request(calibration=small_batches()))
    assert affordable_widths(problem) == (0.5, 0.707)
    monkeypatch.setattr(within_minutes, "_MINUTES", 0.0)
    assert affordable_widths(problem) == (0.5,)
    monkeypatch.setattr(within_minutes, "CLIP", 0.0)
    assert affordable_widths(problem) == (0.707,)
