"""Many robots at once, without a process or a thread for each: what both trainers step."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.robots.tasks import Array, Task

_Flags = npt.NDArray[np.bool_]


class Herd:
    """Robots that start anew when they fall or when their time is over. All have one model."""

    def __init__(self, task: Task, robots: int, seed: int) -> None:
        self.task = task
        self.mujoco: Any = import_module("mujoco")
        first = task.gym().unwrapped
        self.model, self.skip, self.seconds = first.model, first.frame_skip, first.dt
        self.first = first.init_qpos.copy()
        self.rng = np.random.default_rng(seed)
        self.robots = [self.mujoco.MjData(self.model) for _ in range(robots)]
        self.ages = np.zeros(robots, np.int64)
        for robot in range(robots):
            self.begin(robot)

    @property
    def count(self) -> int:
        return len(self.robots)

    def begin(self, robot: int) -> None:
        """Put a robot where gymnasium puts it: standing, joints and speeds a little off."""
        data, (positions, speeds) = self.robots[robot], self.task.spread
        self.mujoco.mj_resetData(self.model, data)
        data.qpos[:] = self.first + self.rng.uniform(-positions, positions, self.model.nq)
        data.qvel[:] = speeds * self.rng.standard_normal(self.model.nv)
        self.mujoco.mj_forward(self.model, data)
        self.ages[robot] = 0

    def observe(self) -> Array:
        """`robot observed`: qpos without the place, and qvel."""
        unseen, fastest = self.task.unseen, self.task.fastest
        return np.stack(
            [np.concatenate([data.qpos[unseen:], data.qvel.clip(-fastest, fastest)]) for data in self.robots]
        )

    def standing(self, observations: Array) -> _Flags:
        """Which robots have not fallen."""
        told = observations[:, : len(self.task.lowest)]
        within = (told >= self.task.lowest) & (told <= self.task.highest)
        return np.asarray(np.isfinite(observations).all(-1) & within.all(-1))

    def step(self, actions: Array) -> tuple[Array, Array, _Flags, _Flags, Array]:
        """Observations, rewards, fallen, out of time, and the observations before robots start anew.

        actions: `robot action`; clipped to the range of the motors.
        """
        actions = np.clip(actions, -1.0, 1.0)
        ahead = np.empty(self.count)
        for robot, data in enumerate(self.robots):
            before = data.qpos[0]
            data.ctrl[:] = actions[robot]
            self.mujoco.mj_step(self.model, data, nstep=self.skip)
            ahead[robot] = data.qpos[0] - before
        self.ages += 1
        last = self.observe()
        standing = self.standing(last)
        rewards = ahead / self.seconds + self.task.settings["healthy_reward"] * standing
        rewards -= self.task.settings["ctrl_cost_weight"] * np.square(actions).sum(-1)
        late = (self.ages >= self.task.steps) & standing
        over = late | ~standing
        for robot in np.flatnonzero(over):
            self.begin(int(robot))
        return (self.observe() if over.any() else last), rewards, ~standing, late, last
