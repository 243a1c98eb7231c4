"""Trains converted policies (half the width) on for a tenth of their steps, held to the mirror:

    python -m benchmarks.robots.tune --folder DIR [--only NAME ...]

PPO goes on with the converted actor in the place of its own; A folder with `-tuned` in its name holds what comes out.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import torch
from rich.console import Console
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from benchmarks.robots.herd import Herd, ant_mirror
from benchmarks.robots.policies import SPEC, Policy, example, steps_of, trained
from benchmarks.robots.run import calibration
from benchmarks.robots.sb3 import ROBOTS, HerdEnv, MirroredMeanStd
from benchmarks.robots.train import JOBS, Job
from chiralize import attach, chiralize, keep_symmetric
from chiralize.body.tensors import parse_spec

SHARE = 0.1


def tuned(job: Job) -> Job:
    """What is made of a job's policy."""
    return job._replace(suffix=f"{job.suffix}-tuned")


def tune(job: Job, folder: Path) -> None:
    """Convert the policy of a job, and train the result on."""
    policy, spec = trained(job, folder), parse_spec(SPEC)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = chiralize(
            policy, spec, example(), calibration=calibration(policy, "good"), method="reduce", width=0.5, force=True,
            form="folded",
        )  # fmt: skip
    assert isinstance(result, Policy)
    herd = Herd(ROBOTS, job.seed + 100)
    ants = VecNormalize.load(str(folder / job.name / "normaliser.pkl"), HerdEnv(herd))
    _, seen, _ = ant_mirror(herd.model)
    statistics = MirroredMeanStd(shape=result.mean.shape)
    statistics.table, statistics.count = seen, ants.obs_rms.count
    statistics.mean = result.mean.double().numpy().copy()
    statistics.var = result.scale.double().square().numpy() - ants.epsilon
    ants.obs_rms = statistics
    model = PPO.load(folder / job.name / "model.zip", ants, device="cpu")
    model.policy.mlp_extractor.policy_net.load_state_dict(nn.Sequential(*result.layers[:-1]).state_dict())
    model.policy.action_net.load_state_dict(result.layers[-1].state_dict())
    actor = Policy(
        nn.Sequential(*model.policy.mlp_extractor.policy_net, model.policy.action_net), result.mean, result.scale
    )
    attach(actor, result)
    keep_symmetric(actor, model.policy.optimizer)
    model.learn(round(SHARE * steps_of(job, folder)), reset_num_timesteps=False)
    target = folder / tuned(job).name
    target.mkdir(exist_ok=True)
    model.save(target / "model.zip")
    ants.save(str(target / "normaliser.pkl"))


def main() -> int:
    """Tune every policy that is named, or all of stable-baselines3's that are trained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for job in JOBS:
        is_wanted = job.trainer == "sb3" and job.way != "equivariant"
        if arguments.only:
            is_wanted = job.name in arguments.only
        if is_wanted and not (arguments.folder / tuned(job).name / "model.zip").exists():
            tune(job, arguments.folder)
            Console(stderr=True).print(f"tuned {job.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
