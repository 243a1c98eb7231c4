"""What `reduce` ½ makes of calibration inputs that are fewer, of other people, of one person, or in other units:

    python -m benchmarks.accuracy.spread --cache DIR [--csv benchmarks/accuracy/spread.csv]

DIR holds the frame lifters among the teachers (`python -m benchmarks.accuracy.teachers --cache DIR`); all of them that
it has are converted, without labels and without gradient steps. Rows are appended as they come, and those that the file
has are skipped.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from benchmarks.accuracy.rows import append, known
from benchmarks.accuracy.tasks import TRAINING_CAMERAS, TRAINING_SEED, Task
from benchmarks.accuracy.teachers import Teacher, evaluate, load_teacher
from chiralize.commands.convert import Conversion, Request, convert
from chiralize.errors import DataFileError
from chiralize.problem.preparation import prepare

RESULTS = Path(__file__).with_name("spread.csv")
COLUMNS: tuple[str, ...] = ("network", "flips", "seed", "inputs", "share", "ratio", "rho", "said")
NAMES = ("frame-128", "frame-512")
BATCH, SAMPLES = 50, 2500
WALKER = "x-walking_extra"
INPUTS: dict[str, tuple[Callable[[Task], Tensor], float]] = {
    "2500": (lambda task: task.calibration(SAMPLES), 0.0),
    "1000": (lambda task: task.calibration(1000), 0.0),
    "300": (lambda task: task.calibration(300), 0.0),
    "100": (lambda task: task.calibration(100), 0.0),
    "test people": (lambda task: task.test(SAMPLES)[0], 0.0),
    "one walks": (lambda task: _walking(task), 0.0),
    "one walks, mixed": (lambda task: _walking(task), 0.5),
    "millimetres": (lambda task: 1000 * task.calibration(SAMPLES), 0.0),
}
"""Samples by name, and the share of a Gaussian among them (`--mix-gaussian`)."""


def rows(teacher: Teacher, names: list[str]) -> Iterator[dict[str, str]]:
    """ratio: error on the test subjects, to the teacher's.  said: `warned`, `refused` or nothing."""
    metric = teacher.task.figure
    base = evaluate(teacher.network, teacher.task)["figures"][metric]
    for name in names:
        draw, share = INPUTS[name]
        inputs = draw(teacher.task)
        network = prepare(teacher.network, teacher.task.spec, (inputs[:BATCH],))
        calls = [((part,), {}) for part in inputs.split(BATCH)]
        options = Request("reduce", width=0.5, calibration=calls, mix=share, max_drift=1e9)
        try:
            done = convert(network, teacher.name, options)
            said = "warned" if any("warning" in own for own in done.report.notes) else ""
        except DataFileError:
            done, said = convert(network, teacher.name, replace(options, force=True)), "refused"
        ratio = evaluate(done.module, teacher.task)["figures"][metric] / base
        own = (teacher.name, str(teacher.flips), str(teacher.seed), name, f"{share:g}")
        yield dict(zip(COLUMNS, (*own, f"{ratio:.4f}", f"{_rho(done):.4f}", said), strict=True))


def medians(path: Path = RESULTS) -> dict[tuple[str, str], tuple[float, set[str]]]:
    """By network trained with flips, and inputs: the median over the seeds, and what users are told."""
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["flips"] == "True":
                found.setdefault((row["network"], row["inputs"]), []).append(row)
    return {
        key: (median(float(row["ratio"]) for row in own), {row["said"] for row in own}) for key, own in found.items()
    }


def _walking(task: Task) -> Tensor:
    """One person who walks, as the cameras of the training saw it."""
    capture = task.motion.load(task.data_folder / "cmu17.npz")
    found = task.motion.lifting(capture, [WALKER], TRAINING_SEED, 0.0, TRAINING_CAMERAS, min_len=1)
    poses = np.concatenate([sequence["pose2d"] for sequence in found])
    return torch.from_numpy(np.random.default_rng(0).permutation(poses)[:SAMPLES])


def _rho(done: Conversion) -> float:
    return done.report.drift.rho if done.report.drift else 0.0


def main() -> int:
    """Convert and append to the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--csv", type=Path, default=RESULTS)
    parser.add_argument("--names", nargs="*", default=list(NAMES), choices=list(NAMES))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    there = known(arguments.csv, ("network", "flips", "seed", "inputs"))
    console = Console(stderr=True)
    for name in arguments.names:
        for flips in (True, False):
            for seed in arguments.seeds:
                try:
                    teacher = load_teacher(arguments.cache, name, flips, seed)
                except FileNotFoundError:
                    continue
                missing = [own for own in INPUTS if (name, str(flips), str(seed), own) not in there]
                for row in rows(teacher, missing) if missing else ():
                    append(arguments.csv, COLUMNS, [row])
                    console.print(", ".join(row.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
