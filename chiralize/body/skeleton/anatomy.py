"""Which point of a human body a joint is, by its name.

A point is given from the 17 joints of Human3.6M: a mean of some of them, moved in the frame of a part of the body (the
head, the trunk, a foot, a hand) by a few centimetres outward, up and forward. Skeletons of hands, faces, animals and
robots are none of these: their names do not match, or they say that they are something else.

Drawn poses are of the 17 joints; with these landmarks they become poses of any human skeleton that is known by its
names (`problem/poses/`). `landmarks` is asked with a skeleton and answers with one `Landmark` a joint, or with the
reason why there are none. `left_heel` is the left ankle, moved 6 cm down and 5 cm back in the frame of the foot.
`Spine1` is 0.4 hip + 0.6 spine.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from math import cos, pi, sin
from typing import Literal

from chiralize.body.skeleton.skeleton import Skeleton

Frame = Literal["none", "trunk", "head", "foot", "hand"]
Offset = tuple[float, float, float]
LIMBS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_FEWEST = 4
"""Kinds of limb joints that a body has, both of each."""
# What is no person though its joints are called as a person's.
_OTHERS = ("macaque", "monkey", "animal", "horse", "dog", "cat", "mouse", "robot", "quadruped")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")  # RHip: R, Hip; EYE_INNER: EYE, INNER; finger2: finger, 2
_SIDES = ("left", "right", "l", "r")


@dataclass(frozen=True)
class Landmark:
    """A point of the body.

    weights: of joints, `left_hip` or `hip`, that it is the mean of; they add up to 1.
    frame: in which it is moved from there.  offset: metres: to the body's left, up, forward.  In the frame of a hand
    `up` points along the forearm and away from the elbow, in the others towards the head.
    """

    weights: tuple[tuple[str, float], ...]
    frame: Frame = "none"
    offset: Offset = (0.0, 0.0, 0.0)
    side: str = "center"


@dataclass(frozen=True)
class _Entry:
    """A landmark without its side.  joints: weights, limb joints without their side.  outward, up, forward: metres; the
    first is that of a point on the left.
    """

    joints: Mapping[str, float]
    frame: Frame = "none"
    outward: float = 0.0
    up: float = 0.0
    forward: float = 0.0

    def on(self, side: str) -> Landmark:
        """The landmark on a side of the body: limb joints are its own, and outward is to the left or to the right."""
        prefix = "" if side == "center" else f"{side}_"
        weights = []
        for joint, weight in self.joints.items():
            weights.append((prefix + joint if joint in LIMBS else joint, weight))
        aside = {"left": self.outward, "right": -self.outward}.get(side, 0.0)
        return Landmark(tuple(weights), self.frame, (aside, self.up, self.forward), side)


def landmarks(skeleton: Skeleton) -> tuple[Landmark, ...] | str:
    """The point of the body of every joint; why not, as text, where it is no human body or has unknown joints."""
    # A macaque's joints are called as a person's, and its limbs are of other lengths.
    others = [word for word in _OTHERS if word in f"{skeleton.name} {' '.join(skeleton.aliases)}".lower()]
    if others:
        return f"skeleton {skeleton.name} is no human body"
    stems = [stem(joint) for joint in skeleton.joints]
    # Later tables win: what a name means beside others of this skeleton comes last.
    table = {**_LIMBS, **_TRUNK, **_HEAD, **_ENDS, **_FINGERS, **_FACE, **_special(skeleton.name, stems)}
    points: list[Landmark] = []
    for index, name in enumerate(stems):
        side = skeleton.side(index)
        # A `hip` without a partner is the root, the middle of the two hips.
        entry = (_CENTRAL if side == "center" else {}).get(name) or table.get(name)
        if entry is None:
            return f"joint {skeleton.joints[index]!r} of skeleton {skeleton.name} is no known part of a human body"
        points.append(entry.on(side))
    # A head alone, or two arms, have known names, too, and no pose can be drawn from them.
    missing = [name for name in LIMBS if not {f"left_{name}", f"right_{name}"} <= _bare(points)]
    if len(missing) > len(LIMBS) - _FEWEST:
        return f"skeleton {skeleton.name} has no {missing[0]}s and {missing[1]}s, and is no whole body"
    return tuple(points)


def stem(joint: str) -> str:
    """The name of a joint without its side, in small letters: `right_hip` and `RHip` are a `hip`.

    >>> stem("RHip"), stem("LEFT_EYE_INNER"), stem("left_middle_finger2")
    ('hip', 'eyeinner', 'middlefinger2')
    """
    words = [word.lower() for word in _WORDS.findall(joint)]
    return "".join(word for word in words if word not in _SIDES)


def _bare(points: Sequence[Landmark]) -> set[str]:
    """The joints that are points by themselves."""
    return {point.weights[0][0] for point in points if len(point.weights) == 1 and point.offset == (0.0, 0.0, 0.0)}


def _special(name: str, stems: Container[str]) -> dict[str, _Entry]:
    """What a name means beside other names: a foot is a toe where there is an ankle, a head is its top where no other
    joint is.

    name: of the skeleton.  stems: of all its joints. Returns entries that replace those of the tables below.
    """
    special: dict[str, _Entry] = {}
    if "ankle" in stems:
        special |= {"foot": _ENDS["toebase"]}
    if any(top in stems for top in ("headtop", "tophead")):
        special |= {"head": _Entry({"neck": 0.5, "head": 0.5})}
    if "collar" in stems:  # SMPL: the joint at the base of the skull, and the one of the neck below it
        special |= {"head": _Entry({"neck": 1.0}), "neck": _Entry({"thorax": 0.6, "neck": 0.4})}
    # Beside a chest or a head, and without a nose, a neck lies between the two; otherwise it is between the shoulders.
    elif any(chest in stems for chest in ("thorax", "spineshoulder", "head", "headtop")) and "nose" not in stems:
        special |= {"neck": _Entry({"thorax": 0.6, "neck": 0.4})}
    return special | (_H36M_32 if name == "h36m-32" else {})


# ---- the body -------------------------------------------------------------------------------------------------
_LIMBS = {name: _Entry({name: 1.0}) for name in LIMBS} | {"foot": _Entry({"ankle": 1.0})}
_CENTRAL = {
    name: _Entry({"hip": 1.0})
    for name in ("hip", "hips", "pelvis", "root", "midhip", "hipcenter", "pelviscenter", "baseofspine", "spinebase")
}
"""Names of joints without a partner that mean something else where they have one."""
_TRUNK = {
    "spine": _Entry({"spine": 1.0}),
    "spine1": _Entry({"hip": 0.4, "spine": 0.6}),
    "spine2": _Entry({"spine": 0.8, "thorax": 0.2}),
    "spine3": _Entry({"spine": 0.4, "thorax": 0.6}),
    "belly": _Entry({"spine": 1.0}),
    "torso": _Entry({"spine": 1.0}),
    "spinemid": _Entry({"spine": 1.0}),
    "middleofspine": _Entry({"spine": 1.0}),
    "thorax": _Entry({"thorax": 1.0}),
    "chest": _Entry({"thorax": 1.0}),
    "spineshoulder": _Entry({"thorax": 1.0}),
    "neck": _Entry({"thorax": 1.0}),
    "neckbase": _Entry({"neck": 1.0}),
    "necknose": _Entry({"neck": 1.0}),
    "upperneck": _Entry({"neck": 1.0}),
    "headbottom": _Entry({"neck": 1.0}),
    "collar": _Entry({"thorax": 0.6, "shoulder": 0.4}),
    "clavicle": _Entry({"thorax": 0.6, "shoulder": 0.4}),
}
_HEAD = {
    "head": _Entry({"head": 1.0}),
    "headtop": _Entry({"head": 1.0}),
    "tophead": _Entry({"head": 1.0}),
    "nose": _Entry({"neck": 1.0}, "head", 0.0, 0.03, 0.12),
    "eye": _Entry({"neck": 1.0}, "head", 0.032, 0.065, 0.105),
    "eyeinner": _Entry({"neck": 1.0}, "head", 0.018, 0.065, 0.105),
    "eyeouter": _Entry({"neck": 1.0}, "head", 0.045, 0.065, 0.095),
    "ear": _Entry({"neck": 1.0}, "head", 0.073, 0.055, 0.025),
    "mouth": _Entry({"neck": 1.0}, "head", 0.025, -0.01, 0.1),
}
_ENDS = {
    "toebase": _Entry({"ankle": 1.0}, "foot", 0.01, -0.06, 0.14),
    "toe": _Entry({"ankle": 1.0}, "foot", 0.01, -0.06, 0.18),
    "toeend": _Entry({"ankle": 1.0}, "foot", 0.01, -0.06, 0.2),
    "bigtoe": _Entry({"ankle": 1.0}, "foot", -0.02, -0.06, 0.18),
    "smalltoe": _Entry({"ankle": 1.0}, "foot", 0.05, -0.06, 0.14),
    "footindex": _Entry({"ankle": 1.0}, "foot", 0.0, -0.06, 0.18),
    "heel": _Entry({"ankle": 1.0}, "foot", 0.0, -0.06, -0.05),
    "hand": _Entry({"wrist": 1.0}, "hand", 0.0, 0.08, 0.0),
    "handroot": _Entry({"wrist": 1.0}),
    "handtip": _Entry({"wrist": 1.0}, "hand", 0.0, 0.17, 0.0),
    "thumb": _Entry({"wrist": 1.0}, "hand", 0.0, 0.08, 0.05),
    "index": _Entry({"wrist": 1.0}, "hand", 0.0, 0.1, 0.025),
    "pinky": _Entry({"wrist": 1.0}, "hand", 0.0, 0.08, -0.03),
}
"""Thumbs point forward, as of arms that hang."""
_H36M_32 = {
    "joint4": _ENDS["toebase"],
    "joint5": _ENDS["toeend"],
    "joint9": _ENDS["toebase"],
    "joint10": _ENDS["toeend"],
    "joint11": _Entry({"hip": 1.0}),
    "joint16": _Entry({"thorax": 1.0}),
    "joint20": _Entry({"wrist": 1.0}),
    "joint21": _ENDS["thumb"],
    "joint22": _ENDS["handtip"],
    "joint23": _ENDS["handtip"],
    "joint24": _Entry({"thorax": 1.0}),
    "joint28": _Entry({"wrist": 1.0}),
    "joint29": _ENDS["thumb"],
    "joint30": _ENDS["handtip"],
    "joint31": _ENDS["handtip"],
}
"""Joints without names of Human3.6M's 32: toes, hands, and copies of others."""


