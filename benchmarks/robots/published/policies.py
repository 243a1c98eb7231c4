"""Policies of a public repository (fan-ziqi/rl_sar), as its configurations describe them, and their specifications."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import yaml

from chiralize.body.robots.mirroring import RobotMirror

Array = npt.NDArray[np.float64]


class Names(NamedTuple):
    """Where a policy and its robot are. robot: of the folder of policies.  model: below the folder of robots."""

    robot: str
    policy: str
    model: str


PUBLISHED = {
    "Go2": Names("go2", "robot_lab", "go2/go2.xml"),
    "Go2, six frames": Names("go2", "himloco", "go2/go2.xml"),
    "Go2-W": Names("go2w", "robot_lab", "go2w/go2w.xml"),
    "B2": Names("b2", "robot_lab", "b2/b2.xml"),
    "B2-W": Names("b2w", "robot_lab", "b2w/b2w.xml"),
    "G1, LSTM": Names("g1", "robomimic/locomotion", "g1/g1_29dof.xml"),
}
_FIELDS = {
    "ang_vel": "{axial: angular_velocity}",
    "gravity_vec": "{vector: gravity}",
    "commands": "{command: [vx, vy, yaw_rate], name: command}",
    "dof_pos": "{joints: q}",
    "dof_vel": "{joints: dq}",
    "actions": "{joints: last_action}",
}


@dataclass(frozen=True)
class PublishedPolicy:
    """A policy and what its configuration says of it. folder: of all policies."""

    folder: Path
    names: Names

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The robot's defaults, and what the policy's own file says otherwise."""
        robot, policy = self.names.robot, self.names.policy
        defaults = yaml.safe_load((self.folder / robot / "base.yaml").read_text())[robot]
        own = yaml.safe_load((self.folder / robot / policy / "config.yaml").read_text())[f"{robot}/{policy}"]
        return {**defaults, **own}

    @property
    def path(self) -> Path:
        """The TorchScript file."""
        return self.folder / self.names.robot / self.names.policy / self.config["model_name"]

    def load(self) -> Any:
        """The network, with its states at their starts."""
        return torch.jit.load(str(self.path), map_location="cpu")

    @property
    def joints(self) -> list[str]:
        """In the order of the policy, by their names in the robot's model (which calls wheels by their name)."""
        names = [self.config["joint_names"][place] for place in self.config["joint_mapping"]]
        wheels = set(self.config["wheel_indices"])
        return [name.replace("foot", "wheel") if at in wheels else name for at, name in enumerate(names)]

    @property
    def frames(self) -> tuple[int, ...]:
        """Ages of the frames that an observation holds, in their order; 0 is the latest."""
        return tuple(self.config["observations_history"]) or (0,)

    @property
    def inputs(self) -> int:
        """Numbers of an observation."""
        return len(self.frames) * int(self.config["num_observations"])

    def of_joints(self, name: str) -> Array:
        """An entry of the configuration that has a number for every joint."""
        return np.array(self.config[name], dtype=np.float64)

    def specification(self, mirror: RobotMirror) -> str:
        """As its user would write it: blocks of the observation, and the joints as the robot's file has them."""
        image = mirror.joints
        pairs = sorted({tuple(sorted((name, image[name][0]))) for name in self.joints if image[name][0] != name})
        lines = [
            f"joints: [{', '.join(self.joints)}]",
            f"pairs: [{', '.join(f'[{one}, {other}]' for one, other in pairs)}]",
            "dims: [q]",
            "negate: []",
            f"signs: {{{', '.join(f'{name}: [-1]' for name in self.joints if image[name][1] < 0)}}}",
            f"lateral: {mirror.lateral}",
            f"inputs: [{{fields: [{self._fields()}]}}]",
            "outputs: [{fields: [{joints: action}]}]",
        ]
        return "\n".join(lines) + "\n"

    def _fields(self) -> str:
        fields = ", ".join(_FIELDS[name] for name in self.config["observations"])
        if len(self.frames) > 1:
            return f"{{history: {len(self.frames)}, of: [{fields}]}}"
        return fields
