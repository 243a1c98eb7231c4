"""Interleaved timing: ratios that survive a busy machine; and the times in a conversion's report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.cli.opening import in_batches
from chiralize.commands import bench
from chiralize.commands.bench import with_times
from chiralize.commands.convert import Request, convert
from chiralize.commands.timing import interleaved
from chiralize.problem.preparation import prepare
from chiralize.storage.format import LoadedModel
from tests.support.small_body import POSE, Net, normal, trained


def busy_clock(costs: dict[str, float], load: list[float]) -> tuple[dict[str, object], object]:
    """Runs that move a clock by their cost times the load of the moment."""
    now = [0.0]
    moments: Iterator[float] = iter(load * 1000)

    def run(cost: float) -> object:
        def call() -> None:
            now[0] += cost * next(moments)

        return call

    return {name: run(cost) for name, cost in costs.items()}, lambda: now[0]


def test_ratios() -> None:
    """Half the time is half the time, and the first run is compared with itself."""
    runs, clock = busy_clock({"original": 2.0, "half": 1.0}, [1.0])
    original, half = interleaved(runs, rounds=5, least=0.0, clock=clock)  # type: ignore[arg-type]
    assert (original.ratio, half.ratio) == (1.0, 0.5)
    assert (original.seconds, half.seconds) == (2.0, 1.0)
    assert half.low == half.high == 0.5


def test_a_busy_machine() -> None:
    """Some moments are ten times as slow: the median of the ratios stays near, and its quartiles show the spread."""
    runs, clock = busy_clock({"original": 2.0, "half": 1.0}, [1.0, 1.0, 1.0, 1.0, 10.0, 10.0, 10.0, 1.0, 1.0, 1.0, 1.0])
    _, half = interleaved(runs, rounds=40, least=0.0, clock=clock)  # type: ignore[arg-type]
    assert half.ratio == pytest.approx(0.5, rel=0.05)
    assert half.low <= half.ratio <= half.high


def test_no_run_always_follows_the_same() -> None:
    """One that leaves the caches empty slows every other one down as often."""
    now, spoilt, seen = [0.0], [False], list[str]()

    def run(name: str) -> object:
        def call() -> None:
            now[0] += 2.0 if spoilt[0] else 1.0
            spoilt[0] = name == "spoiler"
            seen.append(name)

        return call

    runs = {name: run(name) for name in ("a", "b", "spoiler")}
    a, b, _ = interleaved(runs, rounds=60, least=0.0, clock=lambda: now[0])  # type: ignore[arg-type]
    assert a.ratio == b.ratio == 1.0
    followers = Counter(after for before, after in pairwise(seen) if before == "spoiler" and after != "spoiler")
    assert 0.5 < followers["a"] / followers["b"] < 2


def test_short_runs_are_repeated() -> None:
    """A run of a millisecond fills its share of a round."""
    calls = [0]
    now = [0.0]

    def run() -> None:
        calls[0] += 1
        now[0] += 1e-3

    interleaved({"a": run}, rounds=2, least=1e-2, clock=lambda: now[0])
    assert calls[0] == 2 + 2 * 10  # once to warm up, once to see how long it takes


def lifting(net: Any, x: Tensor) -> Tensor:
    return net.outlet(torch.relu(net.inlet(x.flatten(1)))).view(x.shape)


def test_a_conversion_is_timed_at_the_example_and_at_64_samples() -> None:
    """Where the batch is open; the other figures of the report stay."""
    net = trained(Net(lifting, inlet=nn.Linear(12, 8), outlet=nn.Linear(8, 12)))
    network = prepare(net, parse_spec(POSE), (normal(2, 6, 2),))
    conversion = convert(network, "net", Request("match", samples=1))
    timed = with_times(network, conversion)
    assert [own.samples for own in timed.report.cost.times] == [2, 64]
    assert all(own.before > 0 and own.after > 0 and own.ratio > 0 for own in timed.report.cost.times)
    without = replace(timed.report, cost=replace(timed.report.cost, times=()))
    assert without == conversion.report and timed.module is conversion.module


def test_a_controller_is_timed_at_the_one_sample_that_it_is_called_with(tmp_path: Path) -> None:
    """Its calibration samples are put in batches to fit on; nobody asked what a call of such a batch takes."""
    net = trained(Net(lifting, inlet=nn.Linear(12, 8), outlet=nn.Linear(8, 12)))
    network = prepare(net, parse_spec(POSE), (normal(1, 6, 2),))
    loaded = LoadedModel(net, "state_dict", tmp_path / "net.pt", "")
    batched, calls = in_batches(network, loaded, [((sample,), {}) for sample in normal(75, 6, 2).split(1)])
    assert (network.rows, batched.rows, len(calls)) == (1, 25, 3)
    conversion = convert(batched, "net", Request("match", calibration=calls, samples=1))
    assert [time.samples for time in with_times(batched, conversion, network.rows).report.cost.times] == [1, 64]


def test_64_samples_of_a_costly_network_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would take longer than the conversion."""
    monkeypatch.setattr(bench, "_WORK", 1000.0)
    net = trained(Net(lifting, inlet=nn.Linear(12, 8), outlet=nn.Linear(8, 12)))
    network = prepare(net, parse_spec(POSE), (normal(2, 6, 2),))
    timed = with_times(network, convert(network, "net", Request("match", samples=1)))
    assert [own.samples for own in timed.report.cost.times] == [2]


def recalling(net: Any, x: Tensor) -> Tensor:
    net.state.copy_(torch.tanh(net.inlet(x.flatten(1)) + net.state))
    return net.outlet(net.state).view(x.shape)


def test_nothing_is_timed_that_keeps_a_state() -> None:
    """A run would move it on."""
    parts = {"inlet": nn.Linear(12, 8), "outlet": nn.Linear(8, 12), "state": torch.zeros(1, 8)}
    net = trained(Net(recalling, **parts))
    before = net.state.clone()
    network = prepare(net, parse_spec(POSE), (normal(1, 6, 2),))
    timed = with_times(network, convert(network, "net", Request("match", samples=1)))
    assert timed.report.cost.times == () and torch.equal(net.state, before)


def test_a_size_that_the_network_refuses_is_not_timed() -> None:
    """In whatever way it says so: the conversion is done, and its report has the other times."""

    def few(net: Any, x: Tensor) -> Tensor:
        if not torch.compiler.is_exporting() and len(x) > 8:
            raise AssertionError("at most eight")
        return lifting(net, x)

    net = trained(Net(few, inlet=nn.Linear(12, 8), outlet=nn.Linear(8, 12)))
    network = prepare(net, parse_spec(POSE), (normal(2, 6, 2),))
    conversion = convert(network, "net", Request("match", samples=1))
    assert 64 not in [own.samples for own in with_times(network, conversion).report.cost.times]
