"""Trained policies as plain networks: an observation to an action, the normaliser inside, on the CPU, in eval mode."""

from __future__ import annotations

import copy
import json
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.robots.herd import OBSERVED
from benchmarks.robots.train import Job

SPEC = """
name: ant-27
joints: [hip_1, ankle_1, hip_2, ankle_2, hip_3, ankle_3, hip_4, ankle_4]
pairs: [[hip_1, hip_4], [ankle_1, ankle_4], [hip_2, hip_3], [ankle_2, ankle_3]]
dims: [q]
negate: []
signs: {hip_1: [-1], hip_2: [-1], hip_3: [-1], hip_4: [-1]}
lateral: y
inputs:
  - layout: b f
    fields:
      - {scalar: 1, name: height}
      - {signs: [1, -1, 1, -1], name: orientation}
      - {joints: joint_angles}
      - {vector: velocity}
      - {axial: angular_velocity}
      - {joints: joint_velocities}
outputs:
  - layout: b (j d)
    joints: [hip_4, ankle_4, hip_1, ankle_1, hip_2, ankle_2, hip_3, ankle_3]
    dims: [q]
"""
CLIPPED = 10.0
"""Where stable-baselines3 cuts normalised observations."""


class Policy(nn.Module):
    """observations `batch 27` to actions `batch 8`. mean, scale: of the observations."""

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
        return _of_sb3(folder / job.name)
    return _of_rsl(job, folder / job.name)


def steps_of(job: Job, folder: Path) -> int:
    """How many steps of all robots together it was trained for, which a job that was stopped has not all done."""
    if job.trainer == "rsl":
        return int((folder / job.name / "steps").read_text())
    with zipfile.ZipFile(folder / job.name / "model.zip") as archive:
        return int(json.loads(archive.read("data"))["num_timesteps"])


def _of_sb3(folder: Path) -> Policy:
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecNormalize

    from benchmarks.robots.herd import Herd
    from benchmarks.robots.sb3 import HerdEnv

    actor = PPO.load(folder / "model.zip", device="cpu").policy
    statistics = VecNormalize.load(str(folder / "normaliser.pkl"), HerdEnv(Herd(1, 0)))
    mean = torch.tensor(statistics.obs_rms.mean).float()
    scale = torch.tensor(statistics.obs_rms.var + statistics.epsilon).sqrt().float()
    hidden = actor.mlp_extractor.policy_net
    return Policy(nn.Sequential(*copy.deepcopy(hidden), copy.deepcopy(actor.action_net)), mean, scale).eval()


def _of_rsl(job: Job, folder: Path) -> nn.Module:
    from rsl_rl.runners import OnPolicyRunner

    from benchmarks.robots.herd import Herd, ant_mirror
    from benchmarks.robots.rsl import HerdEnv, settings

    env = HerdEnv(Herd(1, 0))
    _, seen, acted = ant_mirror(env.herd.model)
    runner = OnPolicyRunner(env, settings(job.network, job.way, (seen, acted)), log_dir=None, device="cpu")
    runner.load(str(folder / "model.pt"))
    exported: nn.Module = runner.alg.actor.as_jit()
    return exported.eval()


def example() -> tuple[Tensor, ...]:
    """A call of one robot."""
    return (torch.zeros(1, OBSERVED),)
