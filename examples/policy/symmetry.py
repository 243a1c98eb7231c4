"""How far MuJoCo agrees with the mirror of gymnasium's robots, and what they themselves are asymmetric in.

`python -m examples.policy.symmetry` prints it. The mirror is read off the joints by `chiralize.body.robots`, as
`chiralize skeleton import --from mujoco` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from chiralize.body.robots.agreement import agreement
from chiralize.body.robots.asymmetry import differences, summary
from chiralize.body.robots.describing import RobotWishes, mirror_of
from chiralize.body.robots.mirroring import RobotMirror
from chiralize.body.robots.opening import OpenedModel, opened_from

WALKER = {"thigh_joint": "thigh_left_joint", "leg_joint": "leg_left_joint", "foot_joint": "foot_left_joint"}
"""Planar: its legs lie in one another, so that places do not tell them apart."""
ROBOTS: dict[str, Mapping[str, str]] = {"Ant-v5": {}, "Humanoid-v5": {}, "Walker2d-v5": WALKER, "Walker2d-v4": WALKER}


def robot(name: str, partners: Mapping[str, str] | None = None) -> tuple[OpenedModel, RobotMirror]:
    """The compiled model of a gymnasium environment, and its mirror.

    Raises ImportError where gymnasium is not installed, MissingPackageError where MuJoCo is not.
    """
    gymnasium: Any = import_module("gymnasium")
    opened = opened_from(gymnasium.make(name).unwrapped.model, name)
    return opened, mirror_of(opened, RobotWishes(partners=partners or {}))


def main() -> None:
    """Prints, for each robot, how far the simulator is from the mirror, and what differs between its sides."""
    for name, partners in ROBOTS.items():
        opened, mirror = robot(name, partners)
        print(f"{name}: lateral axis {mirror.lateral}")
        for rung in agreement(opened, mirror).rungs:
            print(f"  {rung.label}: {rung.one:.1e} after 1 step, {rung.many:.1e} after 20")
        for line in summary(differences(mirror)):
            print(f"  {line}")


if __name__ == "__main__":
    main()
