"""What conversion leaves of the odd share of trained networks, without a step of gradients:

    python -m benchmarks.accuracy.odd --cache DIR [--csv benchmarks/accuracy/odd.csv]

DIR holds teachers (`python -m benchmarks.accuracy.teachers --cache DIR`); all that it has are converted. The odd share
of an output is the part of its variance that the mirror negates: of the original's flip average, and of the result.
Rows are appended as they come, and those that the file has are skipped.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.accuracy.rows import append, known
from benchmarks.accuracy.teachers import RECIPES, Teacher, load_teacher
from chiralize.commands.convert import Request, convert
from chiralize.problem.preparation import prepare

RESULTS = Path(__file__).with_name("odd.csv")
COLUMNS: tuple[str, ...] = ("network", "flips", "seed", "method", "inputs", "before", "after")
KEY = COLUMNS[:3]
METHODS = ("match", "project")
SAMPLES, BATCH = 1000, 50


def rows(teacher: Teacher) -> list[dict[str, str]]:
    """By method and by inputs: `noise` of the fitting moments and weights alone, or `data`, fitted on them."""
    inputs = teacher.task.calibration(SAMPLES)
    calls = [((part,), {}) for part in inputs.split(BATCH)]
    network = prepare(teacher.network, teacher.task.spec, (inputs[:BATCH],))
    found = []
    for method in METHODS:
        for name, given in (("noise", ()), ("data", calls)):
            options = replace(Request(method), calibration=given, max_drift=1e9, force=True)
            degeneracy = convert(network, teacher.name, options).report.judgement.degeneracy
            assert degeneracy is not None
            own = (teacher.name, str(teacher.flips), str(teacher.seed), method, name)
            shares = (f"{degeneracy.odd_before[0]:.4f}", f"{degeneracy.odd_after[0]:.4f}")
            found.append(dict(zip(COLUMNS, own + shares, strict=True)))
    return found


def kept(path: Path = RESULTS) -> dict[tuple[str, str], list[float]]:
    """By method and inputs: the part of its odd share that each trained network keeps, from the least; scores that the
    mirror leaves alone have none."""
    found: dict[tuple[str, str], list[float]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if float(row["before"]) > 0.01:
                own = found.setdefault((row["method"], row["inputs"]), [])
                own.append(float(row["after"]) / float(row["before"]))
    return {key: sorted(own) for key, own in found.items()}


def main() -> int:
    """Convert, append to the file, and show the least and the median."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--csv", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(stderr=True)
    for place in sorted(arguments.cache.glob("*.pt")):
        name, _, which = place.stem.rpartition("-")[0].rpartition("-")
        flips, seed = which == "flips", int(place.stem.rpartition("-")[2])
        if name in RECIPES and (name, str(flips), str(seed)) not in known(arguments.csv, KEY):
            append(arguments.csv, COLUMNS, found := rows(load_teacher(arguments.cache, name, flips, seed)))
            for row in found:
                console.print(*row.values())
    for key, own in kept(arguments.csv).items():
        console.print(f"{' '.join(key)}: least {own[0]:.2f}, median {statistics.median(own):.2f} of {len(own)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