def _fingers() -> dict[str, _Entry]:
    """Four joints of every finger, from its root to its tip, 27 mm apart, in the frame of the hand."""
    fingers: dict[str, _Entry] = {}
    # Of the first joint: along the hand, forward; and by how much each next one lies farther forward. Metres.
    rows = {
        "thumb": (0.02, 0.03, 0.02),
        "forefinger": (0.09, 0.025, 0.0),
        "middlefinger": (0.09, 0.005, 0.0),
        "ringfinger": (0.085, -0.01, 0.0),
        "pinkyfinger": (0.08, -0.025, 0.0),
    }
    for name, (start, forward, apart) in rows.items():
        for number in range(4):
            along, ahead = start + 0.027 * number, forward + apart * number
            fingers[f"{name}{number + 1}"] = _Entry({"wrist": 1.0}, "hand", 0.0, along, ahead)
    return fingers


def _face() -> dict[str, _Entry]:
    """The 68 points of a face. Those with a number of their partner's have the same place, on the other side."""
    right: list[tuple[float, float, float]] = []  # outward, up, forward of points 0 to 67, from the right to the left
    for number in range(17):  # from ear to ear along the jaw
        angle = pi * number / 16
        right.append((0.072 * cos(angle), 0.05 - 0.11 * sin(angle), 0.03 + 0.07 * sin(angle)))
    # The right brow from outside to inside (17 to 21), the left one from inside to outside (22 to 26).
    brow = [(0.055, 0.08), (0.045, 0.087), (0.035, 0.09), (0.025, 0.088), (0.015, 0.085)]
    right += [(aside, up, 0.105) for aside, up in brow]
    right += [(-aside, up, 0.105) for aside, up in reversed(brow)]
    # The bridge of the nose from its top (27 to 30), and its lower edge from right to left (31 to 35).
    right += [(0.0, 0.068 - 0.013 * number, 0.105 + 0.005 * number) for number in range(4)]
    right += [(aside, 0.02, 0.115) for aside in (0.014, 0.007, 0.0, -0.007, -0.014)]
    # The right eye from its outer corner over the upper lid (36 to 41); the left one from its inner corner (42 to 47).
    eye = [(0.045, 0.065), (0.037, 0.069), (0.027, 0.069), (0.02, 0.065), (0.027, 0.061), (0.037, 0.061)]
    right += [(aside, up, 0.1) for aside, up in eye]
    right += [(-eye[index][0], eye[index][1], 0.1) for index in (3, 2, 1, 0, 5, 4)]
    for size, count in ((0.025, 12), (0.018, 8)):  # lips, outside and inside: round from the right corner, top first
        for number in range(count):
            angle = 2 * pi * number / count
            right.append((size * cos(angle), -0.008 + 0.4 * size * sin(angle), 0.105))
    entries = {}
    for number, (aside, up, forward) in enumerate(right):
        # a point of either side is written with the distance from the middle, which its side then points outward
        entries[f"face{number}"] = _Entry({"neck": 1.0}, "head", abs(aside), up, forward)
    return entries


_FINGERS, _FACE = _fingers(), _face()
