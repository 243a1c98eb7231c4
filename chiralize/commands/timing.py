"""Timing networks against each other on a machine that has other things to do.

Runs are interleaved, round by round, and compared within a round: what slows the machine down slows all of them.

    round 1   original 1.00 ms   chiral 0.60 ms   ratio 0.60
    round 2   original 2.00 ms   chiral 1.24 ms   ratio 0.62      another program was busy: the ratio stays

The median of the ratios is reported, not the ratio of the medians. `bench` and the report of a conversion measure so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from statistics import median, quantiles
from time import perf_counter

import torch

Run = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """How long one of several runs takes.

    seconds: median of a call.  ratio: median over the rounds of its time to that of the first run in the same round;
    low, high: quartiles of that.
    """

    name: str
    seconds: float
    ratio: float
    low: float
    high: float


def interleaved(
    runs: Mapping[str, Run], *, rounds: int = 15, least: float = 5e-3, clock: Callable[[], float] = perf_counter
) -> tuple[Timing, ...]:
    """Time every run in every round, the first one being what the others are compared with.

    The order within a round is drawn: what ran before leaves its traces in caches and memory.

    rounds: at least 2.  least: seconds that a run is repeated for within a round.  clock: wall time by default;
    `time.process_time` does not see what other processes do, and is right for one thread.
    """
    for run in runs.values():
        run()
    # A run of microseconds is repeated until the clock can tell it, each as often as it needs.
    counts = {name: max(1, round(least / max(_seconds(run, 1, clock), 1e-9))) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    order, drawn = list(runs), Random(0)
    for _ in range(rounds):
        drawn.shuffle(order)
        for name in order:
            times[name].append(_seconds(runs[name], counts[name], clock))
    first = times[next(iter(runs))]
    timings: list[Timing] = []
    for name, seconds in times.items():
        ratios = [time / reference for time, reference in zip(seconds, first, strict=True)]
        low, _, high = quantiles(ratios, n=4)
        timings.append(Timing(name, median(seconds), median(ratios), low, high))
    return tuple(timings)


def _seconds(run: Run, count: int, clock: Callable[[], float]) -> float:
    """Seconds of one call, the mean of `count`; an accelerator has finished its work before and after."""
    _settle()
    start = clock()
    for _ in range(count):
        run()
    _settle()
    return (clock() - start) / count


def _settle() -> None:
    """Wait until a GPU has done what it was asked for; calls to it return before that."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
