"""Doubts about plain blocks: what the name or the number of a block's entries says against what the file says of them.

A doubt is a sentence for a warning, never an error: names are not always right. Which sign an entry has is said by the
file alone. The functions here read names and counts, `plain` asks them for its blocks:

    {scalar: 3, name: base_lin_vel}       of_vectors     three numbers called a velocity have one that points sideways
    {vector: base_ang_vel}                of_kinds       an angular velocity is axial
    {scalar: [ball_x, ball_y]}            sideways       ball_y is a coordinate that the mirror of y negates
    {scalar: 3, name: commands}           of_commands    vx, vy and a yaw rate have the signs 1, -1, -1
    {scalar: 2, name: gait_clock}         of_clocks      sine and cosine are both negated, half a period later
    {signs: {left_gain: 1, ...}}          sided_entries  left and right do not swap

Every function yields none where nothing speaks against the block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from chiralize.body.skeleton.skeleton import AXES, Skeleton
from chiralize.body.tensors.fields.command import axes_of
from chiralize.body.tensors.fields.partners import sides_of, tells_side

# Limbs and joints that come in pairs, as words of their own.
LIMBS = re.compile(
    r"(?:^|[^a-z])(?:feet|foot|legs?|hands?|arms?|ankles?|knees?|hips?|wheels?|toes?|heels?|contacts?|shoulders?)"
    r"(?:$|[^a-z])"
)
_COMMANDED, _COMMANDED_AHEAD = (1, -1, -1), (-1, 1, -1)
"""Signs of vx, vy and a yaw rate under the mirror of y, and of x."""
_POINTS = frozenset(("ball", "com", "cube", "goal", "head", "object", "obj", "puck", "racket", "root", "target", "tip"))
"""Things of which coordinates are observed; of sizes, spreads, turns and quaternions another sign is right."""
_OF_SPACE = {
    "vector": re.compile(r"lin(?:ear)?|gravity|forces?"),
    "position": re.compile(r"pos(?:ition)?s?"),
    "either": re.compile(r"vel(?:ocit(?:y|ies))?|acc(?:eleration)?s?|com"),
    "axial": re.compile(r"ang(?:ular)?|omega|rot(?:ation(?:al)?)?|rpy|roll|pitch|yaw|spin|turn|euler|orientation"),
    "measured": re.compile(r"gyro|torques?|moments?"),
}
"""Words in names of three numbers, by what they speak for. A velocity may be of either kind, and is mostly a vector."""
_ARM = re.compile(r"(?<![a-z])moments?[^a-z]+arms?(?![a-z])")
"""A moment arm leads from one point to another."""
_NOT_OF_SPACE = {*"joint joints motor motors dof dofs actuator height heights history command commands gain".split()}
"""Words beside these of numbers that are none."""
_CLOCK, _PARTS, _FEET = re.compile(r"gait|clock|phase"), 2, 4
"""Names of clocks; one clock has a sine and a cosine; a quadruped has four feet."""


def sideways(entries: tuple[str, ...], body: Skeleton) -> Iterator[str]:
    """Kept entries that by their names are a coordinate of a point or a velocity, the one that points sideways.

    `{scalar: [ball_x, ball_y]}` under y -> -y: ball_y stands beside ball_x, so that it is a coordinate of a point.
    """
    # Both have to speak for it: (goal_x, goal_y) are coordinates, (size_y, size_z) are not.
    lowered = [entry.lower() for entry in entries]
    for entry in entries:
        stem, axis = entry[:-1], entry[-1].lower()
        # A coordinate has another one of the same thing beside it.
        others = [other for other in AXES if other != axis and stem.lower() + other in lowered]
        is_coordinate = axes_of(entry) == axis or bool(_POINTS & set(re.split(r"[^a-z]+", stem.lower())))
        if axis == body.lateral and others and is_coordinate:
            name = stem.rstrip("_.- ") or "NAME"
            yield (
                f"scalar {entry!r} is kept, and by its name it is the coordinate that points sideways, beside "
                f"{stem + others[0]}: {{vector: {name}, dims: [{', '.join(sorted((axis, *others)))}]}}"
            )


def one_for_each(name: str, body: Skeleton) -> str:
    """The block of one number a joint: with the joints' signs, or without where joints have several coordinates."""
    return f"{{joints: {name}}}" if len(body.dims) == 1 else f"{{joints: {name}, kind: scalar}}"


