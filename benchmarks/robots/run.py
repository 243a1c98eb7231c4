"""Converts trained policies in many ways and runs what comes out, from starts and from their mirror images:

    python -m benchmarks.robots.run --folder DIR [--csv benchmarks/robots/results.csv] [--only NAME ...]

DIR is that of `benchmarks.robots.train`. Rows are appended as they come, and those that the file has are skipped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from benchmarks.accuracy.rows import append, known
from benchmarks.robots.conversions import converted
from benchmarks.robots.loop import is_stateful, roll
from benchmarks.robots.policies import example, is_trained, products_of, steps_of, trained
from benchmarks.robots.tasks import TASKS, Task
from benchmarks.robots.train import JOBS, Job
from chiralize import flip_test
from chiralize.body.tensors import parse_spec

RESULTS = Path(__file__).with_name("results.csv")
KEY = ("policy", "way", "calibration")
COLUMNS = (*KEY, "steps", "rho", "outcome", "products", "return", "error", "ratio", "gap_2s", "gap_25s", "falls",
           "parted", "parted_double", "gap_2s_double", "verdict")  # fmt: skip
SECONDS = 2.0
"""After which gaps are compared: later the simulator's own rounding parts mirrored episodes as well."""
TUNED, LONGER = "reduce 0.5, tuned", "original, longer"
OTHERS = (("original", ""), ("flip average", ""), (LONGER, ""), (TUNED, "good"))
"""Ways and calibrations of rows that are no conversions of the original."""
SAMPLES, SEQUENCES, FRAMES = 2000, 16, 150


class Way(NamedTuple):
    """A conversion. calibration: good (of many walks), narrow (the first steps of one) or none."""

    name: str
    calibration: str
    options: dict[str, Any]


WAYS = (
    Way("reduce 0.5", "good", {"method": "reduce", "width": 0.5, "form": "blocks"}),
    Way("reduce 0.707", "good", {"method": "reduce", "width": 0.707, "form": "blocks"}),
    Way("match", "good", {"method": "match"}),
    Way("match", "none", {"method": "match"}),
    Way("project", "none", {"method": "project"}),
    Way("match", "narrow", {"method": "match"}),
    Way("reduce 0.5", "narrow", {"method": "reduce", "width": 0.5}),
    Way("reduce 0.25", "good", {"method": "reduce", "width": 0.25, "form": "blocks"}),
    Way("auto", "good", {}),
    Way("average", "good", {"method": "average"}),
    Way("average", "none", {"method": "average"}),
)


def calibration(policy: nn.Module, task: Task, kind: str) -> Tensor | None:
    """Observations of the policy's walks: `sample observed`, or `sequence step observed` where it keeps a state."""
    if kind == "none":
        return None
    steps = FRAMES if is_stateful(policy, task) else 500
    seen = torch.from_numpy(roll(policy, task, seed=7, steps=steps).observations).float()
    sequences = seen.swapaxes(0, 1)
    if is_stateful(policy, task):
        return sequences[:SEQUENCES] if kind == "good" else sequences[:1, :25]
    if kind == "narrow":
        return sequences[0, :64]
    order = np.random.default_rng(0).permutation(sequences.shape[0] * sequences.shape[1])
    return sequences.flatten(0, 1)[order[:SAMPLES]]


def figures(policy: nn.Module, task: Task) -> dict[str, str]:
    """What a policy does in the loop: float32 as it is deployed, and float64 for the gap alone."""
    short = _steps_of(task, SECONDS)
    rolled, double = roll(policy, task), roll(policy, task, double=True, steps=min(4 * short, task.steps))
    return {
        "return": f"{rolled.mean:.2f}",
        "error": f"{rolled.error:.2f}",
        "gap_2s": f"{rolled.gap_after(short):.4g}",
        "gap_25s": f"{rolled.gap_after(task.steps):.4g}",
        "falls": str(rolled.falls),
        "parted": f"{rolled.parted:.0f}",
        "parted_double": f"{double.parted:.0f}",
        "gap_2s_double": f"{double.gap_after(short):.2g}",
    }


@cache
def _control(robot: str) -> float:
    """Seconds of a control step."""
    return TASKS[robot].gym().unwrapped.dt


def _steps_of(task: Task, seconds: float) -> int:
    return round(seconds / _control(task.name))


def rows(job: Job, folder: Path, done: set[tuple[str, ...]], ways: Sequence[Way]) -> Iterator[dict[str, str]]:
    """The original, its flip average, what was trained on, and every conversion that the file has not."""
    task = job.task
    policy, spec = trained(job, folder), parse_spec(task.spec)
    before = roll(policy, task).mean

    def row(way: str, kind: str, of: Job, **entries: str) -> dict[str, str]:
        """A row without what is not known, with the share of the original's return."""
        if "return" in entries:
            entries["ratio"] = f"{float(entries['return']) / before:.4f}"
        named = {"policy": job.name, "way": way, "calibration": kind, "steps": str(steps_of(of, folder))}
        return {**dict.fromkeys(COLUMNS, ""), **named, **entries}

    if (job.name, "original", "") not in done:
        yield row("original", "", job, products="1", **figures(policy, task))
    if (job.name, "flip average", "") not in done:
        yield row("flip average", "", job, products="2", **figures(flip_test(policy, spec, example(task)), task))
    for way, kind, suffix in ((LONGER, "", "-longer"), (TUNED, "good", "-tuned")):
        later = job._replace(suffix=f"{job.suffix}{suffix}")
        if is_trained(later, folder) and (job.name, way, kind) not in done:
            yield row(way, kind, later, products=products_of(later, folder), **figures(trained(later, folder), task))
    for way in ways:
        if (job.name, way.name, way.calibration) in done:
            continue
        seen = calibration(policy, task, way.calibration)
        result = converted(policy, spec, example(task), seen, way.options)
        if result.network is None:
            yield row(way.name, way.calibration, job, outcome=result.outcome, verdict=result.said)
            continue
        cost = result.report.cost
        yield row(
            way.name,
            way.calibration,
            job,
            rho=result.rho,
            outcome=result.outcome,
            products=f"{cost.macs_after / cost.macs_before:.3f}",
            verdict=result.said,
            **figures(result.network, task),
        )


def main() -> int:
    """Convert, run, append to the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--csv", type=Path, default=RESULTS)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--ways", nargs="*", default=[], metavar="'reduce 0.5, good'")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ways = [way for way in WAYS if not arguments.ways or f"{way.name}, {way.calibration}" in arguments.ways]
    console = Console(stderr=True)
    for job in JOBS:
        is_wanted = not arguments.only or job.name in arguments.only
        if not is_wanted or not is_trained(job, arguments.folder):
            continue
        for row in rows(job, arguments.folder, set(known(arguments.csv, KEY)), ways):
            append(arguments.csv, COLUMNS, [row])
            console.print(", ".join(row.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
