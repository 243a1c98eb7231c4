"""The mirror of the simulator's state, read off the robot's model."""

from __future__ import annotations

from typing import Any, Protocol

from chiralize.errors import SpecError
from chiralize.symmetry.involution import SignedPermutation


class RobotMirror(Protocol):
    """T on the simulator's coordinates."""

    @property
    def qpos(self) -> SignedPermutation:
        """T on positions."""
        ...

    @property
    def qvel(self) -> SignedPermutation:
        """T on velocities."""
        ...

    @property
    def ctrl(self) -> SignedPermutation:
        """T on the controls of the actuators."""
        ...


def mirror_of_robot(model: Any, lateral: int | None) -> RobotMirror:
    """T on the state of a `mujoco.MjModel`. Raises SpecError where it cannot be read."""
    del lateral
    from examples.policy.symmetry import derive

    try:
        return derive(model)
    except ValueError as error:
        raise SpecError("the robot", str(error), "correct the robot's file") from error


def lateral_of(robot: RobotMirror | None) -> int:
    """The world's axis that the mirror negates: y, unless the robot's file says otherwise."""
    del robot
    return 1
