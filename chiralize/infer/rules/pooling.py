"""Windows of entries, averaged or searched for the largest.

Along an axis that is known, output o reads the window W(o). If the mirror takes every window to a window, outputs move
as the windows do: kernels of one entry, windows that cover the whole axis, blocks of an axis (blocks entries), and the
reversal of an axis are all of this kind. An axis that nothing else decides is split by blocks, and other windows demand
that it stays in place.
"""

from __future__ import annotations

import numpy as np

from chiralize.graph.traits import Movement
from chiralize.infer.registry import Call, Results, demand_plain, normal, sample
from chiralize.infer.rules._families import first_outputs, incomplete, op, per_axis, rule
from chiralize.infer.solver.terms import Conflict, Wait, product
from chiralize.infer.solver.unify import Solver
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, axis_size, is_known, known_axis, trivial

Windows = list[tuple[int, ...]]


def windowed(axis: Axis, windows: Windows, solver: Solver, whole: bool = True) -> Axis:
    """The axis of outputs that each read one window. whole: no window reaches past an end."""
    axis = solver.resolve(axis)
    size = axis_size(axis)
    if windows == [(first,) for first in range(size)]:
        return axis
    if len(windows) == 1 and len(windows[0]) == size and whole:
        solver.sign_free(axis)
        return ()
    if is_known(axis):
        return known_axis(_moved(product(axis), windows, whole))
    step = len(windows[0]) if windows else 0
    blocks = [tuple(range(first, first + step)) for first in range(0, size, max(step, 1))]
    if step > 1 and whole and windows == blocks and size % step == 0:
        if not _ends_at(axis, size // step) and not solver.last_resort:
            raise Wait("windows along an axis that is not known yet")
        block, inside = solver.regroup([axis], [size // step, step])
        solver.sign_free(inside)
        return solver.resolve(block)
    solver.trivial(axis)
    return trivial(len(windows))


def _ends_at(axis: Axis, size: int) -> bool:
    """Whether some of the leading factors have that many entries together."""
    return any(axis_size(axis[:count]) == size for count in range(len(axis)))


def _moved(action: SignedPermutation, windows: Windows, whole: bool) -> SignedPermutation:
    """How windows move. Raises Conflict where the mirror takes one to no window, or signs differ inside one."""
    if action.is_identity:
        return SignedPermutation.identity(len(windows))
    if not whole:
        raise Conflict(f"windows reach past the ends of an axis of {action.size} entries that the mirror moves")
    positions = {frozenset(window): position for position, window in enumerate(windows)}
    partners: list[int] = []
    signs: list[int] = []
    for window in windows:
        image = positions.get(frozenset(action.partner[list(window)].tolist()))
        inside = set(action.sign[list(window)].tolist())
        if image is None or len(inside) != 1 or len(positions) < len(windows):
            raise Conflict(f"windows along an axis of {action.size} entries that the mirror moves in another way")
        partners.append(image)
        signs.append(inside.pop())
    return SignedPermutation(np.array(partners), np.array(signs))


def _adaptive(size: int, out: int) -> Windows:
    """Windows of nearly equal length, which together cover the axis."""
    windows: Windows = []
    for output in range(out):
        start, end = output * size // out, -((-(output + 1) * size) // out)  # the end is rounded up
        windows.append(tuple(range(start, end)))
    return windows


def _sliding(size: int, out: int, kernel: int, stride: int, padding: int, dilation: int) -> tuple[Windows, bool]:
    """Entries of every window that lie on the axis, and whether all do."""
    windows: Windows = []
    for output in range(out):
        start = output * stride - padding
        entries = range(start, start + kernel * dilation, dilation)
        windows.append(tuple(entry for entry in entries if 0 <= entry < size))
    return windows, all(len(window) == kernel for window in windows)


def _axis_windows(call: Call, rank: int, position: int, size: int, out: int) -> tuple[Windows, bool]:
    """The windows of one axis, and whether none reaches past its ends."""
    if "output_size" in call.arguments:
        return _adaptive(size, out), True
    kernel = per_axis(call["kernel_size"], rank)
    stride = per_axis(call.get("stride") or kernel, rank)
    padding, dilation = per_axis(call.get("padding", 0), rank), per_axis(call.get("dilation", 1), rank)
    return _sliding(size, out, kernel[position], stride[position], padding[position], dilation[position])


_x = normal(2, 4, 6)
_square = normal(2, 3, 4)
_plane = normal(2, 3, 4)
_solid = normal(1, 2, 4, 2)
_pairs = sample(_plane, [1, 2])
_columns = sample(_plane, [3, 1])
_padded = sample(_square, [3], [1], [1])


@rule(
    "pooling",
    "`... a -> ... w` for means, `+... +a -> +... +w` for the largest: windows move as their entries do; where "
    "positions are used, `+... 1a -> +... 1w`",
)
@incomplete(
    "windows that reach past the ends of an axis could be reversed, and axes that are not known yet are left in place"
)
@op("avg_pool1d avg_pool2d adaptive_avg_pool1d adaptive_avg_pool2d", trait=Movement(blends=True))
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
    """Windows along the last axes."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    rank = int(call.target.split("d_with")[0].split("d.default")[0][-1])
    if "max" in call.target:
        demand_plain(rep, call)
    first = len(rep.axes) - rank
    axes = list(rep.axes[:first])
    for position, axis in enumerate(rep.axes[first:]):
        if len(call.shapes) > 1 and call.reads(1):
            solver.trivial(axis)
        windows, inside = _axis_windows(call, rank, position, rep.shape[first + position], call.shape[first + position])
        axes.append(windowed(axis, windows, solver, inside))
    pooled = solver.representation(SymbolicRepresentation(tuple(axes), rep.sign))
    return (pooled, pooled) if len(call.shapes) > 1 and call.reads(1) else first_outputs(call, pooled)
