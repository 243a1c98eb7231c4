"""Trains converted policies (half the width) on for a tenth of their steps, held to the mirror, and originals as long:

    python -m benchmarks.robots.tune --folder DIR [--only NAME ...]

PPO goes on with the converted actor in the place of its own; a folder with `-tuned` in its name holds what comes out,
one with `-longer` the original that was trained on.
"""

from __future__ import annotations

import argparse
import shutil
import warnings
from math import inf
from pathlib import Path

import torch
from rich.console import Console
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from benchmarks.robots.herd import Herd
from benchmarks.robots.policies import Policy, example, is_trained, steps_of, trained
from benchmarks.robots.run import calibration
from benchmarks.robots.sb3 import ROBOTS, HerdEnv, MirroredMeanStd
from benchmarks.robots.train import JOBS, MORE, Job, extended, train
from chiralize import attach, chiralize, keep_symmetric
from chiralize.body.tensors import parse_spec


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
    """Convert the policy of a job of stable-baselines3's, and train the result on."""
    task = job.task
    policy, spec = trained(job, folder), parse_spec(task.spec)
    seen = calibration(policy, task, "good")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = chiralize(
            policy, spec, example(task), calibration=seen, method="reduce", width=0.5, force=True, form="folded"
        )
    assert isinstance(result, Policy)
    herd = Herd(task, ROBOTS, job.seed + 100)
    robots = VecNormalize.load(str(folder / job.name / "normaliser.pkl"), HerdEnv(herd))
    _, table, _ = task.mirror(herd.model)
    statistics = MirroredMeanStd(shape=result.mean.shape)
    statistics.table, statistics.count = table, robots.obs_rms.count
    statistics.mean = result.mean.double().numpy().copy()
    statistics.var = result.scale.double().square().numpy() - robots.epsilon
    robots.obs_rms = statistics
    model = PPO.load(folder / job.name / "model.zip", robots, device="cpu")
    *hidden, head = result.layers.children()
    model.policy.mlp_extractor.policy_net.load_state_dict(nn.Sequential(*hidden).state_dict())
    model.policy.action_net.load_state_dict(head.state_dict())
    actor = Policy(
        nn.Sequential(*model.policy.mlp_extractor.policy_net, model.policy.action_net), result.mean, result.scale
    )
    attach(actor, result)
    keep_symmetric(actor, model.policy.optimizer)
    model.learn(round(MORE * steps_of(job, folder)), reset_num_timesteps=False)
    target = folder / tuned(job).name
    target.mkdir(exist_ok=True)
    robots.save(str(target / "normaliser.pkl"))
    model.save(target / "model.zip")


def main() -> int:
    """Tune and lengthen every policy that is named, or all of stable-baselines3's that are trained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for job in JOBS:
        is_wanted = job.trainer == "sb3" and job.way != "equivariant" and is_trained(job, arguments.folder)
        if arguments.only:
            is_wanted = job.name in arguments.only
        if is_wanted and not (arguments.folder / tuned(job).name / "model.zip").exists():
            tune(job, arguments.folder)
            lengthen(job, arguments.folder)
            Console(stderr=True).print(f"tuned {job.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
