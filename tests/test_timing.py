"""Interleaved timing: ratios that survive a busy machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest

from chiralize.timing import interleaved


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
