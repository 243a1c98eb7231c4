"""A costly network is fitted on as many inputs as take minutes, and the progress says how long that is."""

from __future__ import annotations

from functools import cache

import pytest

from chiralize.commands.convert import Request, convert
from chiralize.graph.running import Call
from chiralize.methods import within_minutes
from chiralize.methods.within_minutes import with_fewer_inputs
from chiralize.problem.data.scattered import with_scattered
from chiralize.problem.problem import Problem
from tests.methods.test_reduce_trained import poses, ready, rho
from tests.support.problems import posed


@pytest.fixture
def costly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small network of these tests, as if a run took minutes."""
    monkeypatch.setattr(within_minutes, "_WORK", 1e5)
    monkeypatch.setattr(within_minutes, "_USES", 300)
    monkeypatch.setattr(within_minutes, "_WORTH_TELLING", 0.0)


@cache
def small_batches() -> tuple[Call, ...]:
    return tuple(((part,), {}) for part in poses(1280, 21).double().split(8))


def sizes(problem: Problem) -> tuple[int, int]:
    """Samples to fit on and to measure with, and those made of them."""
    batches = problem.batches
    return sum(len(call[0][0]) for call in batches.given), sum(len(call[0][0]) for call in batches.scattered)


@pytest.mark.usefixtures("costly")
def test_fewer_inputs_and_a_remark_that_says_so() -> None:
    """At least as many as use every weight often enough, and nothing beside them."""
    network = ready()
    whole = with_scattered(posed(network, Request(calibration=small_batches())))
    fewer = with_fewer_inputs(whole)
    assert sizes(whole) == (1280, 1280)
    assert sizes(fewer) == (320, 0)
    (remark,) = fewer.batches.remarks
    assert remark.startswith("fitted on 320 of 1,280 inputs, each of ")
    assert remark.endswith(" million multiplications: --method reduce takes all")


@pytest.mark.usefixtures("costly")
def test_a_method_by_name_takes_all_inputs() -> None:
    problem = posed(ready(), Request("reduce", calibration=small_batches()))
    assert with_fewer_inputs(problem) is problem


def test_a_cheap_network_takes_all_inputs() -> None:
    problem = posed(ready(), Request(calibration=small_batches()))
    assert with_fewer_inputs(problem) is problem


@pytest.mark.usefixtures("costly")
def test_auto_converts_a_costly_network_on_few_inputs() -> None:
    steps: list[str] = []
    request = Request(calibration=small_batches(), progress=lambda step, done=None: steps.append(step))
    conversion = convert(ready(), "lifter", request)
    assert conversion.report.method == "reduce" and rho(conversion) < 1.25
    assert any(note.startswith("fitted on 320 of 1,280 inputs") for note in conversion.report.notes)
    assert "measuring the hidden units (the fit takes about a minute)" in steps


def test_nothing_is_told_of_seconds() -> None:
    steps: list[str] = []
    request = Request("reduce", calibration=small_batches(), progress=lambda step, done=None: steps.append(step))
    convert(ready(), "lifter", request)
    assert "measuring the hidden units" in steps
