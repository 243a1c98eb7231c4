"""Windows of a tensor side by side, and back; blocks of channels as pixels.

Along an axis a window is like the kernel of a convolution: one entry long it lets the axis pass, as long as the axis it
takes the axis with it, else the order matters: both the places and the entries of a window are reversed, or neither.

Windows of 2 on (a, b, c, d) are (a, b), (b, c), (c, d). Of (d, c, b, a) they are (d, c), (c, b), (b, a): the places and
the entries of each window in reversed order.

With P for the exchange of left and right on 4 joints, the cases are

    kernel 1    (P) to places (P), entries ()      each window is one joint
    kernel 4    (P) to places (), entries (P)      the only window is the whole axis
    kernel 2    P reverses the axis, places and entries, or leaves all three alone; any other P is refused

`windows_of` answers for the cut, `joined` for its adjoint, which adds overlapping windows up again.
"""

from __future__ import annotations

from chiralize.graph.traits import Movement
from chiralize.graph.windows import Windows
from chiralize.infer.registry import Call, Results, normal, sample
from chiralize.infer.rules._families import incomplete, op, rule
from chiralize.infer.rules._turning import end_to_end, from_one_end, read_by, turned_or_still
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, axis_size, is_known


def windows_of(call: Call, axis: Axis, windows: Windows, name: str) -> tuple[Axis, Axis]:
    """(places, entries of a window) of an axis that is cut into windows.

    name: tells the axes of one call apart.  Raises Conflict where the mirror does to the axis what no window follows.
    """
    solver = call.solver
    # One entry a window, none left out: the places are the axis itself.
    if _plain(windows) and windows.kernel == 1:
        return solver.resolve(axis), ()
    # One window on the whole axis. Its stride does not matter, since there is no second one.
    if windows.before == 0 and windows.dilation == 1 and windows.kernel == windows.size:
        return (), solver.resolve(axis)
    # One bit decides all three, axis, entries and places. Entries are asked first, so that a reader which knows them
    # decides on the places, too.
    refusal = from_one_end(windows)
    entries = turned_or_still(call, [read_by(windows, axis)], windows.kernel, f"entries {name}", refusal)
    turns = [read_by(windows, axis), end_to_end(entries)]
    places = turned_or_still(call, turns, windows.count, f"places {name}", refusal)
    return places, entries


def joined(call: Call, places: Axis, entries: Axis, windows: Windows, name: str) -> Axis:
    """The axis that windows add up to: of as many entries as the windows lie on.

    places, entries: what `windows_of` returns.  Raises Conflict where they are not both reversed or both left alone, or
    are reversed and the windows reach the ends of the axis in different ways.
    """
    solver = call.solver
    if _plain(windows) and windows.kernel == 1:
        return solver.resolve(places)
    if _plain(windows) and windows.count == 1 and windows.kernel == windows.size:
        return solver.resolve(entries)
    turns = [end_to_end(places), end_to_end(entries)]
    refusal = "windows add up to an axis that the mirror reverses, and reach its ends in different ways"
    return turned_or_still(call, turns, windows.size, f"sum {name}", refusal, windows.is_symmetric)


def _plain(windows: Windows) -> bool:
    """Whether a window moves by one entry, without padding or gaps."""
    return (windows.stride, windows.before, windows.dilation) == (1, 0, 1)


@rule(
    "windows",
    "`a -> a 1` for windows of one entry, `a -> 1 a` for one of all, else `1t -> 1t 1w` or all reversed; the window is "
    "the last axis",
)
@incomplete("windows side by side could be swapped")
@op("unfold", trait=Movement())
@op("unfold", sample(normal(2, 4, 6), -1, 2, 1), sample(normal(2, 3, 4), 1, 2, 1), sample(normal(3, 4), 1, 1, 1))
@op("unfold", sample(normal(3, 4), 1, 4, 1), sample(normal(3, 4), 1, 2, 2), sample(normal(3, 4), 1, 3, 2))
def unfold(call: Call) -> Results:
    """Sliding windows of an axis, along a new last one."""
    rep = call.solver.representation(call.operands[0].rep)
    dim = call.axis(call["dimension"], len(rep.axes))
    windows = Windows(rep.shape[dim], call.shape[dim], call["size"], call["step"])
    places, entries = windows_of(call, rep.axes[dim], windows, "0")
    wide = rep.with_axis(dim, places)
    return SymbolicRepresentation((*wide.axes, entries), wide.sign)


def _layouts(call: Call, sizes: tuple[int, int]) -> list[Windows]:
    """How the windows lie along rows and columns, which have these sizes; as many as torch's formula says."""
    layouts: list[Windows] = []
    options = zip(sizes, call["kernel_size"], call["stride"], call["padding"], call["dilation"], strict=True)
    for size, kernel, stride, padding, dilation in options:
        count = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        layouts.append(Windows(size, count, kernel, stride, padding, dilation))
    return layouts


