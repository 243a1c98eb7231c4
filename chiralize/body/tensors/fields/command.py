"""What the robot is told to do, entry by entry: the sign of `vy`, `yaw_rate` or `heading` is told by its name.

A name gives the axes that the number is made of (`quantities`): vy is made of y, a yaw rate of x and y, a height of
none. The sign follows from the body's lateral axis. Under y -> -y the command (vx, vy, yaw_rate, height) has the signs
(1, -1, -1, 1). A name that tells nothing, or two things, wants a sign in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.fields.field import Field, dotted, other_signs
from chiralize.body.tensors.fields.quantities import ABOUT, AXIS_OF_TURN
from chiralize.symmetry.involution import SignedPermutation

_SPLIT = re.compile(r"[^a-z0-9]+")
_POLAR = {"lin", "linear", "vel", "velocity", "v", "pos", "position", "p", "acc", "acceleration", "force", "goal"}
_TURNING = {"ang", "angular", "w", "omega", "torque", "rot", "rotation", "gyro"}
# Numbers without a direction; a period or a speed is the same on both sides.
_KEPT = {"height", "speed", "frequency", "period", "duration", "clearance"}
_SHORT = re.compile(r"([vpaw])([xyz])")  # velocity, position, acceleration, angular velocity: vx, wz


def axes_of(name: str) -> str | None:
    """The axes that a command is made of, by its name; None where the name does not tell.

    >>> axes_of("vy"), axes_of("lin_vel_y"), axes_of("yaw_rate"), axes_of("ang_vel_z"), axes_of("body_height")
    ('y', 'y', 'xy', 'xy', '')
    >>> axes_of("gait") is None
    True
    """
    words = [word for word in _SPLIT.split(name.lower()) if word]
    answers = set[str]()  # of all words; they have to agree
    for word in words:
        short = _SHORT.fullmatch(word)
        if short is not None:
            answers.add(ABOUT[short[2]] if short[1] == "w" else short[2])
        elif word in AXIS_OF_TURN or word == "heading":
            answers.add(ABOUT[AXIS_OF_TURN.get(word, "z")])
        elif word in _KEPT:
            answers.add("")
    # An axis at the end, as in lin_vel_y; `ang` before it makes it a turn. `foo_y` alone tells nothing.
    if words and words[-1] in ABOUT:
        axis = words[-1]
        answers.add(ABOUT[axis] if _TURNING & set(words) else axis)
        if len(words) > 1 and not (_POLAR | _TURNING) & set(words):
            return None
    if len(answers) != 1:
        return None
    return answers.pop()


@dataclass(frozen=True)
class Command(Field):
    """Named entries.  signs: of every entry, None where its name tells."""

    entries: tuple[str, ...]
    signs: tuple[int | None, ...]

    @property
    def kind(self) -> str:
        """`command`."""
        return "command"

    def size(self, body: Skeleton) -> int:
        """One number for every name."""
        return len(self.entries)

    def action(self, body: Skeleton) -> SignedPermutation:
        """A sign for every entry, given or by its name."""
        signs = []
        for entry, given in zip(self.entries, self.signs, strict=True):
            axes = axes_of(entry) or ""
            is_negated = given is None and bool(axes) and axes.count(self.lateral(body)) % 2 == 1
            signs.append(given if given is not None else 1 - 2 * int(is_negated))
        return SignedPermutation(np.arange(len(signs)), np.array(signs))

    def labels(self, body: Skeleton) -> list[str]:
        """`command.vx`."""
        return [dotted(self.name, entry) for entry in self.entries]

    def unit_groups(self, body: Skeleton) -> list[int]:
        """Every entry is a quantity of its own."""
        return list(range(len(self.entries)))

    def lookalikes(self) -> Iterator[tuple[str, Field]]:
        """The same with the other sign of one entry, where the file gives its sign."""
        names = [dotted(self.name, entry) for entry in self.entries]
        for words, signs in other_signs(names, self.signs):
            yield words, replace(self, signs=signs)

    def doubts(self, body: Skeleton) -> Iterator[str]:
        """Signs that are given against what the name says: a turn that is kept, a height that is negated."""
        for entry, given in zip(self.entries, self.signs, strict=True):
            axes = axes_of(entry)
            if given == 1 and axes == ABOUT["z"]:
                yield f"command {entry!r} is kept; by its name it turns about the vertical, and changes its sign (-1)"
            if given == -1 and axes == "":
                yield f"command {entry!r} is negated; by its name it has no side, and is kept (1)"

    def to_dict(self) -> dict[str, object]:
        """`{command: [vx, vy, {gait: 1}], name: NAME}`."""
        listed = list[object]()
        for entry, given in zip(self.entries, self.signs, strict=True):
            listed.append(entry if given is None else {entry: given})
        return {"command": listed, "name": self.name}
