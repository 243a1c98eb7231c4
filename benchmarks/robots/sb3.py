"""Stable-baselines3's PPO on the herd: plain, with mirrored samples, or with an equivariant actor."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from pathlib import Path
from time import time
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import nn

from benchmarks.robots.herd import Herd
from benchmarks.robots.policies import Policy
from benchmarks.robots.tasks import Array, Task
from chiralize import attach, keep_symmetric
from chiralize.nn.activation import Pointwise
from chiralize.nn.linear import Linear
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation

ROBOTS, LENGTH, BATCH, EPOCHS = 16, 256, 512, 10
WIDTHS = (64, 64)
CHECKPOINT = 32768
"""Steps between checkpoints."""
WAYS = ("plain", "mirrored", "equivariant")


class HerdEnv(VecEnv):
    """The herd as stable-baselines3 steps environments."""

    def __init__(self, herd: Herd) -> None:
        box = gymnasium.spaces.Box
        task = herd.task
        super().__init__(herd.count, box(-np.inf, np.inf, (task.observed,)), box(-1.0, 1.0, (task.actions,)))
        self.herd = herd
        self.actions = np.zeros((herd.count, task.actions))
        self.returns, self.lengths = np.zeros(herd.count), np.zeros(herd.count, np.int64)

    def reset(self) -> Array:
        for robot in range(self.herd.count):
            self.herd.begin(robot)
        return self.herd.observe()

    def step_async(self, actions: np.ndarray) -> None:
        self.actions = actions

    def step_wait(self) -> tuple[Array, Array, Any, list[dict[str, Any]]]:
        seen, rewards, fallen, late, last = self.herd.step(self.actions)
        infos: list[dict[str, Any]] = [{} for _ in range(self.herd.count)]
        self.returns += rewards
        self.lengths += 1
        for robot in np.flatnonzero(fallen | late):
            infos[robot] = {"terminal_observation": last[robot], "TimeLimit.truncated": bool(late[robot]),
                            "episode": {"r": self.returns[robot], "l": self.lengths[robot]}}  # fmt: skip
            self.returns[robot] = self.lengths[robot] = 0
        return seen, rewards, fallen | late, infos

    def close(self) -> None: ...

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> Sequence[bool]:
        return [False] * self.num_envs


def _mirrored(values: Any, table: Array) -> Any:
    """T on the last axis. table: partner and sign of each entry."""
    return values[..., table[0].astype(np.int64)] * table[1].astype(values.dtype)


class MirroredMeanStd(RunningMeanStd):
    """Mean and variance of the observations and of their mirror images, equal on both sides to the last bit."""

    table: Array

    def update(self, arr: np.ndarray) -> None:
        super().update(np.concatenate([arr, _mirrored(arr, self.table)]))
        self.mean = (self.mean + _mirrored(self.mean, self.table)) / 2
        self.var = (self.var + self.var[self.table[0].astype(np.int64)]) / 2


class MirroredBuffer(RolloutBuffer):
    """Hands out every sample with its mirror image, which has the same advantage, value and old likelihood."""

    def __init__(self, *given: Any, tables: tuple[Array, Array], **named: Any) -> None:
        super().__init__(*given, **named)
        self.tables = tables

    def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> Any:
        samples = super()._get_samples(batch_inds, env)
        doubled = {name: torch.cat([values, values]) for name, values in samples._asdict().items()}
        for name, table in zip(("observations", "actions"), self.tables, strict=True):
            values = getattr(samples, name)
            partner, sign = torch.tensor(table[0].astype(np.int64)), torch.tensor(table[1]).to(values)
            doubled[name] = torch.cat([values, values[:, partner] * sign])
        return samples._replace(**doubled)


class EquivariantPolicy(ActorCriticPolicy):
    """The same sizes of equivariant layers; the value is invariant, and partners share the noise."""

    def __init__(self, *given: Any, tables: tuple[Array, Array], **named: Any) -> None:
        self.tables = tables
        super().__init__(*given, ortho_init=False, **named)

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        seen, acted = (Representation.of(_involution(table)) for table in self.tables)
        self.mlp_extractor.policy_net, self.action_net = _equivariant(seen, acted)
        self.mlp_extractor.value_net, self.value_net = _equivariant(
            seen, Representation.of(SignedPermutation.identity(1))
        )
        with torch.no_grad():
            for parameter in self.action_net.parameters():
                parameter *= 0.01
        partner = torch.tensor(self.tables[1][0].astype(np.int64))
        self.log_std.register_hook(lambda gradient: (gradient + gradient[partner]) / 2)
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)


def _involution(table: Array) -> SignedPermutation:
    return SignedPermutation(table[0].astype(np.int64), table[1].astype(np.int64))


def _equivariant(seen: Representation, out: Representation) -> tuple[nn.Module, nn.Module]:
    wide = Representation.of(SignedPermutation.halves(WIDTHS[0]))
    layers = nn.Sequential(
        Linear(seen, wide), Pointwise(nn.Tanh(), wide), Linear(wide, wide), Pointwise(nn.Tanh(), wide)
    )
    return layers, Linear(wide, out)


def train(task: Task, way: str, seed: int, steps: int, folder: Path, until: float = inf) -> bool:
    """Train to `steps` in all, going on from `folder` if it has a checkpoint; leaves one there. Whether it got there.

    until: when to stop, by `time.time()`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    herd = Herd(task, ROBOTS, seed)
    _, *tables = task.mirror(herd.model)
    robots: VecEnv = HerdEnv(herd)
    saved, scales = folder / "model.zip", folder / "normaliser.pkl"
    if scales.exists():
        robots = VecNormalize.load(str(scales), robots)
    else:
        robots = VecNormalize(robots, gamma=0.99)
        if way != "plain":
            robots.obs_rms = MirroredMeanStd(shape=(task.observed,))
            robots.obs_rms.table = tables[0]
    if saved.exists():
        model = PPO.load(saved, robots, device="cpu")
    else:
        model = PPO(_policy(way), robots, n_steps=LENGTH, batch_size=BATCH, n_epochs=EPOCHS, seed=seed, device="cpu",
                    policy_kwargs=_arguments(way, tables),
                    rollout_buffer_class=MirroredBuffer if way == "mirrored" else None,
                    rollout_buffer_kwargs={"tables": tables} if way == "mirrored" else None)  # fmt: skip
    while model.num_timesteps < steps and time() < until:
        model.learn(min(CHECKPOINT, steps - model.num_timesteps), reset_num_timesteps=False)
        model.save(folder / "next.zip")
        robots.save(str(folder / "next.pkl"))
        (folder / "next.pkl").replace(scales)
        (folder / "next.zip").replace(saved)
        returns = [episode["r"] for episode in model.ep_info_buffer or ()]
        print(folder.name, model.num_timesteps, f"{np.mean(returns):.1f}", flush=True)
    return model.num_timesteps >= steps