@rule("patches", "`... c h w -> ... (c p q) (h' w')`: along an axis as `windows`")
@op("im2col", sample(normal(1, 2, 4, 3), [3, 1], [1, 1], [1, 0], [1, 1]))
@op("im2col", sample(normal(2, 4, 3), [1, 3], [1, 1], [0, 0], [1, 1]))
@op("im2col", sample(normal(1, 2, 3, 4), [1, 1], [1, 1], [0, 0], [1, 1]))
@op("im2col", sample(normal(1, 2, 3, 4), [1, 2], [1, 1], [0, 0], [1, 2]))
def im2col(call: Call) -> Results:
    """Patches as columns (F.unfold)."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    # Channels vary slowest within a column of the result, then the rows of a window, then its columns.
    *batch, channel, rows, columns = rep.axes
    down, across = _layouts(call, (axis_size(rows), axis_size(columns)))
    first, inner = windows_of(call, rows, down, "0")
    second, outer = windows_of(call, columns, across, "1")
    axes = (*batch, solver.resolve(channel) + inner + outer, first + second)
    return solver.representation(SymbolicRepresentation(axes, rep.sign))


@rule("sum of patches", "`... (c p q) (h' w') -> ... c h w`: the reverse of `patches`")
@op("col2im", sample(normal(1, 6, 8), [4, 2], [3, 1], [1, 1], [1, 0], [1, 1]))
@op("col2im", sample(normal(4, 3), [3, 4], [1, 4], [1, 1], [0, 0], [1, 1]))
@op("col2im", sample(normal(1, 2, 12), [4, 3], [1, 1], [1, 1], [0, 0], [1, 1]))
def col2im(call: Call) -> Results:
    """Columns added up where patches overlap (F.fold)."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    height, width = call["output_size"]
    down, across = _layouts(call, (height, width))
    # (c p q) by (h' w'): channels, rows and columns of a window; then the places of the windows.
    *batch, columns, patches = rep.axes
    size = axis_size(columns) // (down.kernel * across.kernel)
    channel, inner, outer = solver.regroup([columns], [size, down.kernel, across.kernel])
    first, second = solver.regroup([patches], [down.count, across.count])
    out = (joined(call, first, inner, down, "0"), joined(call, second, outer, across, "1"))
    return solver.representation(SymbolicRepresentation((*batch, channel, *out), rep.sign))


@rule("pixel shuffle", "`... (c p q) h w -> ... c (h p) (w q)`, and back")
@op("pixel_shuffle", sample(normal(4, 3, 2), 2), sample(normal(1, 8, 1, 4), 2))
@op("pixel_unshuffle", sample(normal(1, 4, 2), 2), sample(normal(2, 2, 4), 2))
def pixel_shuffle(call: Call) -> Results:
    """Blocks of channels laid out as pixels."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    *batch, channel, rows, columns = rep.axes
    # (c p q) is read as three axes; p stands behind the rows and q behind the columns, where they change fastest.
    if "upscale_factor" in call.arguments:
        factor = call["upscale_factor"]
        channel, p, q = solver.regroup([channel], [axis_size(channel) // factor**2, factor, factor])
        axes = (*batch, channel, solver.resolve(rows) + p, solver.resolve(columns) + q)
    else:
        factor = call["downscale_factor"]
        (rows, p), (columns, q) = (
            solver.regroup([axis], [axis_size(axis) // factor, factor]) for axis in (rows, columns)
        )
        axes = (*batch, solver.resolve(channel) + p + q, rows, columns)
    return solver.representation(SymbolicRepresentation(axes, rep.sign))


@rule("channel shuffle", "`b (g c) ... -> b (c g) ...`")
@op("channel_shuffle native_channel_shuffle", sample(normal(1, 4, 2, 3), 2), sample(normal(1, 6, 2, 4), 3))
def channel_shuffle(call: Call) -> Results:
    """Channels of all groups in turn: 2 groups (a b c | d e f) become (a d b e c f)."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    count, groups = rep.shape[1], call["groups"]
    # Known channels are put into the new order; unknown ones become groups x channels, whose factors change places.
    if is_known(rep.axes[1]):
        order = [entry for first in range(count // groups) for entry in range(first, count, count // groups)]
        return solver.representation(rep.with_axis(1, solver.pick(rep.axes[1], order)))
    group, inside = solver.regroup([rep.axes[1]], [groups, count // groups])
    return solver.representation(rep.with_axis(1, inside + group))
