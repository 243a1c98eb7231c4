"""Drawn motions as the joints of a skeleton: every joint where its name says that it is on a human body.

A landmark (`body/skeleton/anatomy`) is a weighted mean of the 17 drawn joints, plus an offset in the frame of a part of
the body. An ear is the neck (the base of the skull), moved 7 cm to its side in the frame of the head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from chiralize.body.skeleton.anatomy import Landmark
from chiralize.problem.poses.motion import JOINTS

Array = npt.NDArray[np.float64]
_SMALL = 1e-6


def placed(points: Sequence[Landmark], joints: Array) -> Array:
    """The points of bodies "... 17 3" (metres, y up), "... point 3".

    A mirrored body has them mirrored, those of the left and the right exchanged.
    """
    frames: dict[tuple[str, str], Array] = {}
    result = np.empty((*joints.shape[:-2], len(points), 3))
    for number, point in enumerate(points):
        result[..., number, :] = sum(weight * joint(joints, name) for name, weight in point.weights)
        if point.frame == "none":
            continue
        # One frame for all points of a part of the body, and of a side.
        key = point.frame, point.side
        if key not in frames:
            frames[key] = _FRAMES[point.frame](joints, point.side)
        result[..., number, :] += np.einsum("...ij,j->...i", frames[key], np.array(point.offset))
    return result


def joint(joints: Array, name: str) -> Array:
    """One joint of bodies "... 17 3", by its name."""
    return joints[..., JOINTS.index(name), :]


def _across(joints: Array) -> Array:
    """From the right to the left of the body, "... 3"."""
    shoulders = joint(joints, "left_shoulder") - joint(joints, "right_shoulder")
    return shoulders + joint(joints, "left_hip") - joint(joints, "right_hip")


def _frame(up: Array, left: Array) -> Array:
    """Axes to the left, up and forward as columns, "... 3 3": `up` as it is, `left` as near as can be."""
    up = _unit(up)
    left = _unit(left - (left * up).sum(-1, keepdims=True) * up)
    return np.stack([left, up, np.cross(left, up)], -1)


def _unit(vectors: Array) -> Array:
    """Vectors of length 1, "... 3"; those of next to no length stay short, where a division would fail."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), _SMALL)


def _trunk(joints: Array, side: str) -> Array:
    """From the hip up to the thorax; the same for both sides, as the head is."""
    return _frame(joint(joints, "thorax") - joint(joints, "hip"), _across(joints))


def _head(joints: Array, side: str) -> Array:
    """From the thorax up to the top of the head."""
    return _frame(joint(joints, "head") - joint(joints, "thorax"), _across(joints))


def _foot(joints: Array, side: str) -> Array:
    """The foot of a side stands at a right angle to its shank."""
    return _frame(joint(joints, f"{side}_knee") - joint(joints, f"{side}_ankle"), _across(joints))


def _hand(joints: Array, side: str) -> Array:
    """The hand of a side goes on where its forearm ends; its palm looks to the body, as of an arm that hangs."""
    forearm = joint(joints, f"{side}_wrist") - joint(joints, f"{side}_elbow")
    axes = _frame(-forearm, _across(joints))
    return axes * np.array([1.0, -1.0, 1.0])


_FRAMES: dict[str, Callable[[Array, str], Array]] = {"trunk": _trunk, "head": _head, "foot": _foot, "hand": _hand}
