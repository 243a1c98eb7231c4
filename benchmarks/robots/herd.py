"""Many Ants at once, without a process or a thread for each: what both trainers step.

The task is gymnasium's Ant-v5 with its 27 entries without contact forces, made quick to learn: the semi-implicit Euler
integrator in place of Runge-Kutta's (a quarter of the time), 0.2 for standing in place of 1, and a tenth of the cost of
torques. `gym_ant` is the same as a gymnasium environment, one Ant at a time.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from chiralize.body.robots.describing import mirror_of
from chiralize.body.robots.mirroring import RobotMirror
from chiralize.body.robots.opening import opened_from

Array = npt.NDArray[np.float64]

SETTINGS: dict[str, Any] = {
    "include_cfrc_ext_in_observation": False,
    "healthy_reward": 0.2,
    "ctrl_cost_weight": 0.05,
}
EULER = 0  # mjtIntegrator
OBSERVED, ACTIONS = 27, 8
STEPS = 500
"""Control steps of an episode, 25 s."""
_LOWEST, _HIGHEST = 0.2, 1.0  # m; an Ant whose torso leaves this has fallen
_UNSEEN = 2  # x and y are not observed


def gym_ant(steps: int = STEPS) -> Any:
    """The task as a gymnasium environment, as `chiralize audit --rollout benchmarks.robots.herd:gym_ant` runs it."""
    gymnasium: Any = import_module("gymnasium")
    environment = gymnasium.make("Ant-v5", max_episode_steps=steps, **SETTINGS)
    environment.unwrapped.model.opt.integrator = EULER
    return environment


class Herd:
    """Ants that start anew when they fall or after `STEPS`. All have one model."""

    def __init__(self, robots: int, seed: int) -> None:
        self.mujoco: Any = import_module("mujoco")
        ant = gym_ant().unwrapped
        self.model, self.skip, self.seconds = ant.model, ant.frame_skip, ant.dt
        self.first = ant.init_qpos.copy()
        self.rng = np.random.default_rng(seed)
        self.robots = [self.mujoco.MjData(self.model) for _ in range(robots)]
        self.ages = np.zeros(robots, np.int64)
        for robot in range(robots):
            self.begin(robot)

    @property
    def count(self) -> int:
        return len(self.robots)

    def begin(self, robot: int) -> None:
        """Put a robot where Ant-v5 puts it: standing, joints and speeds a little off."""
        data = self.robots[robot]
        self.mujoco.mj_resetData(self.model, data)
        data.qpos[:] = self.first + self.rng.uniform(-0.1, 0.1, self.model.nq)
        data.qvel[:] = 0.1 * self.rng.standard_normal(self.model.nv)
        self.mujoco.mj_forward(self.model, data)
        self.ages[robot] = 0

    def observe(self) -> Array:
        """`robot 27`: qpos without x and y, and qvel."""
        return np.stack([np.concatenate([data.qpos[_UNSEEN:], data.qvel]) for data in self.robots])

    def step(self, actions: Array) -> tuple[Array, Array, npt.NDArray[np.bool_], npt.NDArray[np.bool_], Array]:
        """Observations, rewards, fallen, out of time, and the observations before robots start anew.

        actions: `robot 8`; clipped to the range of the motors.
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
        standing = np.isfinite(last).all(-1) & (last[:, 0] >= _LOWEST) & (last[:, 0] <= _HIGHEST)
        rewards = ahead / self.seconds + SETTINGS["healthy_reward"] * standing
        rewards -= SETTINGS["ctrl_cost_weight"] * np.square(actions).sum(-1)
        late = (self.ages >= STEPS) & standing
        over = late | ~standing
        for robot in np.flatnonzero(over):
            self.begin(int(robot))
        return (self.observe() if over.any() else last), rewards, ~standing, late, last


def ant_mirror(model: Any) -> tuple[RobotMirror, Array, Array]:
    """The mirror, and how it acts on observations and actions: partner and sign of each entry, `2 27` and `2 8`."""
    mirror = mirror_of(opened_from(model, "Ant-v5"))
    entries = np.r_[mirror.qpos.partner[_UNSEEN:], np.array(mirror.qvel.partner) + model.nq] - _UNSEEN
    signs = np.r_[mirror.qpos.sign[_UNSEEN:], mirror.qvel.sign]
    return mirror, np.stack([entries, signs]), np.stack([mirror.ctrl.partner, mirror.ctrl.sign])
