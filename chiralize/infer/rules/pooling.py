"""Windows of entries, averaged or searched for the largest.

Along an axis that is known, output o reads the window W(o). If the mirror takes every window to a window, outputs move
as the windows do: kernels of one entry, windows that cover the whole axis, blocks of an axis (blocks entries), and the
reversal of an axis are all of this kind. An axis that nothing else decides is split by blocks, and other windows demand
that it stays in place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chiralize.infer.registry import Call, Results, Sample, demand_plain, normal
from chiralize.infer.rules._families import rule
from chiralize.infer.solver.terms import Conflict, Wait, product
from chiralize.infer.solver.unify import Solver
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, axis_size, is_known, known_axis, trivial

Windows = list[tuple[int, ...]]


def windowed(axis: Axis, windows: Windows, solver: Solver, whole: bool = True) -> Axis:
    """The axis of outputs that each read one window. whole: no window reaches past an end."""
    axis = solver.resolve(axis)
    size = axis_size(axis)
    if windows == [(place,) for place in range(size)]:
        return axis
    if len(windows) == 1 and len(windows[0]) == size and whole:
        solver.sign_free(axis)
        return ()
    if is_known(axis):
        return known_axis(_moved(product(axis), windows, whole))
    step = len(windows[0]) if windows else 0
    blocks = [tuple(range(place, place + step)) for place in range(0, size, max(step, 1))]
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
    places = {frozenset(window): place for place, window in enumerate(windows)}
    partner = [places.get(frozenset(action.partner[list(window)].tolist())) for window in windows]
    signs = [set(action.sign[list(window)].tolist()) for window in windows]
    if None in partner or len(places) < len(windows) or any(len(own) != 1 for own in signs):
        raise Conflict(f"windows along an axis of {action.size} entries that the mirror moves in another way")
    return SignedPermutation(np.array(partner), np.array([own.pop() for own in signs]))


def _adaptive(size: int, out: int) -> Windows:
    return [tuple(range(place * size // out, -((-(place + 1) * size) // out))) for place in range(out)]


def _sliding(size: int, out: int, kernel: int, stride: int, padding: int, dilation: int) -> tuple[Windows, bool]:
    """Entries of every window that lie on the axis, and whether all do."""
    starts = [place * stride - padding for place in range(out)]
    full = [[start + step * dilation for step in range(kernel)] for start in starts]
    windows = [tuple(entry for entry in window if 0 <= entry < size) for window in full]
    return windows, all(len(window) == kernel for window in windows)


def _each(value: Sequence[int] | int, count: int) -> list[int]:
    items = list(value) if isinstance(value, Sequence) else [value]
    return items * count if len(items) == 1 else items


def _axis_windows(call: Call, rank: int, place: int, size: int, out: int) -> tuple[Windows, bool]:
    if "output_size" in call.arguments:
        return _adaptive(size, out), True
    kernel = _each(call["kernel_size"], rank)
    stride = _each(call.get("stride") or kernel, rank)
    padding, dilation = _each(call.get("padding", 0), rank), _each(call.get("dilation", 1), rank)
    return _sliding(size, out, kernel[place], stride[place], padding[place], dilation[place])


_x = normal(2, 4, 6)
_square = normal(2, 3, 4)
_plane = normal(2, 3, 4)
_solid = normal(1, 2, 4, 2)


@rule("pooling", *(f"aten.{name}{rank}d.default" for name in ("avg_pool", "max_pool", "adaptive_avg_pool",
          "adaptive_max_pool") for rank in (1, 2, 3)),
      *(f"aten.max_pool{rank}d_with_indices.default" for rank in (1, 2, 3)),
      "aten._adaptive_avg_pool2d.default", "aten._adaptive_avg_pool3d.default",
      statement="`... a -> ... w` for means, `+... +a -> +... +w` for the largest: windows move as their entries do; "
                "where positions are used, `+... 1a -> +... 1w`",
      samples={"aten.avg_pool1d.default": [Sample((_x, [2])), Sample((_square, [2])), Sample((_square, [3], [1], [1])),
                                           Sample((_square, [4])), Sample((_square, [1]))],
               "aten.avg_pool2d.default": [Sample((_plane, [1, 2])), Sample((_plane, [3, 1])),
                                           Sample((_plane, [3, 4])), Sample((_plane, [2, 3], [1], [1]))],
               "aten.avg_pool3d.default": [Sample((_solid, [1, 2, 1])), Sample((_solid, [2, 4, 2]))],
               "aten.adaptive_avg_pool1d.default": [Sample((_x, [2])), Sample((_x, [1])), Sample((_square, [3]))],
               "aten.adaptive_avg_pool2d.default": [Sample((_plane, [1, 4])), Sample((_plane, [3, 2]))],
               "aten.adaptive_avg_pool3d.default": [Sample((_solid, [1, 4, 2]))],
               "aten._adaptive_avg_pool2d.default": [Sample((_plane, [1, 4]))],
               "aten._adaptive_avg_pool3d.default": [Sample((_solid, [1, 4, 2]))],
               "aten.adaptive_max_pool1d.default": [Sample((_x, [2])), Sample((_square, [2]), read=frozenset({0}))],
               "aten.adaptive_max_pool2d.default": [Sample((_plane, [3, 1]), read=frozenset({0}))],
               "aten.adaptive_max_pool3d.default": [Sample((_solid, [2, 1, 2]), read=frozenset({0}))],
               "aten.max_pool1d.default": [Sample((_x, [2])), Sample((_square, [3], [1], [1])),
                                           Sample((_square, [1], [3]))],
               "aten.max_pool1d_with_indices.default": [Sample((_square, [2])),
                                                        Sample((_square, [2]), read=frozenset({0}))],
               "aten.max_pool2d.default": [Sample((_plane, [1, 2])), Sample((_plane, [3, 1])),
                                           Sample((_plane, [2, 2], [1, 1], [1, 1], [1, 2]))],
               "aten.max_pool2d_with_indices.default": [Sample((_plane, [1, 2]), read=frozenset({0})),
                                                        Sample((_plane, [3, 1]))],
               "aten.max_pool3d.default": [Sample((_solid, [1, 2, 1])), Sample((_solid, [1, 3, 2], [1], [0, 1, 0]))],
               "aten.max_pool3d_with_indices.default": [Sample((_solid, [1, 2, 1]), read=frozenset({0}))]},
      incomplete="windows that reach past the ends of an axis could be reversed, and axes that are not known yet are "
                 "left in place")  # fmt: skip
def pool(call: Call) -> Results:
    """Windows along the last axes."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    rank = int(call.target.split("d_with")[0].split("d.default")[0][-1])
    if "max" in call.target:
        demand_plain(rep, call)
    first = len(rep.axes) - rank
    axes = list(rep.axes[:first])
    for place, axis in enumerate(rep.axes[first:]):
        if len(call.shapes) > 1 and call.reads(1):
            solver.trivial(axis)
        windows, inside = _axis_windows(call, rank, place, rep.shape[first + place], call.shape[first + place])
        axes.append(windowed(axis, windows, solver, inside))
    found = solver.representation(SymbolicRepresentation(tuple(axes), rep.sign))
    return found if len(call.shapes) == 1 else (found, found if call.reads(1) else None)
