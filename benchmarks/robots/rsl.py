"""rsl_rl's PPO on the herd: MLP or LSTM, plain or with mirrored samples, and conversions of these trained on."""

from __future__ import annotations

from collections.abc import Mapping
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
from torch import Tensor, nn

from benchmarks.robots.herd import Herd
from benchmarks.robots.tasks import Array, Task
from chiralize import attach, keep_symmetric

ROBOTS, LENGTH = 64, 48
WIDTHS = (64, 64)
"""Of the layers; the first is the memory where there is one."""
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


def _model(network: str, widths: tuple[int, int]) -> dict[str, Any]:
    """Actor or critic."""
    model: dict[str, Any] = {"class_name": "MLPModel", "hidden_dims": list(widths), "activation": "elu"}
    if network == "lstm":
        model = {"class_name": "RNNModel", "hidden_dims": [widths[1]], "activation": "elu", "rnn_type": "lstm"}
        model |= {"rnn_hidden_dim": widths[0], "rnn_num_layers": 1}
    return {**model, "obs_normalization": True}


def settings(network: str, way: str, tables: tuple[Array, Array], widths: tuple[int, int] = WIDTHS) -> dict[str, Any]:
    """What OnPolicyRunner is configured with. widths: of the actor."""
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
        "actor": {**_model(network, widths), "distribution_cfg": noise},
        "critic": _model(network, WIDTHS),
        "multi_gpu": None,
        "logger": "tensorboard",
    }


def runner_of(
    task: Task, network: str, way: str, robots: int, seed: int, widths: tuple[int, int] = WIDTHS
) -> OnPolicyRunner:
    """Untrained, with so many robots. widths: of the actor."""
    torch.manual_seed(seed)
    env = HerdEnv(Herd(task, robots, seed))
    _, seen, acted = task.mirror(env.herd.model)
    return OnPolicyRunner(env, settings(network, way, (seen, acted), widths), log_dir=None, device="cpu")


def widths_of(state: Mapping[str, Tensor]) -> tuple[int, int]:
    """The widths of an actor's layers, from its state or from that of its conversion."""
    *_, first, second = (values for name, values in state.items() if name.startswith("mlp.") and values.ndim > 1)
    return first.shape[1], second.shape[1]


def train(task: Task, network: str, way: str, seed: int, steps: int, folder: Path, until: float = inf) -> bool:
    """Train to `steps` in all, going on from `folder` if it has a checkpoint; leaves one there. Whether it got there.

    until: when to stop, by `time.time()`.
    """
    runner = runner_of(task, network, way, ROBOTS, seed)
    trained = 0
    if (folder / "model.pt").exists():
        runner.load(str(folder / "model.pt"))
        trained = int((folder / "steps").read_text())
    return _learn(runner, trained, steps, folder, until)


def _learn(runner: OnPolicyRunner, trained: int, steps: int, folder: Path, until: float = inf) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    env: Any = runner.env
    while trained < steps and time() < until:
        env.finished.clear()
        with redirect_stdout(StringIO()):
            runner.learn(CHECKPOINT, init_at_random_ep_len=not trained)
        trained += CHECKPOINT * ROBOTS * LENGTH
        runner.save(str(folder / "next.pt"))
        (folder / "next.pt").replace(folder / "model.pt")
        (folder / "steps").write_text(str(trained))
        print(folder.name, trained, f"{np.mean(env.finished or [0.0]):.1f}", flush=True)
    return trained >= steps


def tune(
    task: Task, kind: tuple[str, str], seed: int, steps: int, source: Path, result: nn.Module, folder: Path
) -> None:
    """Train a conversion on to `steps` in all, held to its mirror, and leave a checkpoint in `folder`.

    kind: network and way.  source: folder of the original, whose critic, noise and rate go on.  result: its
    conversion, dense, of any width.
    """
    runner = runner_of(task, *kind, ROBOTS, seed + 100, widths_of(result.state_dict()))
    saved = torch.load(source / "model.pt", weights_only=False)
    runner.load(str(source / "model.pt"), {"critic": True, "iteration": True})
    runner.alg.learning_rate = saved["optimizer_state_dict"]["param_groups"][0]["lr"]
    actor: Any = runner.alg.get_policy()
    actor.distribution.std_param.data = saved["actor_state_dict"]["distribution.std_param"]
    actor.obs_normalizer.until = 0
    view = actor.as_jit()
    view.obs_normalizer, view.mlp = actor.obs_normalizer, actor.mlp
    if hasattr(view, "rnn"):
        view.rnn = actor.rnn.rnn
    view.load_state_dict(result.state_dict())
    attach(view, result)
    keep_symmetric(view, runner.alg.optimizer)
    _learn(runner, int((source / "steps").read_text()), steps, folder)
