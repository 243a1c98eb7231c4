"""Windows of entries, averaged or searched for the largest.

Along an axis that is known, output o reads the window W(o). If the mirror takes every window to a window, outputs move
as the windows do: kernels of one entry, windows that cover the whole axis, blocks of an axis (blocks entries), and the
reversal of an axis are all of this kind. Windows that reach past both ends may be reversed as a convolution's are
(`_turning.py`). An axis that nothing else decides is split by blocks, and other windows demand that it stays in place.

    axis of 4 with (0 1), blocks of 2         W = {0, 1}, {2, 3}: T takes each to itself, the outputs stay
    axis of 4 with (0 2) (1 3), blocks of 2   T exchanges both windows, and the outputs
    axis of 4 with (0 2), blocks of 2         {0, 1} goes to {2, 1}, which is no window: refused
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chiralize.graph.traits import MeanPooling, Movement, Pooling
from chiralize.graph.windows import Windows
from chiralize.infer.registry import Call, Results, demand_plain, normal, sample
from chiralize.infer.rules._families import first_outputs, incomplete, op, per_axis, rule
from chiralize.infer.rules._turning import end_to_end, from_one_end, read_by, reversal, turned_or_still
from chiralize.infer.solver.terms import Conflict, Wait, product
from chiralize.infer.solver.unify import Solver
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, axis_size, is_known, known_axis

Entries = list[tuple[int, ...]]
"""The entries that every window reads, window by window."""


@dataclass(frozen=True)
class _Windows:
    """The entries that every window reads.

    sliding: where the windows lie, for those of one length; None for others, all of which lie on the axis.
    """

    entries: Entries
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
        blocks = [tuple(range(first, first + step)) for first in range(0, self.size, max(step, 1))]
        return step > 1 and self.inside and self.entries == blocks and self.size % step == 0

    def reversed(self, action: SignedPermutation) -> bool:
        """Whether an action reverses what windows of one length, or all adaptive ones, read."""
        if self.sliding is None:
            return action.is_reversal
        return read_by(self.sliding, ()).is_of(action)


def _windowed(call: Call, axis: Axis, windows: _Windows, name: str) -> Axis:
    """The axis of outputs that each read one window. name: of the place where it is left open, if nothing decides it.

    Raises Conflict where the mirror takes a window to no window, Wait where an unknown axis would be split by a guess.
    """
    solver, axis, entries = call.solver, call.solver.resolve(axis), windows.entries
    # Two cases hold for axes known or not: windows of one entry, and one window of all.
    if entries == [(first,) for first in range(windows.size)]:
        return axis
    # One window of all is a mean or a maximum of the whole axis: any order, no signs, as in `reduction`.
    if len(entries) == 1 and len(entries[0]) == windows.size and windows.inside:
        solver.sign_free(axis)
        return ()
    if is_known(axis):
        return known_axis(_moved(product(axis), windows))
    if windows.are_blocks:
        count = len(entries)
        # To split an unknown axis at a place where no factor ends is a guess.
        if not _ends_at(axis, count) and not solver.last_resort:
            raise Wait("windows along an axis that is not known yet")
        block, inside = solver.regroup([axis], [count, windows.size // count])
        solver.sign_free(inside)
        return solver.resolve(block)
    # Overlapping windows, or some that reach past an end: the axis stays or is reversed as a whole, nothing else.
    turn = end_to_end(axis) if windows.sliding is None else read_by(windows.sliding, axis)
    return turned_or_still(call, [turn], len(entries), name)


def blocks_move(axis: Axis, size: int, solver: Solver) -> None:
    """Demand of a known axis that the mirror takes its blocks of `size` entries to each other. Raises Conflict."""
    count = axis_size(axis)
    blocks = [tuple(range(first, first + size)) for first in range(0, count, size)]
    _moved(product(solver.resolve(axis)), _Windows(blocks, count))


def _ends_at(axis: Axis, size: int) -> bool:
    """Whether some of the leading factors have that many entries together."""
    return any(axis_size(axis[:count]) == size for count in range(len(axis)))


def _moved(action: SignedPermutation, windows: _Windows) -> SignedPermutation:
    """How windows move. Raises Conflict where the mirror takes one to no window, or signs differ inside one."""
    entries = windows.entries
    if action.is_identity:
        return SignedPermutation.identity(len(entries))
    if windows.reversed(action):
        return reversal(len(entries))
    # Any other mirror is followed window by window. Past an end windows read padding, which the mirror does not move;
    # of two equal windows it is open which one is taken to which.
    positions = {frozenset(window): position for position, window in enumerate(entries)}
    if not windows.inside or len(positions) < len(entries):
        raise Conflict(_refusal(action, windows))
    # One sign a window: the mean of (a, -b) is not plus or minus that of (a, b).
    partners: list[int] = []
    signs: list[int] = []
    for window in entries:
        image = positions.get(frozenset(action.partner[list(window)].tolist()))
        inside = set(action.sign[list(window)].tolist())
        if image is None or len(inside) != 1:
            raise Conflict(_refusal(action, windows))
        partners.append(image)
        signs.append(inside.pop())
    return SignedPermutation(np.array(partners), np.array(signs))


def _refusal(action: SignedPermutation, windows: _Windows) -> str:
    """Why windows cannot follow a mirror, with sizes of the axis that could, where it reverses all of it."""
    if windows.sliding is not None and action == reversal(action.size):
        return from_one_end(windows.sliding)
    if not windows.inside:
        return f"windows reach past the ends of an axis of {action.size} entries that the mirror moves"
    return f"windows along an axis of {action.size} entries that the mirror moves in another way"


def _adaptive(size: int, out: int) -> Entries:
    """Windows of nearly equal length, which together cover the axis: 5 entries for 2 are (0 1 2), (2 3 4)."""
    windows: Entries = []
    for output in range(out):
        start, end = output * size // out, -((-(output + 1) * size) // out)  # the end is rounded up
        windows.append(tuple(range(start, end)))
    return windows


def _sliding(layout: Windows) -> Entries:
    """Entries of every window that lie on the axis."""
    windows: Entries = []
    for output in range(layout.count):
        start = output * layout.stride - layout.before
        entries = range(start, start + layout.kernel * layout.dilation, layout.dilation)
        windows.append(tuple(entry for entry in entries if 0 <= entry < layout.size))
    return windows


def _axis_windows(call: Call, rank: int, position: int, size: int, out: int) -> _Windows:
    """The windows of axis number `position` of `rank`, which has `size` entries and `out` windows."""
    if "output_size" in call.arguments:
        return _Windows(_adaptive(size, out), size)
    kernel = per_axis(call["kernel_size"], rank)
    stride = per_axis(call.get("stride") or kernel, rank)
    padding, dilation = per_axis(call.get("padding", 0), rank), per_axis(call.get("dilation", 1), rank)
    layout = Windows(size, out, kernel[position], stride[position], padding[position], dilation[position])
    return _Windows(_sliding(layout), size, layout)


_x = normal(2, 4, 6)
_square = normal(2, 3, 4)
_plane = normal(2, 3, 4)
_solid = normal(1, 2, 4, 2)
_pairs = sample(_plane, [1, 2])
_columns = sample(_plane, [3, 1])
_padded = sample(_square, [3], [1], [1])


@rule(
    "pooling",
    "`... a -> ... w` for means, `+... +a -> +... +w` for the largest: windows move as their entries do, also "
    "where they reach past both ends of a reversed axis; where positions are used, `+... 1a -> +... 1w`",
)
@incomplete("axes that are not known yet are left in place, and negated pairs of windows refused")
@op("avg_pool1d avg_pool2d avg_pool3d", trait=MeanPooling(blends=True))
@op("max_pool1d max_pool2d max_pool3d", trait=Pooling())
@op("max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices", trait=Pooling())
@op("adaptive_avg_pool1d adaptive_avg_pool2d", trait=Movement(blends=True))
@op("avg_pool1d", sample(_x, [2]), sample(_square, [2]), _padded, sample(_square, [4]), sample(_square, [1]))
@op("avg_pool2d", _pairs, _columns, sample(_plane, [3, 4]), sample(_plane, [2, 3], [1], [1]))
@op("avg_pool3d", sample(_solid, [1, 2, 1]), sample(_solid, [2, 4, 2]))
@op("max_pool1d", sample(_x, [2]), _padded, sample(_square, [1], [3]))
@op("max_pool2d", _pairs, _columns, sample(_plane, [2, 2], [1, 1], [1, 1], [1, 2]))
@op("max_pool3d", sample(_solid, [1, 2, 1]), sample(_solid, [1, 3, 2], [1], [0, 1, 0]))
@op("adaptive_avg_pool1d", sample(_x, [2]), sample(_x, [1]), sample(_square, [3]))
@op("adaptive_avg_pool2d", sample(_plane, [1, 4]), sample(_plane, [3, 2]))
@op("adaptive_avg_pool3d", sample(_solid, [1, 4, 2]))
@op("adaptive_max_pool1d", sample(_x, [2]), sample(_square, [2], read={0}))
@op("adaptive_max_pool2d", sample(_plane, [3, 1], read={0}))
@op("adaptive_max_pool3d", sample(_solid, [2, 1, 2], read={0}))
@op("max_pool1d_with_indices", sample(_square, [2]), sample(_square, [2], read={0}))
@op("max_pool2d_with_indices", sample(_plane, [1, 2], read={0}), sample(_plane, [3, 1]))
@op("max_pool3d_with_indices", sample(_solid, [1, 2, 1], read={0}))
@op("_adaptive_avg_pool2d", sample(_plane, [1, 4]))
@op("_adaptive_avg_pool3d", sample(_solid, [1, 4, 2]))
def pool(call: Call) -> Results:
    """Windows along the last axes, each by itself: a block of 2 x 3 is a block of 2 and one of 3.

    Returns the pooled tensor, with positions beside it where they are read.
    """
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    rank = int(call.target.split("d_with")[0].split("d.default")[0][-1])  # the 2 of max_pool2d_with_indices
    if "max" in call.target:
        demand_plain(rep, call)
    first = len(rep.axes) - rank
    axes = list(rep.axes[:first])
    for position, axis in enumerate(rep.axes[first:]):
        # Positions are numbers of entries, which T would renumber.
        if len(call.shapes) > 1 and call.reads(1):
            solver.trivial(axis)
        windows = _axis_windows(call, rank, position, rep.shape[first + position], call.shape[first + position])
        axes.append(_windowed(call, axis, windows, f"out {position}"))
    pooled = solver.representation(SymbolicRepresentation(tuple(axes), rep.sign))
    if len(call.shapes) > 1 and call.reads(1):
        return pooled, pooled
    return first_outputs(call, pooled)
