"""The mirror of the simulator's state, read off the robot's model as `chiralize skeleton import` reads a file."""

from __future__ import annotations

from typing import Any

from chiralize.body.robots.asymmetry import differences, short_summary
from chiralize.body.robots.describing import RobotWishes, mirror_of
from chiralize.body.robots.mirroring import RobotMirror
from chiralize.body.robots.opening import opened_from
from chiralize.body.skeleton.skeleton import AXES


def mirror_of_robot(model: Any, name: str, lateral: str | None) -> RobotMirror:
    """T on the state of a `mujoco.MjModel`. Raises RobotMirrorError where it has none.

    name: for messages.  lateral: the axis that the specification names, None where it names none.
    """
    return mirror_of(opened_from(model, name), RobotWishes(lateral=lateral if lateral in AXES else None))


def asymmetry(mirror: RobotMirror) -> str:
    """What the robot's model does not share between its sides, in one sentence; "" where it shares all."""
    return short_summary(differences(mirror))
