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
    def is_first(self) -> bool:
        """Whether it is trained before all others. With a state, the Ant takes more steps than there is time for."""
        return self.trainer == "sb3" or (self.robot, self.network) == ("walker", "lstm")

    @property
    def is_tunable(self) -> bool:
        """Whether its conversion is trained on, and compared with the original, trained on as long."""
        return self.way != "equivariant"

    @property
    def task(self) -> Task:
        return TASKS[self.robot]


STEPS = {
    ("ant", "mlp"): 800_000,
    ("ant", "lstm"): 1_300_000,
    ("walker", "mlp"): 1_000_000,
    ("walker", "lstm"): 600_000,
}
"""With a state the Walker takes long for each, and the Ant still stands after 500,000."""


def _job(robot: str, trainer: str, network: str, way: str, seed: int) -> Job:
    return Job(robot, trainer, network, way, seed, STEPS[robot, network])


MORE = 0.1
"""How much longer policies are trained on, as a share of their steps."""
LONGEST = (
    *(("rsl", "lstm", way) for way in ("mirrored", "plain")),
    *(("sb3", "mlp", way) for way in ("equivariant", "plain", "mirrored")),
    *(("rsl", "mlp", way) for way in ("plain", "mirrored")),
)
"""Trainer, network and way; those that take longest begin first."""
KINDS = (*LONGEST[3:], *LONGEST[1::-1], LONGEST[2])
"""The same, the most telling first."""
FURTHER = (3, 4, 5)
"""Seeds beside these, whose conversions are trained on: of seeds 0 to 2 no weights were left."""
JOBS = (
    *(_job(robot, *kind, seed) for kind in KINDS for seed in SEEDS for robot in TASKS),
    *(_job(robot, *kind, seed) for robot in ("walker", "ant") for kind in KINDS[:2] for seed in FURTHER),
)


def extended(job: Job) -> int:
    """The steps of a policy that is trained on for a tenth of them."""
    return job.steps + round(MORE * job.steps)


def train(job: Job, folder: Path, until: float = inf) -> bool:
    """Train one policy; returns at once where it is trained already. Whether it is now.

    until: when to stop, by `time.time()`.
    """
    if job.trainer == "sb3":
        from benchmarks.robots import sb3

        return sb3.train(job.task, job.way, job.seed, job.steps, folder / job.name, until)
    from benchmarks.robots import rsl

    return rsl.train(job.task, job.network, job.way, job.seed, job.steps, folder / job.name, until)


def asked(description: str | None) -> tuple[Path, list[Job]]:
    """What a command of this package is to do, in which folder: the jobs that are named, or all. On one thread."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    return arguments.folder, [job for job in JOBS if not arguments.only or job.name in arguments.only]


def main() -> int:
    """Train what is named, or all."""
    folder, jobs = asked(__doc__)
    for job in jobs:
        train(job, folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
