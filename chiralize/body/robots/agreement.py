"""How far the simulator agrees with a mirror: as the model is, and with what is asymmetric made equal.

A mirror T is right where T step(s, u) = step(T s, T u) for states s and controls u (`stepping` measures the deviation).
Few models are symmetric to the last digit, so a deviation need not speak against T. `agreement` therefore takes causes
away one by one, and stops at the first condition under which only roundings are left:

    as it is                            what is left is exact
    made equal                          masses, axes, ranges differ between the sides (`mending`)
    ... no contacts                     the search for contacts is not symmetric
    ... no contacts or ties             equality constraints are not read, and so not made equal

Where the last one deviates, too, it is the mirror that is wrong, or something that is not read.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chiralize.body.robots.mending import exactly_solved, mended
from chiralize.body.robots.mirroring import RobotMirror
from chiralize.body.robots.opening import OpenedModel
from chiralize.body.robots.stepping import Acting, State, deviations, fastest, random_states
from chiralize.errors.words import when

EXACT = 1e-6
"""Deviation after 20 steps below which the simulator agrees; roundings grow to 1e-9, a wrong sign is 1e-3 or more."""
STEPS, STARTS = 20, 10
_FASTEST = 1e3
"""Speeds above which the simulation has become unstable, radians or metres per second."""
_AS_IT_IS = "as it is"


@dataclass(frozen=True)
class Rung:
    """Deviations under one condition.  label: the condition.  one, many: after 1 and after 20 steps."""

    label: str
    one: float
    many: float

    @property
    def agrees(self) -> bool:
        """Whether both are roundings."""
        return max(self.one, self.many) <= EXACT

    def to_dict(self) -> dict[str, object]:
        """The deviations as JSON values."""
        return {"condition": self.label, "after_1_step": self.one, "after_20_steps": self.many}


@dataclass(frozen=True, eq=False)
class Agreement:
    """Conditions in the order in which they were tried, up to the first that agrees.

    model, states: those of the last condition, for whoever goes on from it.
    """

    rungs: tuple[Rung, ...]
    model: Any
    states: list[State]

    @property
    def agrees(self) -> bool:
        """Whether the simulator agrees once what is asymmetric is made equal."""
        return self.rungs[-1].agrees

    @property
    def is_exact(self) -> bool:
        """Whether it agrees with the model as it is."""
        return self.rungs[0].agrees


def agreement(opened: OpenedModel, mirror: RobotMirror) -> Agreement:
    """Ask the simulator: the model as it is, made equal, and made equal without contacts and ties.

    The model is made equal by this mirror, which has to be that of the file: one that was made equal by a wrong mirror
    would agree with it.
    """
    rungs: list[Rung] = []
    model, states = opened.model, []
    for label, model in _conditions(opened, mirror):
        # An unstable simulation multiplies roundings, which would look like a wrong mirror.
        model, slowed = _steady(model, mirror)
        states = random_states(model, mirror.robot, STEPS, STARTS)
        rungs.append(rung(label + slowed, model, mirror, states))
        if rungs[-1].agrees:
            break
    return Agreement(tuple(rungs), model, states)


def rung(label: str, model: Any, mirror: Acting, states: list[State]) -> Rung:
    """The deviations of one model: the largest of all entries, after the first step and after the last."""
    far = deviations(model, mirror, states).max(axis=1)
    return Rung(label, float(far[0]), float(far[-1]))


def _conditions(opened: OpenedModel, mirror: RobotMirror) -> Iterator[tuple[str, Any]]:
    """Label and model of each condition; a generator, since most robots need the first one or two alone."""
    yield _AS_IT_IS, exactly_solved(opened)
    # Without contacts first, and without ties last: the less is taken away, the more the agreement says.
    equal = mended(opened, mirror)
    yield "made equal", exactly_solved(opened, equal)
    yield "made equal, no contacts", exactly_solved(opened, equal, without=("contact",))
    yield "made equal, no contacts or ties", exactly_solved(opened, equal, without=("contact", "equality"))


def _steady(model: Any, mirror: RobotMirror) -> tuple[Any, str]:
    """The model with steps so short that its simulation is stable, and a note where they are shorter than in the
    file: of the file's length, 1/8, 1/64, 1/512 and, untried, 1/4096 of it.
    """
    steady = copy.copy(model)
    for attempt in range(4):
        states = random_states(steady, mirror.robot, STEPS, 2)
        speed = fastest(steady, states)
        if speed < _FASTEST:
            return steady, when(attempt, f", steps of {steady.opt.timestep:.2g} s")
        steady.opt.timestep /= 8
    return steady, f", steps of {steady.opt.timestep:.2g} s"
