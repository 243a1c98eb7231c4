"""How do windows transform that slide along an axis: those of pools, of `unfold`, and of kernels?

Of an axis that is known, output o reads the window W(o). If the mirror takes every window to a window, outputs move
as the windows do: windows of one entry, one window of all, blocks of an axis, and the reversal of an axis.

    axis of 4 with (0 1), blocks of 2         W = {0, 1}, {2, 3}: T takes each to itself, the outputs stay
    axis of 4 with (0 2) (1 3), blocks of 2   T exchanges both windows, and the outputs
    axis of 4 with (0 2), blocks of 2         {0, 1} goes to {2, 1}, which is no window: refused

Where the entries of a window are told apart, as the weights of a kernel do, the axis is left alone or reversed as a
whole, about the middle that `graph.windows` gives. A convolution of kernel 3, stride 1 and padding 1 on a row of 8
pixels: if T reverses the row, pixel e to 7 - e, it has to reverse the kernel, and the 8 outputs come reversed. So axes
(`Turn`) are tied to each other by one bit, turned or still, and any of them that is known decides it
(`turned_or_still`). With stride 2 and no padding a row of 8 is read from one end, and cannot be turned as a whole; then
the message names sizes that could (`from_one_end`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from chiralize.graph.traits import MeanPooling, Movement, Pooling
from chiralize.graph.windows import Windows
from chiralize.infer.rule import Answer, Call, demand_plain, rule
from chiralize.infer.rules.declare import per_axis
from chiralize.infer.solver.unify import Solver
from chiralize.infer.symbolic import (
    Axis,
    Conflict,
    Known,
    SymbolicRepresentation,
    Wait,
    action_of,
    axis_size,
    is_known,
    known_axis,
    trivial,
)
from chiralize.symmetry.involution import SignedPermutation


# ---- turned or left alone -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Turn:
    """An axis, and how the mirror acts on it if it turns it around.

    read: the entries that count (None: all).  possible: whether it can be turned.
    """

    axis: Axis
    action: SignedPermutation
    read: range | None = None
    possible: bool = True

    def is_of(self, action: SignedPermutation) -> bool:
        """Whether an action is this one, as far as it counts.

        Windows may stop before the end of an axis: what the mirror does to entries that none of them reads is free.
        """
        read = np.arange(action.size) if self.read is None else np.array(self.read, np.int64)
        return self.possible and action.is_sign_free and np.array_equal(action.partner[read], self.action.partner[read])


def reversal(size: int, center: int | None = None) -> SignedPermutation:
    """The mirror that takes entry e to center - e, the last entry by itself; entries without a partner stay."""
    entries = np.arange(size)
    partners = (size - 1 if center is None else center) - entries
    partners = np.where((partners >= 0) & (partners < size), partners, entries)
    return SignedPermutation(partners, np.ones(size, np.int64))


def end_to_end(axis: Axis) -> Turn:
    """The reversal of a whole axis."""
    return Turn(axis, reversal(axis_size(axis)))


def read_by(windows: Windows, axis: Axis) -> Turn:
    """The mirror of an axis that windows commute with, as far as they reach."""
    return Turn(axis, reversal(windows.size, windows.center), windows.read, windows.is_closed)


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
        raise Conflict(refusal or _order_matters(count))
    for turn in turns:
        if says:
            _turn(turn, solver, refusal)
        else:
            solver.trivial(turn.axis)
    return known_axis(reversal(count)) if says else trivial(count)


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
    action = action_of(axis)
    if not turn.is_of(action):
        if refusal and action == reversal(action.size):
            raise Conflict(refusal)
        raise Conflict(_order_matters(action.size))


def _order_matters(size: int) -> str:
    """Why an axis that the mirror moves in another way cannot pass."""
    return f"the mirror acts on an axis of {size} entries whose order matters here"


def from_one_end(windows: Windows) -> str:
    """Why a whole axis cannot be reversed, and which sizes near its own could be: of 224 pixels, "225 would do"."""
    others: list[int] = []
    # Sizes up to one stride below and above repeat the pattern of windows, so a symmetric one is among them, if any.
    for size in range(max(windows.size - windows.stride, 1), windows.size + windows.stride + 1):
        room = size + 2 * windows.before - windows.extent
        if room >= 0 and replace(windows, size=size, count=room // windows.stride + 1).is_symmetric:
            others.append(size)
    near = " or ".join(map(str, sorted(others, key=lambda size: abs(size - windows.size))[:2]))
    return (
        f"windows of {windows.kernel} entries, {windows.stride} apart, read an axis of {windows.size} entries, which "
        f"the mirror reverses, from one end: what they read has its middle at {windows.center / 2:g}, the axis at "
        f"{(windows.size - 1) / 2:g}" + (f"; {near} entries would do" if near else "")
    )


# ---- windows whose entries are told apart -------------------------------------------------------------------------
@rule(
    "unfold",
    "`a -> a 1` for windows of one entry, `a -> 1 a` for one of all, else `1t -> 1t 1w` or all reversed; the window is "
    "the last axis",
    Movement(),
    incomplete="windows side by side could be swapped",
)
def unfold(call: Call) -> Answer:
    """Sliding windows of an axis, along a new last one."""
    rep = call.source
    dim = call.axis(call["dimension"], len(rep.axes))
    windows = Windows(rep.shape[dim], call.shape[dim], call["size"], call["step"])
    places, entries = _cut(call, rep.axes[dim], windows)
    wide = rep.with_axis(dim, places)
    return SymbolicRepresentation((*wide.axes, entries), wide.sign)


def _cut(call: Call, axis: Axis, windows: Windows) -> tuple[Axis, Axis]:
    """(places, entries of a window) of an axis that is cut into windows. Raises Conflict where no window follows it."""
    # One entry a window, none left out: the places are the axis itself.
    if windows.kernel == windows.stride == 1:
        return call.solver.resolve(axis), ()
    # One window on the whole axis. Its stride does not matter, since there is no second one.
    if windows.kernel == windows.size:
        return (), call.solver.resolve(axis)
    # One bit decides all three, axis, entries and places. Entries are asked first, so that a reader which knows them
    # decides on the places, too.
    refusal = from_one_end(windows)
    entries = turned_or_still(call, [read_by(windows, axis)], windows.kernel, "entries", refusal)
    turns = [read_by(windows, axis), end_to_end(entries)]
    return turned_or_still(call, turns, windows.count, "places", refusal), entries


# ---- pools --------------------------------------------------------------------------------------------------------
_POOLED = (
    "`... a -> ... w` for means, `+... +a -> +... +w` for the largest: windows move as their entries do; where "
    "positions are used, `+... 1a -> +... 1w`"
)
_UNDECIDED = "axes that are not known yet are left in place, and negated pairs of windows refused"


def pool(call: Call, rank: int, of_largest: bool) -> Answer:
    """Windows along the last `rank` axes, each by itself: a block of 2 x 3 is a block of 2 and one of 3.

    Returns the pooled tensor, with positions beside it where they are read.
    """
    solver, rep = call.solver, call.source
    with_positions = len(call.shapes) > 1 and call.reads(1)
    if of_largest:
        demand_plain(rep, solver)
    first = len(rep.axes) - rank
    axes = list(rep.axes[:first])
    for dim in range(first, len(rep.axes)):
        # Positions are numbers of entries, which T would renumber.
        if with_positions:
            solver.trivial(rep.axes[dim])
        axes.append(_pooled(call, rep.axes[dim], _windows_of(call, dim, first, rep.shape[dim]), dim))
    pooled = solver.representation(SymbolicRepresentation(tuple(axes), rep.sign))
    return (pooled, pooled) if with_positions else call.first(pooled)


for _rank in (1, 2, 3):
    _means = partial(pool, rank=_rank, of_largest=False)
    _largest = partial(pool, rank=_rank, of_largest=True)
    _adaptive = f"adaptive_avg_pool{_rank}d" + (f" _adaptive_avg_pool{_rank}d" if _rank > 1 else "")
    rule(f"avg_pool{_rank}d", _POOLED, MeanPooling(blends=True), _UNDECIDED)(_means)
    rule(_adaptive, _POOLED, Movement(blends=True), _UNDECIDED)(_means)
    rule(f"max_pool{_rank}d max_pool{_rank}d_with_indices", _POOLED, Pooling(), _UNDECIDED)(_largest)
    rule(f"adaptive_max_pool{_rank}d", _POOLED, incomplete=_UNDECIDED)(_largest)


@dataclass(frozen=True)
class _Read:
    """The entries that every window reads, window by window.

    sliding: where the windows lie, for those of one length; None for others, all of which lie on the axis.
    """

    entries: list[tuple[int, ...]]
    size: int
    sliding: Windows | None = None

    @property
    def inside(self) -> bool:
        """Whether no window reaches past an end."""
        return self.sliding is None or all(len(window) == self.sliding.kernel for window in self.entries)

    @property
    def are_blocks(self) -> bool:
        """Whether they are one after the other all of the axis, several entries each."""
        step = len(self.entries[0]) if self.entries else 0
        return step > 1 and self.inside and self.entries == _blocks(self.size, step) and self.size % step == 0

    def turn(self, axis: Axis) -> Turn:
        """The mirror that reverses what windows of one length, or all adaptive ones, read."""
        return end_to_end(axis) if self.sliding is None else read_by(self.sliding, axis)


def _blocks(size: int, step: int) -> list[tuple[int, ...]]:
    """The entries of an axis in blocks: 4 entries by 2 are (0, 1), (2, 3)."""
    return [tuple(range(first, first + step)) for first in range(0, size, step)]


def _windows_of(call: Call, dim: int, first: int, size: int) -> _Read:
    """The windows along one axis, which has `size` entries. first: the first axis that has windows."""
    out, rank, position = call.shape[dim], len(call.shape) - first, dim - first
    if "output_size" in call.arguments:
        # Windows of nearly equal length, which together cover the axis: 5 entries for 2 are (0 1 2), (2 3 4).
        return _Read([tuple(range(o * size // out, -(-(o + 1) * size // out))) for o in range(out)], size)
    kernel = per_axis(call["kernel_size"], rank)
    stride = per_axis(call.get("stride") or kernel, rank)[position]
    padding = per_axis(call.get("padding", 0), rank)[position]
    layout = Windows(size, out, kernel[position], stride, padding, per_axis(call.get("dilation", 1), rank)[position])
    entries: list[tuple[int, ...]] = []
    for start in range(-padding, out * stride - padding, stride):
        window = range(start, start + layout.extent, layout.dilation)
        entries.append(tuple(entry for entry in window if 0 <= entry < size))
    return _Read(entries, size, layout)


def _pooled(call: Call, axis: Axis, windows: _Read, dim: int) -> Axis:
    """The axis of outputs that each read one window.

    Raises Conflict where the mirror takes a window to no window, Wait where an unknown axis would be split by a guess.
    """
    solver, axis, entries = call.solver, call.solver.resolve(axis), windows.entries
    # Two cases hold for axes known or not: windows of one entry, and one window of all.
    if entries == [(first,) for first in range(windows.size)]:
        return axis
    # One window of all is a mean or a maximum of the whole axis: any order, no signs.
    if len(entries) == 1 and len(entries[0]) == windows.size and windows.inside:
        solver.sign_free(axis)
        return ()
    if is_known(axis):
        return known_axis(_moved(action_of(axis), windows))
    if windows.are_blocks:
        count = len(entries)
        # To split an unknown axis at a place where no factor ends is a guess.
        if not any(axis_size(axis[:end]) == count for end in range(len(axis))) and not solver.last_resort:
            raise Wait("windows along an axis that is not known yet")
        block, inside = solver.regroup([axis], [count, windows.size // count])
        solver.sign_free(inside)
        return solver.resolve(block)
    # Overlapping windows, or some that reach past an end: the axis stays or is reversed as a whole, nothing else.
    return turned_or_still(call, [windows.turn(axis)], len(entries), f"out {dim}")


def blocks_move(axis: Axis, size: int, solver: Solver) -> None:
    """Demand of a known axis that the mirror takes its blocks of `size` entries to each other. Raises Conflict."""
    count = axis_size(axis)
    _moved(action_of(solver.resolve(axis)), _Read(_blocks(count, size), count))


def _moved(action: SignedPermutation, windows: _Read) -> SignedPermutation:
    """How windows move. Raises Conflict where the mirror takes one to no window, or signs differ inside one."""
    entries = windows.entries
    if action.is_identity:
        return SignedPermutation.identity(len(entries))
    if windows.turn(known_axis(action)).is_of(action):
        return reversal(len(entries))
    # Any other mirror is followed window by window. Past an end windows read padding, which the mirror does not move;
    # of two equal windows it is open which one is taken to which.
    positions = {frozenset(window): position for position, window in enumerate(entries)}
    partners: list[int] = []
    signs: list[int] = []
    for window in entries:
        image = positions.get(frozenset(action.partner[list(window)].tolist()))
        inside = set(action.sign[list(window)].tolist())
        # One sign a window: the mean of (a, -b) is not plus or minus that of (a, b).
        if image is None or len(inside) != 1 or not windows.inside or len(positions) < len(entries):
            if windows.sliding is not None and action == reversal(action.size):
                raise Conflict(from_one_end(windows.sliding))
            raise Conflict(f"windows along an axis of {action.size} entries that the mirror moves in another way")
        partners.append(image)
        signs.append(inside.pop())
    return SignedPermutation(np.array(partners), np.array(signs))
