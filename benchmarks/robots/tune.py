"""Trains converted policies (half the width) on for a tenth of their steps, held to the mirror, and originals as long:

    python -m benchmarks.robots.tune --folder DIR [--only NAME ...]

PPO goes on with the converted actor in the place of its own; a folder with `-tuned` in its name holds what comes out,
one with `-longer` the original that was trained on.
"""

from __future__ import annotations

import shutil
import warnings
from math import inf
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.robots.policies import PRODUCTS, example, is_trained, steps_of, trained
from benchmarks.robots.run import calibration
from benchmarks.robots.train import MORE, Job, asked, extended, train
from chiralize import chiralize
from chiralize.body.tensors import parse_spec

WIDTH = 0.5
"""Of the conversions that are trained on."""


def lengthen(job: Job, folder: Path, until: float = inf) -> bool:
    """Train a job's policy on for a tenth of its steps, as it was trained; any trainer's. Whether it got there."""
    longer = job._replace(suffix=f"{job.suffix}-longer", steps=extended(job))
    if not (folder / longer.name).is_dir():
        shutil.copytree(folder / job.name, folder / longer.name)
    return train(longer, folder, until)


def tuned(job: Job) -> Job:
    """What is made of a job's policy."""
    return job._replace(suffix=f"{job.suffix}-tuned")


def tune(job: Job, folder: Path) -> None:
    """Convert the policy of a job, train the result on, and write down its products as a share of the original's."""
    source, target = folder / job.name, folder / tuned(job).name
    if job.network == "mlp":  # in the original's sizes: half of the products are left once it is in blocks
        products = WIDTH
        result = _halved(job, folder, "folded")
    else:  # dense, in fewer units, since a memory runs dense
        result = _halved(job, folder, "dense")
        cost = result.chirality.report.cost
        products = cost.macs_after / cost.macs_before
    if job.trainer == "sb3":
        from benchmarks.robots import sb3

        sb3.tune(job.task, job.seed, round(MORE * steps_of(job, folder)), source, result, target)
    else:
        from benchmarks.robots import rsl

        rsl.tune(job.task, (job.network, job.way), job.seed, extended(job), source, result, target)
    (target / PRODUCTS).write_text(f"{products:.2g}")


def _halved(job: Job, folder: Path, form: str) -> Any:
    """The conversion that is trained on."""
    policy, spec = trained(job, folder), parse_spec(job.task.spec)
    seen = calibration(policy, job.task, "good")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return chiralize(
            policy, spec, example(job.task), calibration=seen, method="reduce", width=WIDTH, force=True, form=form
        )


def main() -> int:
    """Tune and lengthen every policy that is named, or all that is trained and can be."""
    folder, jobs = asked(__doc__)
    for job in jobs:
        if job.is_tunable and is_trained(job, folder):
            if not (folder / tuned(job).name / PRODUCTS).exists():
                tune(job, folder)
            lengthen(job, folder)
            Console(stderr=True).print(f"tuned {job.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