def of_vectors(name: str, count: int) -> Iterator[str]:
    """Three numbers by whose name they are a position, a velocity or a rotation of space have a sideways entry."""
    speaking = _speaking(name)
    if count == len(AXES) and speaking:
        # `ang_vel` has a word of each, and is axial.
        kind = "axial" if "axial" in speaking else "vector"
        yield f"scalar {name!r} keeps all three entries; by its name it may be {{{kind}: {name}}}"


def of_kinds(kind: str, name: str) -> Iterator[str]:
    """A rotation written as a polar vector, or the other way round, where words of the name speak for nothing else."""
    speaking = _speaking(name)
    if kind == "vector" and "axial" in speaking and speaking.isdisjoint(("vector", "position")):
        other = "axial"
    elif kind == "axial" and "vector" in speaking and "axial" not in speaking:
        other = "vector"
    else:
        return
    yield f"{kind} {name!r} is by its name one of the other kind: {{{other}: {name}}}"


def _speaking(name: str) -> set[str]:
    """What words of a name speak for: `vector`, `axial`, `position` or `either`.

    Empty where another word says that the numbers are of joints or the like.
    """
    words = re.split(r"[^a-z]+", _ARM.sub("position", name.lower()))
    # `joint_pos` and `height_scan` are no vectors, whatever other words stand beside.
    if _NOT_OF_SPACE & set(words):
        return set()
    speaking = set[str]()
    for kind, pattern in _OF_SPACE.items():
        if any(map(pattern.fullmatch, words)):
            speaking.add(kind)
    # What a gyro or a torque sensor measures is a rotation; where it sits is a position as any other.
    if "measured" in speaking:
        speaking.remove("measured")
        if "position" not in speaking:
            speaking.add("axial")
    return speaking


def of_commands(name: str, signs: tuple[int, ...]) -> Iterator[str]:
    """Commands of three numbers are mostly those ahead, sideways and of turning."""
    if "command" in name.lower() and len(signs) == len(_COMMANDED) and signs not in (_COMMANDED, _COMMANDED_AHEAD):
        yield (
            f"{name!r} has the signs {list(signs)}; those of vx, vy and a yaw rate are {list(_COMMANDED)}: "
            "name them, {command: [vx, vy, yaw_rate]}"
        )


def of_clocks(name: str, signs: tuple[int, ...], body: Skeleton) -> Iterator[str]:
    """Sine and cosine of a gait's clock are both negated; the phase itself has no sign that is right.

    A sentence where a block called so has other signs, or four numbers, which are mostly a clock for every leg.
    """
    if not _CLOCK.search(name.lower()):
        return
    if len(signs) == _FEET:
        yield (
            f"{name!r} has the signs {list(signs)}; four clocks are mostly one for every leg, which swap under the "
            f"mirror: {_clock_of_legs(body)}"
        )
    elif len(signs) <= _PARTS and -1 * len(signs) != sum(signs):
        yield (
            f"{name!r} has the signs {list(signs)}; the clock of a gait is half a period later in the mirror, which "
            "negates its sine and its cosine: {phase: sin_cos, shift: half}"
        )


def _clock_of_legs(body: Skeleton) -> str:
    """Four numbers as clocks of the legs that a skeleton has: of two legs sine and cosine, of four one of them."""
    # Four legs have one number each; of two legs each has a sine and a cosine, in an order that nobody can know.
    sides = sides_of(body)
    if len(sides) == _FEET:
        return f"{{legs: [{', '.join(sides)}], each: [{{phase: sin, shift: none, name: clock}}]}}"
    left, right = sides if len(sides) == _PARTS else ("left", "right")
    return (
        f"{{legs: [{left}, {right}], each: [{{phase: sin_cos, shift: none}}], name: clock}}, with `major: entries` "
        "where the sines of both stand first"
    )


def sided_entries(name: str, entries: tuple[str, ...], what: str) -> Iterator[str]:
    """Entries of which the partner is among them by its name, or that name a side for certain."""
    sided = [entry for entry in entries if tells_side(entry, entries)]
    if sided:
        yield f"{', '.join(sided[:4])} of {name!r} name a side, and are {what} by the mirror"
