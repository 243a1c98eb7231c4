"""Random bodies, and their mirror written out by hand: nothing here imports chiralize."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

NEGATED = {("x", "y"): ["x"], ("x", "y", "z"): ["x"], ("u", "v"): ["v"], ("p", "q", "r"): ["p", "r"], ("a",): ["a"]}


@dataclass(frozen=True)
class Body:
    """Joints in a random order, their partners, and the coordinates that the mirror negates.

    joints: names; those of partners begin with `left` and `right`.  partner: of each joint, itself in the centre.
    dims: names of the coordinates.  negated: some of them.  frames: 0 where poses have no time.
    """

    joints: tuple[str, ...]
    partner: tuple[int, ...]
    dims: tuple[str, ...]
    negated: tuple[str, ...]
    frames: int

    @property
    def layout(self) -> str:
        return "b t j d" if self.frames else "b j d"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one pose, or of one sequence: `t j d` or `j d`."""
        sizes = (len(self.joints), len(self.dims))
        return (self.frames, *sizes) if self.frames else sizes

    def spec(self) -> dict[str, Any]:
        """What a user would write into a YAML file."""
        pairs = [[self.joints[i], self.joints[j]] for i, j in enumerate(self.partner) if i < j]
        return {
            "name": "random-body",
            "joints": list(self.joints),
            "pairs": pairs,
            "dims": list(self.dims),
            "negate": list(self.negated),
            "inputs": [{"layout": self.layout}],
            "outputs": [{"layout": self.layout}],
        }

    def mirrored(self, poses: Tensor) -> Tensor:
        """T: partners change places, and the negated coordinates their sign.  poses: `... j d`."""
        signs = torch.tensor([-1.0 if dim in self.negated else 1.0 for dim in self.dims], dtype=poses.dtype)
        return poses[..., list(self.partner), :] * signs


def random_body(draw: random.Random) -> Body:
    """Two to four pairs, up to three joints in the centre, two or three coordinates."""
    pairs, centres = draw.randint(1, 4), draw.randint(0, 3)
    joints = [f"centre_{i}" for i in range(centres)]
    for i in range(pairs):
        joints += [f"left_{i}", f"right_{i}"]
    draw.shuffle(joints)
    swapped = {"left": "right", "right": "left", "centre": "centre"}
    partner = []
    for joint in joints:
        side, number = joint.split("_")
        partner.append(joints.index(f"{swapped[side]}_{number}"))
    dims = draw.choice([dims for dims in NEGATED if len(dims) > 1])
    return Body(tuple(joints), tuple(partner), dims, tuple(NEGATED[dims]), draw.choice([0, 0, 3, 5]))