def tune(task: Task, seed: int, steps: int, source: Path, result: Policy, folder: Path) -> None:
    """Train a conversion on for so many steps, held to its mirror, and leave a checkpoint in `folder`.

    source: folder of the original, whose critic and noise go on.  result: its conversion, in the original's sizes.
    """
    herd = Herd(task, ROBOTS, seed + 100)
    robots = VecNormalize.load(str(source / "normaliser.pkl"), HerdEnv(herd))
    _, table, _ = task.mirror(herd.model)
    statistics = MirroredMeanStd(shape=result.mean.shape)
    statistics.table, statistics.count = table, robots.obs_rms.count
    statistics.mean = result.mean.double().numpy().copy()
    statistics.var = result.scale.double().square().numpy() - robots.epsilon
    robots.obs_rms = statistics
    model = PPO.load(source / "model.zip", robots, device="cpu")
    *hidden, head = result.layers.children()
    model.policy.mlp_extractor.policy_net.load_state_dict(nn.Sequential(*hidden).state_dict())
    model.policy.action_net.load_state_dict(head.state_dict())
    layers = nn.Sequential(*model.policy.mlp_extractor.policy_net, model.policy.action_net)
    actor = Policy(layers, result.mean, result.scale)
    attach(actor, result)
    keep_symmetric(actor, model.policy.optimizer)
    model.learn(steps, reset_num_timesteps=False)
    folder.mkdir(exist_ok=True)
    robots.save(str(folder / "normaliser.pkl"))
    model.save(folder / "model.zip")


def _policy(way: str) -> Any:
    return EquivariantPolicy if way == "equivariant" else "MlpPolicy"


def _arguments(way: str, tables: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {"net_arch": list(WIDTHS), "log_std_init": -0.5}
    return {**arguments, "tables": tables} if way == "equivariant" else arguments
