"""Trains every policy of the table, one after the other, each from where it was stopped:

    python -m benchmarks.robots.train --folder DIR [--only NAME ...]

DIR/NAME holds the checkpoints. Needs stable-baselines3 and rsl-rl-lib (`pip install -e ".[packages,policy]"`).
"""

from __future__ import annotations

import argparse
from math import inf
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.robots.tasks import TASKS, Task

SEEDS = (0, 1, 2)


class Job(NamedTuple):
    """A policy to train. robot: of `TASKS`.  network: mlp or lstm.  way: plain, mirrored or equivariant.

    steps: of all robots together.  suffix: tells policies apart that are made of others.
    """

    robot: str
    trainer: str
    network: str
    way: str
    seed: int
    steps: int
    suffix: str = ""

    @property
    def name(self) -> str:
        return f"{self.robot}-{self.trainer}-{self.network}-{self.way}{self.suffix}-{self.seed}"

    @property
    def kind(self) -> tuple[str, str, str]:
        return self.trainer, self.network, self.way

    @property
    def task(self) -> Task:
        return TASKS[self.robot]


STEPS = {"ant": 800_000, "walker": 1_000_000}
FOR_RSL = 1.6
"""How many more steps rsl_rl's PPO is given, which makes fewer updates of each."""


def _job(robot: str, trainer: str, network: str, way: str, seed: int) -> Job:
    steps = STEPS[robot] * (FOR_RSL if trainer == "rsl" else 1)
    return Job(robot, trainer, network, way, seed, int(steps))


FIRST = (("sb3", "mlp", "plain"), ("sb3", "mlp", "mirrored"), ("rsl", "lstm", "plain"), ("rsl", "lstm", "mirrored"))
KINDS = (
    *FIRST,
    ("sb3", "mlp", "equivariant"),
    *(("rsl", "mlp", way) for way in ("plain", "mirrored")),
)
"""Trainer, network and way, the most telling first."""
JOBS = tuple(_job(robot, *kind, seed) for kind in KINDS for seed in SEEDS for robot in TASKS)


def train(job: Job, folder: Path, until: float = inf) -> bool:
    """Train one policy; returns at once where it is trained already. Whether it is now.

    until: when to stop, by `time.time()`.
    """
    if job.trainer == "sb3":
        from benchmarks.robots import sb3

        return sb3.train(job.task, job.way, job.seed, job.steps, folder / job.name, until)
    from benchmarks.robots import rsl

    return rsl.train(job.task, job.network, job.way, job.seed, job.steps, folder / job.name, until)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for job in JOBS:
        if not arguments.only or job.name in arguments.only:
            train(job, arguments.folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
