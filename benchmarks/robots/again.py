"""Runs conversions from 64 other starts that fell below 0.9 of the return and were handed over without a warning:

    python -m benchmarks.robots.again --folder DIR

DIR is that of `benchmarks.robots.train`. 16 starts have errors of 3 to 12 %, and of many conversions the lowest are
picked out here: other starts tell which of them are low. Rows are appended to `again.csv`; those it has are skipped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import nn

from benchmarks.accuracy.rows import append, known
from benchmarks.accuracy.summary import read
from benchmarks.robots.conversions import converted
from benchmarks.robots.loop import roll
from benchmarks.robots.policies import example, is_trained, trained
from benchmarks.robots.run import KEY, RESULTS, WAYS, calibration
from benchmarks.robots.table import AGAIN, violations
from benchmarks.robots.tasks import Array, Task
from benchmarks.robots.train import JOBS, Job
from chiralize.body.tensors import parse_spec

COLUMNS = (*KEY, "starts", "original", "result", "ratio", "error")
STARTS, SEED = 64, 2000


def share(original: Array, result: Array) -> tuple[float, float]:
    """The result's return as a share of the original's, and its standard error over starts, which both have in common.

    original, result: returns `side start`.
    """
    before, after = original.mean(0), result.mean(0)
    ratio = float(after.mean() / before.mean())
    left = after - ratio * before
    return ratio, float(left.std(ddof=1) / np.sqrt(len(left)) / before.mean())


def rolled(policy: nn.Module, task: Task) -> Array:
    """Returns `side start`."""
    return roll(policy, task, seed=SEED, starts=STARTS).returns


def compared(job: Job, folder: Path, way: str, kind: str) -> dict[str, str]:
    """A row for a conversion of `benchmarks.robots.run`, made again."""
    policy, task = trained(job, folder), job.task
    options = {(each.name, each.calibration): each.options for each in WAYS}[way, kind]
    result = converted(policy, parse_spec(task.spec), example(task), calibration(policy, task, kind), options)
    assert result.network is not None
    before, after = rolled(policy, task), rolled(result.network, task)
    ratio, error = share(before, after)
    figures = {"original": f"{before.mean():.2f}", "result": f"{after.mean():.2f}"}
    named = {"policy": job.name, "way": way, "calibration": kind, "starts": str(STARTS)}
    return {**named, **figures, "ratio": f"{ratio:.4f}", "error": f"{error:.4f}"}


def main() -> int:
    """Run every conversion of which the report said nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    jobs = {job.name: job for job in JOBS}
    for row in violations(read(RESULTS)):
        key = tuple(row[column] for column in KEY)
        job = jobs.get(row["policy"])
        if job is None or not is_trained(job, folder) or key in set(known(AGAIN, KEY)):
            continue
        made = compared(job, folder, row["way"], row["calibration"])
        append(AGAIN, COLUMNS, [made])
        Console(stderr=True).print(", ".join(made.values()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
