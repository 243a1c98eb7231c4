"""Converts trained policies in many ways and runs what comes out, from starts and from their mirror images:

    python -m benchmarks.robots.run --folder DIR [--csv benchmarks/robots/results.csv] [--only NAME ...]

DIR is that of `benchmarks.robots.train`. Rows are appended as they come, and those that the file has are skipped.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from benchmarks.accuracy.rows import append, known
from benchmarks.robots.loop import Rolled, is_stateful, roll
from benchmarks.robots.policies import SPEC, example, steps_of, trained
from benchmarks.robots.train import JOBS, Job
from chiralize import chiralize, flip_test
from chiralize.body.tensors import parse_spec
from chiralize.errors import ChiralizeError

RESULTS = Path(__file__).with_name("results.csv")
KEY = ("policy", "way", "calibration")
COLUMNS = (*KEY, "steps", "rho", "outcome", "products", "return", "error", "ratio", "gap_2s", "gap_25s", "falls",
           "parted", "parted_double", "gap_2s_double", "verdict")  # fmt: skip
SHORT = 40
"""Steps after which gaps are compared, 2 s: later the simulator's own rounding parts mirrored episodes as well."""
REFUTED = "the original has nothing of this symmetry"
"""In the sentence of what is refused with CH404 unless it is forced."""
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


def calibration(policy: nn.Module, kind: str) -> Tensor | None:
    """Observations of the policy's walks: `sample 27`, or `sequence step 27` where it keeps a state."""
    if kind == "none":
        return None
    seen = torch.from_numpy(roll(policy, seed=7, steps=FRAMES if is_stateful(policy) else 500).observations).float()
    sequences = seen.swapaxes(0, 1)
    if is_stateful(policy):
        return sequences[:SEQUENCES] if kind == "good" else sequences[:1, :25]
    if kind == "narrow":
        return sequences[0, :64]
    order = np.random.default_rng(0).permutation(sequences.shape[0] * sequences.shape[1])
    return sequences.flatten(0, 1)[order[:SAMPLES]]


def outcome_of(report: Any) -> str:
    """What the user is told: a report that was only made by force says so, or that the original refutes the mirror."""
    if report.standing == "failed" or REFUTED in report.verdict:
        return "refused"
    return "warned" if report.standing == "warning" else "handed over"


def figures(policy: nn.Module) -> dict[str, str]:
    """What a policy does in the loop: float32 as it is deployed, and float64 for the gap alone."""
    rolled, double = roll(policy), roll(policy, double=True, steps=4 * SHORT)
    return {
        **_returns(rolled),
        "parted_double": f"{double.parted:.0f}",
        "gap_2s_double": f"{double.gap_after(SHORT):.2g}",
    }


def _returns(rolled: Rolled) -> dict[str, str]:
    return {
        "return": f"{rolled.mean:.2f}",
        "error": f"{rolled.error:.2f}",
        "gap_2s": f"{rolled.gap_after(SHORT):.4g}",
        "gap_25s": f"{rolled.gap_after(10**6):.4g}",
        "falls": str(rolled.falls),
        "parted": f"{rolled.parted:.0f}",
    }


def rows(job: Job, folder: Path, done: set[tuple[str, ...]], ways: Sequence[Way]) -> Iterator[dict[str, str]]:
    """The original, its flip average, and every conversion that the file has not."""
    policy, spec = trained(job, folder), parse_spec(SPEC)
    before = roll(policy).mean

    def row(way: str, kind: str, **entries: str) -> dict[str, str]:
        """A row without what is not known."""
        empty = dict.fromkeys(COLUMNS, "")
        return {
            **empty,
            "policy": job.name,
            "way": way,
            "calibration": kind,
            "steps": str(steps_of(job, folder)),
            **entries,
        }

    if (job.name, "original", "") not in done:
        yield row("original", "", ratio="1", products="1", **figures(policy))
    if (job.name, "flip average", "") not in done:
        both = figures(flip_test(policy, spec, example()))
        yield row("flip average", "", products="2", ratio=f"{float(both['return']) / before:.4f}", **both)
    tuned = job._replace(suffix=f"{job.suffix}-tuned")
    if (folder / tuned.name).is_dir() and (job.name, "reduce 0.5, tuned", "good") not in done:
        after = figures(trained(tuned, folder))
        yield row("reduce 0.5, tuned", "good", products="0.5", ratio=f"{float(after['return']) / before:.4f}", **after)
    for way in ways:
        if (job.name, way.name, way.calibration) in done:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = chiralize(
                    policy, spec, example(), calibration=calibration(policy, way.calibration), force=True, **way.options
                )
        except ChiralizeError as error:
            yield row(way.name, way.calibration, outcome=f"refused {error.code}", verdict=str(error.facts))
            continue
        report: Any = result.chirality.report
        after = figures(result)
        yield row(
            way.name,
            way.calibration,
            rho=f"{report.drift.rho:.4f}" if report.drift else "",
            outcome=outcome_of(report),
            products=f"{report.cost.macs_after / report.cost.macs_before:.3f}",
            ratio=f"{float(after['return']) / before:.4f}",
            verdict=str(report.verdict),
            **after,
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
        if not is_wanted or not (arguments.folder / job.name).is_dir():
            continue
        for row in rows(job, arguments.folder, set(known(arguments.csv, KEY)), ways):
            append(arguments.csv, COLUMNS, [row])
            console.print(", ".join(row.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
