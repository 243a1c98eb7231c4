"""Trains every policy of the table, one after the other, each from where it was stopped:

    python -m benchmarks.robots.train --folder DIR [--only NAME ...]

DIR/NAME holds the checkpoints. Needs stable-baselines3 and rsl-rl-lib (`pip install -e ".[packages,policy]"`).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import torch

SEEDS = (0, 1, 2)


class Job(NamedTuple):
    """A policy to train. network: mlp or lstm.  way: plain, mirrored or equivariant.  steps: of all robots together.

    suffix: tells policies apart that are trained for fewer steps, or on.
    """

    trainer: str
    network: str
    way: str
    seed: int
    steps: int
    suffix: str = ""

    @property
    def name(self) -> str:
        return f"{self.trainer}-{self.network}-{self.way}{self.suffix}-{self.seed}"


STEPS, SHORT, LSTM = 800_000, 524_288, 1_300_000
JOBS = (
    *(Job("sb3", "mlp", way, seed, STEPS) for seed in SEEDS for way in ("plain", "mirrored")),
    *(Job("sb3", "mlp", way, seed, SHORT, "-short") for seed in SEEDS[1:] for way in ("plain", "mirrored")),
    *(Job("sb3", "mlp", "equivariant", seed, STEPS) for seed in SEEDS),
    *(Job("rsl", "lstm", "plain", seed, LSTM) for seed in SEEDS),
    *(Job("rsl", "mlp", way, seed, LSTM) for seed in SEEDS for way in ("plain", "mirrored")),
)


def train(job: Job, folder: Path) -> None:
    """Train one policy; returns at once where it is trained already."""
    if job.trainer == "sb3":
        from benchmarks.robots import sb3

        sb3.train(job.way, job.seed, job.steps, folder / job.name)
    else:
        from benchmarks.robots import rsl

        rsl.train(job.network, job.way, job.seed, job.steps, folder / job.name)


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
