"""Policies in the loop, all robots of a herd at once: returns and falls from starts and from their mirror images."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from benchmarks.robots.herd import Herd
from benchmarks.robots.tasks import TASKS, Array, Task

STARTS = 16
APART = 0.05
"""Metres from which on two robots have parted."""
Act = Callable[[Array], Array]
"""observations `robot observed` to actions `robot action`."""


class Rolled(NamedTuple):
    """rewards: `step side start`.  fallen: `side start`.  observations: `step robot observed`, the last after a fall.

    distance: how far the mirror image of the robot is from the robot that began there, `step start`, m.
    """

    rewards: Array
    fallen: Array
    observations: Array
    distance: Array

    @property
    def returns(self) -> Array:
        """`side start`."""
        return self.rewards.sum(0)

    @property
    def mean(self) -> float:
        """Return, over both sides."""
        return float(self.returns.mean())

    @property
    def error(self) -> float:
        """Standard error of that, over starts."""
        return float(self.returns.mean(0).std(ddof=1) / np.sqrt(self.returns.shape[1]))

    @property
    def gap(self) -> float:
        """Mean difference between the return of a start and that of its mirror image."""
        return float(np.abs(self.returns[0] - self.returns[1]).mean())

    def gap_after(self, steps: int) -> float:
        """The same of the first steps alone, as a share of the return of these."""
        one, other = self.rewards[:steps].sum(0)
        return float(np.abs(one - other).mean() / abs((one + other).mean() / 2))

    @property
    def parted(self) -> float:
        """After how many steps half of the starts are further than `APART` from their mirror images."""
        beyond = self.distance > APART
        first = np.where(beyond.any(0), beyond.argmax(0), len(beyond))
        return float(np.median(first))

    @property
    def falls(self) -> int:
        return int(self.fallen.sum())


@cache
def _herd(name: str, robots: int) -> Herd:
    return Herd(TASKS[name], robots, 0)


def acting(policy: nn.Module, task: Task, robots: int, double: bool = False) -> Act:
    """A policy as a function. Robots share it, or have a copy each where it keeps a state, from the stored one."""
    policy = copy.deepcopy(policy)
    if double:
        policy = policy.double()
    dtype = torch.float64 if double else torch.float32
    if not is_stateful(policy, task):

        def together(observations: Array) -> Array:
            with torch.no_grad():
                return policy(torch.from_numpy(observations).to(dtype)).double().numpy()

        return together
    copies = [copy.deepcopy(policy) for _ in range(robots)]

    def each(observations: Array) -> Array:
        rows = torch.from_numpy(observations).to(dtype)[:, None]
        with torch.no_grad():
            return torch.cat([network(row) for network, row in zip(copies, rows, strict=True)]).double().numpy()

    return each


def is_stateful(policy: nn.Module, task: Task) -> bool:
    """Whether a second call on the same observation answers otherwise."""
    probe, ones = copy.deepcopy(policy), torch.ones(1, task.observed)
    dtype = next((tensor.dtype for tensor in policy.state_dict().values() if tensor.is_floating_point()), ones.dtype)
    with torch.no_grad():
        return not torch.equal(probe(ones.to(dtype)).clone(), probe(ones.to(dtype)))


def roll(
    policy: nn.Module, task: Task, double: bool = False, seed: int = 1000, starts: int = STARTS, steps: int = 0
) -> Rolled:
    """Run a policy from starts and from their mirror images, without noise. steps: 0 for those of the task."""
    robots = _herd(task.name, 2 * starts)
    robots.rng = np.random.default_rng(seed)
    mirror, *_ = task.mirror(robots.model)
    for number in range(starts):
        robots.begin(number)
        plain, other = robots.robots[number], robots.robots[starts + number]
        robots.mujoco.mj_resetData(robots.model, other)
        other.qpos[:], other.qvel[:] = mirror.qpos.act(plain.qpos), mirror.qvel.act(plain.qvel)
        for data in (plain, other):
            _settled(robots, data)
    robots.ages[:] = 0
    act = acting(policy, task, 2 * starts, double)
    returns: list[Array] = []
    distances: list[Array] = []
    standing = np.ones(2 * starts, bool)
    seen = [robots.observe()]
    for _ in range(steps or task.steps):
        robots.ages[:] = 0  # time ends no episode here
        _, rewards, fallen, _, last = robots.step(act(seen[-1]))
        returns.append(np.where(standing, rewards, 0.0))
        places = np.stack([data.qpos[: len(task.sides)] for data in robots.robots])
        apart = np.linalg.norm(places[:starts] * task.sides - places[starts:], axis=-1)
        distances.append(np.where(standing[:starts] & standing[starts:], apart, np.inf))
        standing &= ~fallen
        seen.append(np.where(standing[:, None], last, seen[-1]))
        if not standing.any():
            break
    shape = (2, starts)
    rewarded = np.stack(returns).reshape(-1, *shape)
    return Rolled(rewarded, ~standing.reshape(shape), np.stack(seen), np.stack(distances))


def _settled(robots: Herd, data: object) -> None:
    """Both sides come into their state in one way, so that the solver remembers the same."""
    state = data.qpos.copy(), data.qvel.copy()  # type: ignore[attr-defined]
    robots.mujoco.mj_resetData(robots.model, data)
    data.qpos[:], data.qvel[:] = state  # type: ignore[attr-defined]
    robots.mujoco.mj_forward(robots.model, data)
