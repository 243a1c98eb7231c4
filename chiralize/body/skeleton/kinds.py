"""What kind of body a skeleton is of, and which shipped skeletons could be meant instead of another.

Messages use it: a tensor of 21 joints does not fit a skeleton of 17, and the remedy offers shipped ones with 21, of the
same kind of body. A network of a person is not told to try a robot.
"""

from __future__ import annotations

import re
from functools import lru_cache

from chiralize.body.skeleton.anatomy import landmarks, stem
from chiralize.body.skeleton.catalog import find_shipped, names_of_size
from chiralize.body.skeleton.skeleton import AXES, TURNS, Skeleton
from chiralize.errors.words import when

ROBOT = "a robot"
ROTATIONS = "rotations"
_ANIMAL = "an animal"
_BY_NAME = {
    "a hand": ("hand",),
    "a face": ("face",),
    _ANIMAL: ("animal", "ap10k", "macaque", "monkey", "horse", "dog", "cat", "mouse", "quadruped"),
    ROBOT: ("robot",),
}
_OF_A_HAND = ("thumb", "forefinger", "index", "middle", "ring", "pinky", "finger", "palm", "handroot", "wrist")
_WORDS = re.compile(r"[a-z0-9]+")
_OF_AN_ANIMAL = ("tail", "paw", "snout", "withers", "hoof")


@lru_cache(256)
def kind_of(body: Skeleton) -> str:
    """`a person`, `a hand`, `a face`, `an animal`, `a robot` or `rotations`, by coordinates and names; "" where neither
    says.

    What has one angle a joint in place of coordinates in space is a robot. Rotations of a body stand for no positions.

    >>> kind_of(Skeleton("mine", ("wrist", "thumb1", "thumb2"), ()))
    'a hand'
    """
    # Coordinates first: the joints of a robot and of a rotating body may be called as those of a person.
    if set(body.dims) >= set(TURNS):
        return ROTATIONS
    if not set(body.dims) & set(AXES):
        return ROBOT
    if not isinstance(landmarks(body), str):
        return "a person"
    stems = [stem(joint) for joint in body.joints]
    names = set(_WORDS.findall(" ".join((body.name, *body.aliases)).lower()))
    # Its own name or an alias says it; else the names of its joints.
    for kind, words in _BY_NAME.items():
        if names.intersection(words):
            return kind
    if stems and all(name.startswith(_OF_A_HAND) for name in stems):
        return "a hand"
    if any(word in name for name in stems for word in _OF_AN_ANIMAL):
        return _ANIMAL
    return ""


def may_be_meant(other: Skeleton, instead_of: Skeleton) -> bool:
    """Whether one skeleton could be meant instead of another: both are of the same kind of body, as far as known."""
    given = kind_of(instead_of)
    return not given or kind_of(other) == given


def may_fit(other: Skeleton, instead_of: Skeleton) -> bool:
    """Whether a network taken for one of a body could be of another one; a horse's for one of a person, too."""
    kinds = {kind_of(other), kind_of(instead_of)}
    return may_be_meant(other, instead_of) or kinds == {"a person", _ANIMAL}


def offered(*counts: int, instead_of: Skeleton | None = None, most: int = 20, dims: int = 3) -> str:
    """The shipped skeletons with one of these numbers of joints that could be meant: `coco-17, h36m-17`; "" for none.

    Those of the same kind of body. Where there are none, those of another kind, which is said of each: `hand-21 (as
    many joints, but a hand)`. No robot stands in for a body in space, nor a body for a robot.
    instead_of: what was given; None where it is not known, then every kind may be meant.  dims: numbers of a joint;
    rotations have three.
    """
    given = kind_of(instead_of) if instead_of is not None else ""
    # Rotations have three numbers a joint, as positions do, and no tensor of two or four fits them.
    kinds: dict[str, str] = {}
    for name in names_of_size(*counts):
        shipped = find_shipped(name)
        assert shipped is not None
        kind = kind_of(shipped)
        if kind != ROTATIONS or dims == len(TURNS):
            kinds[name] = kind
    # A robot for a robot, no robot for anything else.
    if instead_of is not None:
        kinds = {name: kind for name, kind in kinds.items() if (kind == ROBOT) == (given == ROBOT)}
    # Where something of the same kind exists, that alone; else all, each with a word about its kind.
    if alike := [name for name, kind in kinds.items() if given and kind == given]:
        return ", ".join(alike[:most])
    texts: list[str] = []
    for name, kind in kinds.items():
        if given:
            texts.append(f"{name} (as many joints, but {kind})")
        else:
            texts.append(name + when(kind != "a person", f" ({kind})"))
    return ", ".join(texts[:most])
