"""Which point of a human body is a joint, by its name?

A point is a mean of some of Human3.6M's 17 joints, moved in the frame of a part of the body (the head, the trunk, a
foot, a hand) by a few centimetres outward, up and forward; `data/landmarks.json` lists them. With these, drawn people
become poses of any human skeleton that is known by its names: `left_heel` is the left ankle, moved 6 cm down and 5 cm
back in the frame of the foot, and `Spine1` is 0.4 hip + 0.6 spine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chiralize.body.skeleton import Skeleton
from chiralize.problem.motion import JOINTS

Array = npt.NDArray[np.float64]
_DATA = Path(__file__).parents[1] / "data"


@dataclass(frozen=True)
class Landmark:
    """A point of the body: the mean of joints with these weights, moved in the frame of a part of the body.

    offset: metres to the body's left, up, forward.  In the frame of a hand `up` points away from the elbow.
    """

    weights: tuple[tuple[str, float], ...]
    frame: str = ""
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    side: str = "center"


_LIMBS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_FEWEST = 4
"""Kinds of limb joints that a body has, both of each: a head or two arms are no person."""
_ANIMALS = {"macaque", "monkey", "animal", "horse", "dog", "cat", "mouse", "robot", "quadruped"}
"""Words in names of skeletons whose joints are called as a person's, and whose limbs are of other lengths."""
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")  # RHip: R, Hip; EYE_INNER: EYE, INNER; finger2: finger, 2


def landmarks(skeleton: Skeleton) -> tuple[Landmark, ...] | None:
    """The point of the body of every joint, by its name; None where it is no human body or has unknown joints."""
    words = {word.lower() for name in (skeleton.name, *skeleton.aliases) for word in _WORDS.findall(name)}
    table = json.loads((_DATA / "landmarks.json").read_text(encoding="utf-8"))
    stems = [stem(joint) for joint in skeleton.joints]
    points = {**table["points"], **_beside(table["points"], stems)}
    points |= table["h36m-32"] if skeleton.name == "h36m-32" else {}
    listed: list[Landmark] = []
    for index, name in enumerate(stems):
        side = skeleton.side(index)
        # A `hip` without a partner is the root, the middle of the two hips.
        is_root = side == "center" and name in table["central"]
        entry = {"joints": {"hip": 1.0}} if is_root else points.get(name)
        if entry is None:
            return None
        listed.append(_on(entry, side))
    bare = {point.weights[0][0] for point in listed if len(point.weights) == 1 and not any(point.offset)}
    limbs = sum({f"left_{name}", f"right_{name}"} <= bare for name in _LIMBS)
    return tuple(listed) if limbs >= _FEWEST and not words & _ANIMALS else None


def stem(joint: str) -> str:
    """The name of a joint without its side, in small letters.

    >>> stem("RHip"), stem("LEFT_EYE_INNER"), stem("left_middle_finger2")
    ('hip', 'eyeinner', 'middlefinger2')
    """
    words = [word.lower() for word in _WORDS.findall(joint)]
    return "".join(word for word in words if word not in ("left", "right", "l", "r"))


def _on(entry: Mapping[str, Any], side: str) -> Landmark:
    """The landmark on a side of the body: limb joints are those of the side, and outward is to the left or right."""
    prefix = "" if side == "center" else f"{side}_"
    weights = [(prefix + name if name in _LIMBS else name, weight) for name, weight in entry["joints"].items()]
    outward, up, forward = entry.get("offset", (0.0, 0.0, 0.0))
    aside = {"left": outward, "right": -outward}.get(side, 0.0)
    return Landmark(tuple(weights), entry.get("frame", ""), (aside, up, forward), side)


def _beside(points: Mapping[str, Any], stems: Sequence[str]) -> dict[str, Any]:
    """What a name means beside other names: a foot is a toe where there is an ankle, a head is its top where no other
    joint is.
    """
    special: dict[str, Any] = {}
    if "ankle" in stems:
        special["foot"] = points["toebase"]
    if "headtop" in stems or "tophead" in stems:
        special["head"] = {"joints": {"neck": 0.5, "head": 0.5}}
    low_neck = {"joints": {"thorax": 0.6, "neck": 0.4}}
    if "collar" in stems:  # SMPL: the joint at the base of the skull, and the one of the neck below it
        special |= {"head": {"joints": {"neck": 1.0}}, "neck": low_neck}
    # Beside a chest or a head, and without a nose, a neck lies between the two; otherwise it is between the shoulders.
    elif {"thorax", "spineshoulder", "head", "headtop"} & {*stems} and "nose" not in stems:
        special["neck"] = low_neck
    return special


def placed(points: Sequence[Landmark], joints: Array) -> Array:
    """The points of bodies "... 17 3" (metres, y up), "... point 3"; those of a mirrored body are mirrored."""
    frames: dict[tuple[str, str], Array] = {}
    result = np.empty((*joints.shape[:-2], len(points), 3))
    for number, point in enumerate(points):
        result[..., number, :] = sum(weight * _joint(joints, name) for name, weight in point.weights)
        if not point.frame:
            continue
        key = point.frame, point.side
        if key not in frames:
            frames[key] = _FRAMES[point.frame](joints, point.side)
        result[..., number, :] += np.einsum("...ij,j->...i", frames[key], np.array(point.offset))
    return result


def _joint(joints: Array, name: str) -> Array:
    """One joint of bodies "... 17 3", by its name."""
    return joints[..., JOINTS.index(name), :]


def _frame(joints: Array, up: Array) -> Array:
    """Axes to the left, up and forward as columns, "... 3 3": `up` as it is, the left of the body as near as can be."""
    shoulders = _joint(joints, "left_shoulder") - _joint(joints, "right_shoulder")
    left = shoulders + _joint(joints, "left_hip") - _joint(joints, "right_hip")
    up = _unit(up)
    left = _unit(left - (left * up).sum(-1, keepdims=True) * up)
    return np.stack([left, up, np.cross(left, up)], -1)


def _unit(vectors: Array) -> Array:
    """Vectors of length 1, "... 3"; those of next to no length stay short, where a division would fail."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def _from(start: str, end: str) -> Callable[[Array, str], Array]:
    """The frame whose `up` goes from one joint to another, of a side where they have sides."""

    def of(joints: Array, side: str) -> Array:
        """The frame of a side."""
        first, last = (_joint(joints, name.format(side=side)) for name in (start, end))
        return _frame(joints, last - first)

    return of


def _hand(joints: Array, side: str) -> Array:
    """The hand of a side goes on where its forearm ends; its palm looks to the body, as of an arm that hangs."""
    return _from("{side}_wrist", "{side}_elbow")(joints, side) * np.array([1.0, -1.0, 1.0])


_FRAMES: Mapping[str, Callable[[Array, str], Array]] = {
    "trunk": _from("hip", "thorax"),
    "head": _from("thorax", "head"),
    "foot": _from("{side}_ankle", "{side}_knee"),
    "hand": _hand,
}
"""The frame of every part of the body; a foot stands at a right angle to its shank."""
