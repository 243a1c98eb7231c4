"""Axes whose order matters, and which the mirror may reverse all the same: those of pictures and of their maps.

Windows that slide along such an axis turn it where `graph.windows` says so.

A convolution of kernel 3, stride 1 and padding 1 on a row of 8 pixels: if T reverses the row, pixel e to 7 - e, it has
to reverse the kernel, and the 8 outputs come reversed. If T leaves the row alone, it leaves kernel and outputs alone.
Nothing else is possible. So three axes (`Turn`) are tied to each other by one bit, turned or still, and any of them
that is known decides it: `turned_or_still`. With stride 2 and no padding a row of 8 is read from one end, and cannot be
turned as a whole; then the message names sizes that could (`from_one_end`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from chiralize.graph.windows import Windows
from chiralize.infer.registry import Call
from chiralize.infer.solver.terms import Conflict, product
from chiralize.infer.solver.unify import Solver
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.symbolic import Axis, Known, axis_size, is_known, known_axis, trivial


@dataclass(frozen=True)
class Turn:
    """An axis, and how the mirror acts on it if it turns it around.

    read: the entries that count (None: all).  possible: whether it can be turned.  windows: what slides along it.
    """

    axis: Axis
    action: SignedPermutation
    read: range | None = None
    possible: bool = True
    windows: Windows | None = None

    def is_of(self, action: SignedPermutation) -> bool:
        """Whether an action is this one, as far as it counts.

        Windows may stop before the end of an axis: what the mirror does to entries that none of them reads is free.
        """
        read = np.arange(action.size) if self.read is None else np.array(self.read, np.int64)
        return self.possible and action.is_sign_free and np.array_equal(action.partner[read], self.action.partner[read])


def reversal(size: int, center: int | None = None) -> SignedPermutation:
    """The mirror that takes entry e to center - e; entries without a partner stay."""
    entries = np.arange(size)
    partners = (size - 1 if center is None else center) - entries
    partners = np.where((partners >= 0) & (partners < size), partners, entries)
    return SignedPermutation(partners, np.ones(size, np.int64))


def end_to_end(axis: Axis) -> Turn:
    """The reversal of a whole axis."""
    return Turn(axis, reversal(axis_size(axis)))


def read_by(windows: Windows, axis: Axis) -> Turn:
    """The mirror of an axis that windows commute with, as far as they reach."""
    return Turn(axis, reversal(windows.size, windows.center), windows.read, windows.is_closed, windows)


def turned_or_still(
    call: Call, given: Sequence[Turn], count: int, name: str, refusal: str = "", possible: bool = True
) -> Axis:
    """Leave some axes alone or turn all of them, and return the axis of `count` entries that follows them.

    Where nothing is known of any, the readers of the result may know.  refusal: what to say where the reversal of a
    whole axis is not the mirror that is possible here.  possible: whether any but the identity is.
    Raises Conflict where the mirror does anything else to one of the axes.
    """
    solver, key = call.solver, call.at(name)
    # The result's own axis counts, too, if an earlier run has handed it to readers as an unknown.
    turns = [*given, *map(end_to_end, solver.asked_for(key))]
    possible = possible and all(turn.possible for turn in given)
    says = _decision(turns, solver, refusal)
    # Where no input or output is reversed nothing can be, and there is no need to leave anything open.
    if says is None and solver.reversing and key and possible and not solver.last_resort:
        for turn in given:
            solver.default(turn.axis, trivial(axis_size(turn.axis)))
        return solver.unknown_at(key, count)
    if says and not possible:
        raise Conflict(refusal or _order_matters(count), sized=bool(refusal))
    for turn in turns:
        if says:
            _turn(turn, solver, refusal)
        else:
            solver.trivial(turn.axis)
    if says:
        return known_axis(reversal(count))
    return trivial(count)


def _decision(turns: Sequence[Turn], solver: Solver, refusal: str) -> bool | None:
    """Whether the axes are reversed, as the first known one says; None where none is known."""
    for turn in turns:
        axis = solver.resolve(turn.axis)
        # One known factor of an axis decides: a part that is turned cannot stay as a whole, nor the other way round.
        actions = [term.action for term in axis if isinstance(term, Known) and term.size > 1]
        if not actions:
            continue
        if all(action.is_identity for action in actions):
            return False
        _check(turn, axis, refusal)
        return True
    return None


def _turn(turn: Turn, solver: Solver, refusal: str) -> None:
    """Turn one axis; one that is known has to be turned already."""
    axis = solver.resolve(turn.axis)
    if axis and is_known(axis):
        _check(turn, axis, refusal)
    else:
        solver.equal(axis, known_axis(turn.action))


def _check(turn: Turn, axis: Axis, refusal: str) -> None:
    """Raises Conflict where an axis is known, and the mirror does something else to it."""
    if not is_known(axis):
        return
    action = product(axis)
    if not turn.is_of(action):
        if refusal and action == reversal(action.size):
            raise Conflict(refusal, sized=True)
        middle = _middle_of_a_part(action)
        if turn.windows is not None and middle not in (None, turn.windows.center):
            raise Conflict(_off_the_middle(turn.windows, middle), sized=True)
        raise Conflict(_order_matters(action.size))


def _middle_of_a_part(action: SignedPermutation) -> int | None:
    """c, where a mirror takes entry e to c - e as far as the axis has both, and moves no others; None elsewhere."""
    moved = np.flatnonzero(~action.fixed)
    if not len(moved):
        return None
    middle = int(moved[0] + action.partner[moved[0]])
    return middle if action == reversal(action.size, middle) else None


def _off_the_middle(windows: Windows, middle: int) -> str:
    """Why a part of an axis, beside which an op added entries at one end, cannot be reversed."""
    first, last = max(middle - windows.size + 1, 0), min(middle, windows.size - 1)
    return (
        f"windows of {windows.kernel} entries, {windows.stride} apart, read an axis of {windows.size} entries, of "
        f"which the mirror reverses entries {first} to {last} alone, from one end: what they read has its "
        f"middle at {windows.center / 2:g}, these at {middle / 2:g}"
    )


def _order_matters(size: int) -> str:
    """Why an axis that the mirror moves in another way cannot pass."""
    return f"the mirror acts on an axis of {size} entries whose order matters here"


def from_one_end(windows: Windows, after: int | None = None) -> str:
    """Why a whole axis cannot be reversed, and which sizes near its own could be. after: entries behind its end."""
    others: list[int] = []
    # Sizes up to one stride below and above repeat the pattern of windows, so a symmetric one is among them, if any.
    for size in range(max(windows.size - windows.stride, 1), windows.size + windows.stride + 1):
        room = size + windows.before + (windows.before if after is None else after)
        room -= windows.dilation * (windows.kernel - 1) + 1
        if room >= 0 and replace(windows, size=size, count=room // windows.stride + 1).is_symmetric:
            others.append(size)
    return (
        f"windows of {windows.kernel} entries, {windows.stride} apart, read an axis of {windows.size} entries, which "
        f"the mirror reverses, from one end: what they read has its middle at {windows.center / 2:g}, the axis at "
        f"{(windows.size - 1) / 2:g}{_nearest(others, windows.size)}"
    )


def _nearest(sizes: Sequence[int], size: int) -> str:
    """The nearest sizes below and above that would do, in words."""
    below = [other for other in sizes if other < size][-1:]
    above = [other for other in sizes if other > size][:1]
    near = " or ".join(map(str, [*below, *above]))
    if near:
        return f"; {near} entries would do"
    return ""
