"""The mirror of the simulator's state, read off the robot's model as `chiralize skeleton import` reads a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chiralize.body.robots.deriving import RobotMirror, derive
from chiralize.body.robots.lopsided import differences, short_summary
from chiralize.body.robots.opening import OpenedModel
from chiralize.body.robots.reading import poses, read_robot
from chiralize.body.skeleton.skeleton import AXES


def mirror_of_robot(model: Any, name: str, lateral: str | None) -> RobotMirror:
    """T on the state of a `mujoco.MjModel`. Raises RobotMirrorError where it has none.

    name: for messages.  lateral: the axis that the specification names, None where it names none.
    """
    joints = tuple(model.joint(index).name for index in range(model.njnt))
    opened = OpenedModel(model, "mujoco", Path(name), joints)
    robots = [read_robot(opened, pose, qpos) for pose, qpos in poses(opened)]
    return derive(robots, lateral if lateral in AXES else None)


def lopsidedness(mirror: RobotMirror) -> str:
    """What the robot's model does not share between its sides, in one sentence; "" where it shares all."""
    return short_summary(differences(mirror))
