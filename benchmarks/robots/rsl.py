"""rsl_rl's PPO on the herd: MLP or LSTM, plain or with mirrored samples."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from math import inf
from pathlib import Path
from time import time
from typing import Any

import numpy as np
import torch
from rsl_rl.env import VecEnv
from rsl_rl.runners import OnPolicyRunner
from tensordict import TensorDict

from benchmarks.robots.herd import Herd
from benchmarks.robots.tasks import Array, Task

ROBOTS, LENGTH = 64, 48
NETWORKS = ("mlp", "lstm")
CHECKPOINT = 10
"""Iterations between checkpoints."""


class HerdEnv(VecEnv):
    """The herd as rsl_rl steps environments."""

    def __init__(self, herd: Herd) -> None:
        self.herd = herd
        self.num_envs, self.num_actions, self.max_episode_length = herd.count, herd.task.actions, herd.task.steps
        self.device, self.cfg = "cpu", {}
        self.returns, self.finished = np.zeros(herd.count), []

    @property
    def episode_length_buf(self) -> torch.Tensor:
        return torch.from_numpy(self.herd.ages)

    @episode_length_buf.setter
    def episode_length_buf(self, ages: torch.Tensor) -> None:
        self.herd.ages = ages.numpy().copy()

    def get_observations(self) -> TensorDict:
        return _observed(self.herd.observe())

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
        seen, rewards, fallen, late, _ = self.herd.step(actions.double().numpy())
        self.returns += rewards
        for robot in np.flatnonzero(fallen | late):
            self.finished.append(self.returns[robot])
            self.returns[robot] = 0.0
        over = torch.from_numpy(fallen | late).float()
        return _observed(seen), torch.from_numpy(rewards).float(), over, {"time_outs": torch.from_numpy(late).float()}


def _observed(seen: Array) -> TensorDict:
    return TensorDict({"policy": torch.from_numpy(seen).float()}, batch_size=[len(seen)])


class Doubling:
    """rsl_rl's `data_augmentation_func`: every sample, and then its mirror image."""

    def __init__(self, tables: tuple[Array, Array]) -> None:
        self.seen, self.acted = ((torch.tensor(table[0]).long(), torch.tensor(table[1]).float()) for table in tables)

    def __call__(self, env: Any, obs: TensorDict | None = None, actions: torch.Tensor | None = None) -> Any:
        if obs is not None:
            partner, sign = self.seen
            values = obs["policy"]
            doubled = torch.cat([values, values[:, partner] * sign])
            obs = TensorDict({"policy": doubled}, batch_size=[len(doubled)])
        if actions is not None:
            partner, sign = self.acted
            actions = torch.cat([actions, actions[:, partner] * sign])
        return obs, actions


def settings(network: str, way: str, tables: tuple[Array, Array]) -> dict[str, Any]:
    """What OnPolicyRunner is configured with."""
    model: dict[str, Any] = {"class_name": "MLPModel", "hidden_dims": [64, 64], "activation": "elu"}
    if network == "lstm":
        model = {"class_name": "RNNModel", "hidden_dims": [64], "activation": "elu", "rnn_type": "lstm"}
        model |= {"rnn_hidden_dim": 64, "rnn_num_layers": 1}
    model["obs_normalization"] = True
    noise = {"class_name": "GaussianDistribution", "init_std": 0.6}
    algorithm: dict[str, Any] = {
        "class_name": "PPO", "num_learning_epochs": 5, "num_mini_batches": 4, "learning_rate": 1e-3,
        "schedule": "adaptive", "desired_kl": 0.01, "gamma": 0.99, "lam": 0.95, "entropy_coef": 0.0,
    }  # fmt: skip
    if way == "mirrored":
        algorithm["symmetry_cfg"] = {"use_data_augmentation": True, "data_augmentation_func": Doubling(tables)}
        if network == "lstm":
            algorithm["class_name"] = "chiralize.clients.rsl_rl_recurrent:MirroredPPO"
    return {
        "num_steps_per_env": LENGTH,
        "save_interval": 10**9,
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        "algorithm": algorithm,
        "actor": {**model, "distribution_cfg": noise},
        "critic": model,
        "multi_gpu": None,
        "logger": "tensorboard",
    }


def train(task: Task, network: str, way: str, seed: int, steps: int, folder: Path, until: float = inf) -> bool:
    """Train to `steps` in all, going on from `folder` if it has a checkpoint; leaves one there. Whether it got there.

    until: when to stop, by `time.time()`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    env = HerdEnv(Herd(task, ROBOTS, seed))
    _, *tables = task.mirror(env.herd.model)
    runner = OnPolicyRunner(env, settings(network, way, (tables[0], tables[1])), log_dir=None, device="cpu")
    path, done = folder / "model.pt", folder / "steps"
    trained = 0
    if path.exists():
        runner.load(str(path))
        trained = int(done.read_text())
    while trained < steps and time() < until:
        env.finished.clear()
        with redirect_stdout(StringIO()):
            runner.learn(CHECKPOINT, init_at_random_ep_len=not trained)
        trained += CHECKPOINT * ROBOTS * LENGTH
        runner.save(str(folder / "next.pt"))
        (folder / "next.pt").replace(path)
        done.write_text(str(trained))
        print(folder.name, trained, f"{np.mean(env.finished or [0.0]):.1f}", flush=True)
    return trained >= steps
