"""Windows of a tensor side by side, and back; blocks of channels as pixels.

Along an axis a window is like the kernel of a convolution: one entry long it lets the axis pass, as long as the axis it
takes the axis with it, else the order matters.
"""

from __future__ import annotations

from chiralize.graph.traits import Movement
from chiralize.infer.registry import Call, Results, normal, sample
from chiralize.infer.rules._families import incomplete, op, rule
from chiralize.infer.solver.unify import Solver
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, axis_size, is_known, trivial


def windows_of(axis: Axis, size: int, count: int, plain: bool, solver: Solver) -> tuple[Axis, Axis]:
    """(places, entries of a window) of an axis cut into `count` windows; plain: no padding, stride or dilation."""
    if plain and size == 1:
        return solver.resolve(axis), ()
    if plain and size == axis_size(axis):
        return (), solver.resolve(axis)
    solver.trivial(axis)
    return trivial(count), trivial(size)


def joined(places: Axis, entries: Axis, length: int, plain: bool, solver: Solver) -> Axis:
    """The axis of `length` entries that windows add up to."""
    if plain and axis_size(entries) == 1:
        return solver.resolve(places)
    if plain and axis_size(places) == 1 and axis_size(entries) == length:
        return solver.resolve(entries)
    solver.trivial(places)
    solver.trivial(entries)
    return trivial(length)


@rule(
    "windows",
    "`a -> a 1` for windows of one entry, `a -> 1 a` for one of all, else `1t -> 1t 1w`; the window is the last axis",
)
@incomplete("windows side by side could be swapped")
@op("unfold", trait=Movement())
@op("unfold", sample(normal(2, 4, 6), -1, 2, 1), sample(normal(2, 3, 4), 1, 2, 1), sample(normal(3, 4), 1, 1, 1))
@op("unfold", sample(normal(3, 4), 1, 4, 1), sample(normal(3, 4), 1, 2, 2))
def unfold(call: Call) -> Results:
    """Sliding windows of an axis, along a new last one."""
    rep = call.solver.representation(call.operands[0].rep)
    dim = call.axis(call["dimension"], len(rep.axes))
    size, plain = call["size"], call["step"] == 1 or call["size"] == rep.shape[dim]
    places, entries = windows_of(rep.axes[dim], size, call.shape[dim], plain, call.solver)
    wide = rep.with_axis(dim, places)
    return SymbolicRepresentation((*wide.axes, entries), wide.sign)


def _plain(call: Call) -> list[bool]:
    """For both axes: the window moves by one entry, without padding or gaps."""
    return [numbers == (1, 0, 1) for numbers in zip(call["stride"], call["padding"], call["dilation"], strict=True)]


@rule("patches", "`... c h w -> ... (c p q) (h' w')`: along an axis as `windows`")
@op("im2col", sample(normal(1, 2, 4, 3), [3, 1], [1, 1], [1, 0], [1, 1]))
@op("im2col", sample(normal(2, 4, 3), [1, 3], [1, 1], [0, 0], [1, 1]))
@op("im2col", sample(normal(1, 2, 3, 4), [1, 1], [1, 1], [0, 0], [1, 1]))
def im2col(call: Call) -> Results:
    """Patches as columns (F.unfold)."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    *batch, channel, rows, columns = rep.axes
    counts, kernel, plain = _counts(axis_size(rows), axis_size(columns), call), call["kernel_size"], _plain(call)
    first, inner = windows_of(rows, kernel[0], counts[0], plain[0], solver)
    second, outer = windows_of(columns, kernel[1], counts[1], plain[1], solver)
    axes = (*batch, solver.resolve(channel) + inner + outer, first + second)
    return solver.representation(SymbolicRepresentation(axes, rep.sign))


def _counts(rows: int, columns: int, call: Call) -> list[int]:
    """How many windows there are along both axes."""
    options = zip((rows, columns), call["kernel_size"], call["stride"], call["padding"], call["dilation"], strict=True)
    return [(size + 2 * pad - gap * (kernel - 1) - 1) // stride + 1 for size, kernel, stride, pad, gap in options]


@rule("sum of patches", "`... (c p q) (h' w') -> ... c h w`: the reverse of `patches`")
@op("col2im", sample(normal(1, 6, 8), [4, 2], [3, 1], [1, 1], [1, 0], [1, 1]))
@op("col2im", sample(normal(4, 3), [3, 4], [1, 4], [1, 1], [0, 0], [1, 1]))
@op("col2im", sample(normal(1, 2, 12), [4, 3], [1, 1], [1, 1], [0, 0], [1, 1]))
def col2im(call: Call) -> Results:
    """Columns added up where patches overlap (F.fold)."""
    solver, kernel = call.solver, call["kernel_size"]
    rep = solver.representation(call.operands[0].rep)
    height, width = call["output_size"]
    counts = _counts(height, width, call)
    *batch, columns, patches = rep.axes
    size = axis_size(columns) // (kernel[0] * kernel[1])
    channel, inner, outer = solver.regroup([columns], [size, *kernel])
    first, second = solver.regroup([patches], counts)
    plain = _plain(call)
    out = (joined(first, inner, height, plain[0], solver), joined(second, outer, width, plain[1], solver))
    return solver.representation(SymbolicRepresentation((*batch, channel, *out), rep.sign))


@rule("pixel shuffle", "`... (c p q) h w -> ... c (h p) (w q)`, and back")
@op("pixel_shuffle", sample(normal(4, 3, 2), 2), sample(normal(1, 8, 1, 4), 2))
@op("pixel_unshuffle", sample(normal(1, 4, 2), 2), sample(normal(2, 2, 4), 2))
def pixel_shuffle(call: Call) -> Results:
    """Blocks of channels laid out as pixels."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    *batch, channel, rows, columns = rep.axes
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
    """Channels of all groups in turn."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    count, groups = rep.shape[1], call["groups"]
    if is_known(rep.axes[1]):
        order = [entry for first in range(count // groups) for entry in range(first, count, count // groups)]
        return solver.representation(rep.with_axis(1, solver.pick(rep.axes[1], order)))
    group, inside = solver.regroup([rep.axes[1]], [groups, count // groups])
    return solver.representation(rep.with_axis(1, inside + group))
