"""MuJoCo XML of a robot: partners and signs of its joints, from their places and axes."""

from __future__ import annotations

from pathlib import Path

from chiralize.body.robots.describing import RobotWishes, import_robot
from chiralize.body.skeleton.skeleton import Skeleton


def read(path: Path, notices: list[str], wishes: RobotWishes | None = None) -> Skeleton:
    """The joint space of a robot: one coordinate a joint, with a sign of its own."""
    return import_robot(path, "mujoco", wishes or RobotWishes(), notices)
