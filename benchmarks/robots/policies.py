"""Trained policies as plain networks: an observation to an action, the normaliser inside, on the CPU, in eval mode."""

from __future__ import annotations

import copy
import json
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.robots.tasks import Task
from benchmarks.robots.train import Job

PRODUCTS = "products"
"""Beside a conversion that was trained on: its products as a share of the original's."""
CLIPPED = 10.0
"""Where stable-baselines3 cuts normalised observations."""


class Policy(nn.Module):
    """observations `batch observed` to actions `batch action`. mean, scale: of the observations."""

    mean: Tensor
    scale: Tensor

    def __init__(self, layers: nn.Module, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.layers = layers

    def forward(self, observation: Tensor) -> Tensor:
        """The mean of the actions, as the trainer acts without noise."""
        return self.layers(((observation - self.mean) / self.scale).clamp(-CLIPPED, CLIPPED))


def trained(job: Job, folder: Path) -> nn.Module:
    """The policy of a job that was trained."""
    if job.trainer == "sb3":
        return _of_sb3(job, folder / job.name)
    return _of_rsl(job, folder / job.name)


def is_trained(job: Job, folder: Path) -> bool:
    """Whether there is anything of a job's policy."""
    return (folder / job.name / ("model.zip" if job.trainer == "sb3" else "steps")).exists()


def steps_of(job: Job, folder: Path) -> int:
    """How many steps of all robots together it was trained for, which a job that was stopped has not all done."""
    if job.trainer == "rsl":
        return int((folder / job.name / "steps").read_text())
    with zipfile.ZipFile(folder / job.name / "model.zip") as archive:
        return int(json.loads(archive.read("data"))["num_timesteps"])


def products_of(job: Job, folder: Path) -> str:
    """Products of a call, as a share of those of the original that a policy was made from."""
    path = folder / job.name / PRODUCTS
    return path.read_text() if path.exists() else "1"


def _of_sb3(job: Job, folder: Path) -> Policy:
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecNormalize

    from benchmarks.robots.herd import Herd
    from benchmarks.robots.sb3 import HerdEnv

    actor = PPO.load(folder / "model.zip", device="cpu").policy
    statistics = VecNormalize.load(str(folder / "normaliser.pkl"), HerdEnv(Herd(job.task, 1, 0)))
    mean = torch.tensor(statistics.obs_rms.mean).float()
    scale = torch.tensor(statistics.obs_rms.var + statistics.epsilon).sqrt().float()
    hidden = actor.mlp_extractor.policy_net
    return Policy(nn.Sequential(*copy.deepcopy(hidden), copy.deepcopy(actor.action_net)), mean, scale).eval()


def _of_rsl(job: Job, folder: Path) -> nn.Module:
    from benchmarks.robots.rsl import runner_of, widths_of

    state = torch.load(folder / "model.pt", weights_only=False)["actor_state_dict"]
    runner = runner_of(job.task, job.network, job.way, 1, 0, widths_of(state))
    runner.load(str(folder / "model.pt"))
    exported: nn.Module = runner.alg.actor.as_jit()
    return exported.eval()


def example(task: Task) -> tuple[Tensor, ...]:
    """A call of one robot."""
    return (torch.zeros(1, task.observed),)
