"""Where the joints of a network's outputs are drawn: people stand as people do, other bodies as their tree of edges.

Commands put the bodies of a network's outputs into their reports (`bodies_of`), so that a page can be drawn from the
report alone. A skeleton counts as a person's where every joint is known as a part of one, by its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chiralize.body.skeleton.anatomy import landmarks
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.problem.poses.figure import placed
from chiralize.problem.poses.motion import JOINTS
from chiralize.report.skeleton_picture import tree_positions

Point = tuple[float, float]
MOST_JOINTS = 400
"""Joints of a body that is still drawn: of a mesh nobody reads single points."""
_OBLIQUE = 0.3
"""Points in front are drawn lower, by this share of their depth: feet and noses would cover ankles and necks otherwise.
"""
_STANDING: dict[str, tuple[float, float]] = {
    "hip": (0.0, 0.95),
    "left_hip": (0.13, 0.92),
    "left_knee": (0.19, 0.5),
    "left_ankle": (0.23, 0.08),
    "spine": (0.0, 1.18),
    "thorax": (0.0, 1.42),
    "neck": (0.0, 1.53),
    "head": (0.0, 1.74),
    "left_shoulder": (0.19, 1.4),
    "left_elbow": (0.4, 1.16),
    "left_wrist": (0.55, 0.9),
}
"""A person who stands with arms and legs apart, metres: to its left, and up."""


@dataclass(frozen=True)
class Body:
    """The body whose joints an output holds, and where they are drawn.

    output: its index.  pairs, edges: indices of joints.  points: of every joint, x to the right as the reader sees it,
    y downwards, seen from the front: the body's left is on the right.  as_person: whether they are a person's.
    """

    output: int
    skeleton: str
    joints: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    edges: tuple[tuple[int, int], ...]
    points: tuple[Point, ...]
    as_person: bool


def bodies_of(outputs: Sequence[ResolvedTensor]) -> tuple[Body, ...]:
    """The body of every output that holds joints of one, and not too many to be seen."""
    bodies: list[Body] = []
    for tensor in outputs:
        if tensor.pose is not None and "j" in tensor.pose.word_sizes():
            skeleton = tensor.pose.body
            if len(skeleton.joints) <= MOST_JOINTS:
                bodies.append(drawn(skeleton, tensor.index))
    return tuple(bodies)


def drawn(skeleton: Skeleton, output: int) -> Body:
    """The body of an output whose joints are those of a skeleton."""
    points = _standing(skeleton)
    as_person = points is not None
    if points is None:
        by_index = tree_positions(skeleton)
        # The tree has left on the left; a body that is seen from the front has it on the right.
        points = [(-by_index[index][0], by_index[index][1]) for index in range(len(skeleton.joints))]
    return Body(output, skeleton.name, skeleton.joints, skeleton.pairs, skeleton.edges, tuple(points), as_person)


def _standing(skeleton: Skeleton) -> list[Point] | None:
    """The joints of a person who stands, in metres; None where a joint is no known part of one."""
    marks = landmarks(skeleton)
    if isinstance(marks, str):
        return None
    joints = np.zeros((len(JOINTS), 3))  # "joint (aside, up, forward)"; `_STANDING` has left sides alone
    for index, name in enumerate(JOINTS):
        side, _, limb = name.partition("_")
        aside, up = _STANDING[f"left_{limb}" if side == "right" else name]
        joints[index, :2] = (-aside if side == "right" else aside), up
    return [(float(x), float(_OBLIQUE * forward - up)) for x, up, forward in placed(marks, joints)]
