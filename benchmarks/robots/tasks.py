"""The robots that learn to walk: what they see, what they are paid for, when they have fallen, and their mirror.

Both are gymnasium's, made quick to learn: the semi-implicit Euler integrator in place of Runge-Kutta's (a quarter of
the time), and other weights of the terms of the reward.

`ant`: Ant-v5, 27 entries, four legs.  `walker`: Walker2d-v5, 17 entries, two legs in one plane. Its mirror exchanges
the legs and negates nothing; both legs are equal.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.ant import BODY, TORQUES
from chiralize.body.robots.describing import RobotWishes, mirror_of
from chiralize.body.robots.mirroring import RobotMirror
from chiralize.body.robots.opening import opened_from

Array = npt.NDArray[np.float64]
EULER = 0  # mjtIntegrator


class Task(NamedTuple):
    """A robot and what it learns.

    environment, settings: gymnasium's name, and the arguments it is made with.  steps: of an episode.
    unseen: how many entries of qpos are not observed, the first ones.  observed, actions: how many entries.
    lowest, highest: bounds of the first observed entries; a robot outside has fallen.  fastest: where speeds are cut.
    sides: signs that the mirror gives the first entries of qpos, the robot's place.
    partners: of joints whose names and places do not say it.  spread: of joints and speeds at the start.
    spec: the specification that policies are converted by.
    """

    name: str
    environment: str
    settings: dict[str, Any]
    steps: int
    unseen: int
    observed: int
    actions: int
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    fastest: float
    sides: tuple[float, ...]
    partners: tuple[tuple[str, str], ...]
    spread: tuple[float, float]
    spec: str

    def gym(self, steps: int | None = None) -> Any:
        """The task as a gymnasium environment, one robot at a time."""
        gymnasium: Any = import_module("gymnasium")
        environment = gymnasium.make(self.environment, max_episode_steps=steps or self.steps, **self.settings)
        environment.unwrapped.model.opt.integrator = EULER
        return environment

    def mirror(self, model: Any) -> tuple[RobotMirror, Array, Array]:
        """The mirror, and how it acts on observations and actions: partner and sign of each entry, `2 observed` and
        `2 actions`."""
        mirror = mirror_of(opened_from(model, self.environment), RobotWishes(partners=dict(self.partners)))
        entries = np.r_[mirror.qpos.partner[self.unseen :], np.array(mirror.qvel.partner) + model.nq] - self.unseen
        signs = np.r_[mirror.qpos.sign[self.unseen :], mirror.qvel.sign]
        acted = np.array([mirror.ctrl.partner, mirror.ctrl.sign], np.float64)
        return mirror, np.stack([entries, signs]), acted


ANT = Task(
    name="ant",
    environment="Ant-v5",
    settings={"include_cfrc_ext_in_observation": False, "healthy_reward": 0.2, "ctrl_cost_weight": 0.05},
    steps=500,  # of 0.05 s
    unseen=2,  # x and y
    observed=27,
    actions=8,
    lowest=(0.2,),  # m, the torso
    highest=(1.0,),
    fastest=np.inf,
    sides=(1.0, -1.0, 1.0),
    partners=(),
    spread=(0.1, 0.1),
    spec="name: ant-27"
    + BODY
    + """inputs:
  - layout: b f
    fields:
      - {scalar: 1, name: height}
      - {signs: [1, -1, 1, -1], name: orientation}
      - {joints: joint_angles}
      - {vector: velocity}
      - {axial: angular_velocity}
      - {joints: joint_velocities}
"""
    + TORQUES,
)
WALKER = Task(
    name="walker",
    environment="Walker2d-v5",
    settings={"healthy_reward": 0.5, "ctrl_cost_weight": 1e-3},
    steps=1000,  # of 0.008 s
    unseen=1,  # x
    observed=17,
    actions=6,
    lowest=(0.8, -1.0),  # m, the torso; radians, how far it leans
    highest=(2.0, 1.0),
    fastest=10.0,
    sides=(1.0, 1.0),
    partners=tuple((f"{part}_joint", f"{part}_left_joint") for part in ("thigh", "leg", "foot")),
    spread=(5e-3, 5e-3),
    spec="""
name: walker-17
joints: [thigh, leg, foot, thigh_left, leg_left, foot_left]
pairs: [[thigh, thigh_left], [leg, leg_left], [foot, foot_left]]
dims: [q]
negate: []
inputs:
  - layout: b f
    fields:
      - {scalar: 2, name: height_and_lean}
      - {joints: joint_angles}
      - {scalar: 3, name: velocities}
      - {joints: joint_velocities}
outputs:
  - layout: b (j d)
    dims: [q]
""",
)
TASKS = {task.name: task for task in (ANT, WALKER)}


def gym_ant(steps: int = ANT.steps) -> Any:
    """What `chiralize audit --rollout benchmarks.robots.tasks:gym_ant` runs."""
    return ANT.gym(steps)


def gym_walker(steps: int = WALKER.steps) -> Any:
    """What `chiralize audit --rollout benchmarks.robots.tasks:gym_walker` runs."""
    return WALKER.gym(steps)
