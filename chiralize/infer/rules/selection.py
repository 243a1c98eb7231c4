"""Parts of a tensor: slices, single entries, lists of entries, runs.

A part of an axis has a representation of its own only if the mirror takes the part to itself. Of joints 0 to 6 with the
pairs (1 4), (2 5), (3 6):

    x[:, 0]             joint 0 stays: the axis disappears, its sign goes to the tensor
    x[:, [1, 4]]        closed: the positions 0 and 1 are exchanged
    x[:, 1:4]           not closed; refused here, unless another op takes 4, 5, 6 (`Partners.take`)
    x[:, [0, 0, 1, 4]]  closed; positions 0 and 1 may stay or be exchanged, which readers decide (`solver.lists`)

An unknown axis is cut where a slice says: it is then a direct sum, and the mirror mixes no parts. For lists of several
axes (`x[rows, columns]`) `_positions` follows the rules of numpy: lists that vary along different axes of the result
are crossed, others are read side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from chiralize.graph.traits import Entry, Pick, Slice
from chiralize.infer.products import without_axis
from chiralize.infer.registry import Call, Operand, Results, normal, sample
from chiralize.infer.rules._families import op, plain_of, rule
from chiralize.infer.rules.filling import keeps_one_number
from chiralize.infer.solver import lists
from chiralize.infer.solver.terms import Conflict
from chiralize.infer.solver.unify import Solver
from chiralize.symmetry.symbolic import Axis, Sign, SymbolicRepresentation, axis_size, is_known, trivial

_x = normal(3, 4)


def part_of(axis: Axis, entries: range, solver: Solver) -> Axis:
    """The axis of a slice; the whole must be a direct sum with the slice as a part.

    entries: of the slice, counted from 0.  Raises Conflict where the mirror takes one of them out of the slice.
    """
    size = axis_size(axis)
    if len(entries) == size:
        return solver.resolve(axis)
    # Only a run of an unknown axis can be cut out. `pick` sees whether a known axis allows it, and waits for others.
    if entries.step != 1 or is_known(solver.resolve(axis)) or not len(entries):
        return solver.pick(axis, entries)
    # Entries 1 to 2 of 4 end the parts at 1, 3 and 4; the slice is the part that ends at 3.
    ends = sorted({entries.start, entries.stop, size} - {0})
    return solver.cut(axis, ends)[ends.index(entries.stop)]


def picked(call: Call, axis: Axis, entries: Sequence[int], name: str = "list") -> Axis:
    """The axis of entries that a slice or a constant list takes; -1 is the last.  name: tells lists of a call apart."""
    size = axis_size(axis)
    chosen = [entry % size for entry in entries]
    run = range(chosen[0], chosen[0] + len(chosen)) if chosen else range(0)
    # A list that happens to be a run may cut an unknown axis, as a slice does; any other list has to wait for it.
    if len(chosen) < 2 or chosen == list(run):
        return part_of(axis, run, call.solver)
    return lists.along(call, axis, chosen, name)


@rule("slice", "`(a + b + c) -> b`: the part must be closed under the mirror", trait=Slice())
@op("slice.Tensor", sample(_x, 1, 0, 2), sample(_x, 1, 1, 3), sample(_x, 1, 0, 4, 2), sample(_x, 1, -1))
@op("slice.Tensor", sample(_x, -1, None, -1), sample(_x, 0, 1, 9223372036854775807))
@op("narrow", sample(_x, 1, 1, 2), sample(_x, -1, -2, 2))
@keeps_one_number
def slice_(call: Call) -> Results:
    """A run of entries of one axis."""
    rep = call.solver.representation(call.operands[0].rep)
    dim = call.axis(call.get("dim", 0), len(rep.axes))
    part = picked(call, rep.axes[dim], call.run(rep.shape[dim]))
    lists.decided(call)
    return call.solver.representation(rep.with_axis(dim, part))


@rule("select", "`a -> `: the entry must be its own mirror image; its sign stays", trait=Entry())
@op("select.int", sample(_x, 1, 0), sample(_x, 1, -1), sample(_x, 0, 1))
@keeps_one_number
def select(call: Call) -> Results:
    """One entry of an axis."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    dim = call.axis(call["dim"], len(rep.axes))
    entry = call["index"] % rep.shape[dim]
    part = part_of(rep.axes[dim], range(entry, entry + 1), solver)
    return without_axis(solver.representation(rep.with_axis(dim, part)), dim)


@rule(
    "index",
    "`a -> a'`: the list of entries must be closed under the mirror; which copies of an entry are partners is "
    "what the readers of the result need, or they are paired in order. Several lists that are read side by "
    "side are one list of an axis `(a b)`; lists that are crossed are one for each axis. Where entries are "
    "computed, `1a`",
    trait=Pick(lists="indices"),
)
@op("index.Tensor", sample(_x, [None, [3, 1, 2, 0]]), sample(_x, [None, [0, 1]]))
@op("index.Tensor", sample(_x, [None, [0, 0, 1, 1, 3, 2]]), sample(_x, [[-1, 0]]))
@op("index.Tensor", sample(_x, [None, [True, False, True, True]]))
@op("index.Tensor", sample(normal(4, 4), [[0, 1, 2, 1], [1, 0, 2, 3]]))
@op("index.Tensor", sample(normal(4, 3), [[[0], [3]], [[2, 0, 1]]]))
@op("index.Tensor", sample(normal(2, 4, 3), [None, [[0, 1], [2, 3]]]))
@op("index.Tensor", sample(normal(4, 3, 2), [[1, 2], None, [0, 1]]))
@op("index_select", sample(_x, 1, [2, 3, 1]), sample(_x, 1, [1, 2]), trait=Pick())
@keeps_one_number
def index(call: Call) -> Results:
    """Entries picked by constant lists along one or more axes, or by computed ones."""
    rep = call.solver.representation(call.operands[0].rep)
    if "indices" not in call.arguments:
        dim, entries = call.axis(call["dim"], len(rep.axes)), call["index"]
        # index_select, with one list along `dim`; torch's index has a list, or none, for every axis.
        if is_computed([entries]):
            selected = computed(call, rep, [*[None] * dim, entries])
            if len(selected.axes) < len(rep.axes):  # a number picks an axis of one entry here
                selected = SymbolicRepresentation((*selected.axes[:dim], (), *selected.axes[dim:]), selected.sign)
        else:
            selected = rep.with_axis(dim, picked(call, rep.axes[dim], entries_of(call, entries)))
    elif is_computed(call["indices"]):
        selected = computed(call, rep, call["indices"])
    else:
        selected = at_lists(call, rep, call["indices"])
    lists.decided(call)
    return call.solver.representation(selected)


def still(call: Call, index: Operand) -> None:
    """A constant index is no data: the mirror that moves what it names leaves the constant itself alone."""
    for axis in call.solver.representation(index.rep).axes:
        call.solver.trivial(axis)


def entries_of(call: Call, value: object) -> list[int]:
    """A constant list of entries, or a constant mask. Raises Conflict for anything else."""
    if not isinstance(value, Operand) or value.constant is None:
        raise Conflict("an index that is computed from the input")
    if value.constant.ndim > 1 or value.constant.is_floating_point():
        raise Conflict(f"an index of {value.constant.ndim} axes ({value.constant.dtype})")
    still(call, value)
    # A mask names the entries at which it is true: [True, False, True] is [0, 2].
    if value.constant.dtype == torch.bool:
        return value.constant.nonzero().reshape(-1).tolist()
    return value.constant.reshape(-1).tolist()


Indices = Sequence[Operand | None]
"""As `x[:, rows, columns]` has them: a list for each axis, None where all entries are taken."""


def is_computed(indices: Indices) -> bool:
    """Whether one of several lists of entries is computed from the input."""
    return any(item is not None and item.constant is None for item in indices)


def lists_by_axis(call: Call, indices: Indices) -> dict[int, torch.Tensor]:
    """The constant lists by the axis that they index; a mask of several axes is a list for each."""
    by_axis: dict[int, torch.Tensor] = {}
    dim = 0
    for item in indices:
        if item is None:
            dim += 1
            continue
        values = item.constant
        if values is None or values.is_floating_point():
            raise Conflict("an index that is computed from the input")
        still(call, item)
        # A mask over two axes is a list of rows and a list of columns, read side by side.
        tables = values.nonzero(as_tuple=True) if values.dtype == torch.bool else (values,)
        for entries in tables:
            by_axis[dim] = entries
            dim += 1
    return by_axis


def at_lists(call: Call, rep: SymbolicRepresentation, indices: Indices) -> SymbolicRepresentation:
    """The entries that constant lists pick, along the axes where torch puts them."""
    by_axis = lists_by_axis(call, indices)
    shape = torch.broadcast_shapes(*(tuple(entries.shape) for entries in by_axis.values()))
    taken, sign = _positions(call, rep, by_axis, tuple(shape))
    return SymbolicRepresentation(_placed(rep, sorted(by_axis), taken), rep.sign * sign)


def _placed(rep: SymbolicRepresentation, dims: Sequence[int], taken: Sequence[Axis]) -> tuple[Axis, ...]:
    """The axes of a tensor with those of `dims` replaced by the axes of the lists, where torch puts these.

    In place of the first if `dims` are adjacent, else in front of all: x[:, rows, columns] and x[rows, :, columns].
    """
    rest = [axis for dim, axis in enumerate(rep.axes) if dim not in dims]
    adjacent = dims[-1] - dims[0] + 1 == len(dims)
    start = dims[0] if adjacent else 0
    return (*rest[:start], *taken, *rest[start:])


def _positions(
    call: Call, rep: SymbolicRepresentation, by_axis: dict[int, torch.Tensor], shape: tuple[int, ...]
) -> tuple[list[Axis], Sign]:
    """An axis for each axis of the lists together, and a sign: crossed lists one by one, others side by side."""
    # rows [[0], [3]] and columns [[2, 0, 1]] vary along axes 0 and 1: crossed. rows [0, 1] and columns [1, 2] both vary
    # along axis 0.
    padded = {dim: _narrowed(entries, len(shape)) for dim, entries in by_axis.items()}
    varying = {dim: _varying(entries) for dim, entries in padded.items()}
    used = [position for positions in varying.values() for position in positions]
    axes: list[Axis] = [()] * len(shape)
    # Along an axis of the result that no list varies along, entries are only repeated.
    for position, size in enumerate(shape):
        if position not in used:
            axes[position] = _copies(call, position, size)
    # No axis along which two of the lists change: they are crossed.
    if len(used) == len(set(used)):
        return axes, _cross(call, rep, padded, varying, axes, shape)
    # Else they are read side by side, as one list into a product of axes.
    used = sorted(set(used))
    wide = [1] * len(shape)
    for position in used:
        wide[position] = shape[position]
    flat = [entries.expand(wide).reshape(-1).tolist() for entries in padded.values()]
    part = lists.together(call, [rep.axes[dim] for dim in padded], flat)
    _fill(axes, used, part, shape, call.solver)
    return axes, 1


def _cross(
    call: Call,
    rep: SymbolicRepresentation,
    padded: dict[int, torch.Tensor],
    varying: dict[int, list[int]],
    axes: list[Axis],
    shape: tuple[int, ...],
) -> Sign:
    """Put the axis of every list where that list varies, into `axes`; returns the sign of lists of a single entry.

    padded: the lists by the axis that they index.  varying: along which axes of the result each of them changes.
    """
    sign: Sign = 1
    for dim, entries in padded.items():
        part = picked(call, rep.axes[dim], entries.reshape(-1).tolist(), f"list {dim}")
        # A list of one entry has no axis that could hold the entry's sign.
        if entries.numel() == 1:
            sign *= call.solver.representation(SymbolicRepresentation((part,))).sign
        else:
            _fill(axes, varying[dim], part, shape, call.solver)
    return sign


def _fill(axes: list[Axis], positions: Sequence[int], part: Axis, shape: tuple[int, ...], solver: Solver) -> None:
    """Cut an axis into factors of the sizes that `shape` has at some positions, and put these there."""
    sizes = [shape[position] for position in positions]
    for position, axis in zip(positions, solver.regroup([part], sizes), strict=True):
        axes[position] = axis


def _varying(entries: torch.Tensor) -> list[int]:
    """The axes along which a table of entries changes."""
    return [position for position, size in enumerate(entries.shape) if size != 1]


def _narrowed(entries: torch.Tensor, ndim: int) -> torch.Tensor:
    """A table of entries, of `ndim` axes, with one entry along those along which it only repeats itself."""
    values = entries.reshape((1,) * (ndim - entries.ndim) + tuple(entries.shape))
    # [[0, 0], [3, 3]] varies along its first axis alone and becomes [[0], [3]]. A single list is left as it is.
    if entries.ndim < 2:
        return values
    for position in range(ndim):
        first = values.narrow(position, 0, 1)
        if values.shape[position] > 1 and bool((values == first).all()):
            values = first
    return values


def _copies(call: Call, position: int, size: int) -> Axis:
    """An axis of copies: it may be permuted at will."""
    if call.key and size > 1:
        return call.solver.unknown_at(f"{call.key}[copies {position}]", size)
    return trivial(size)


def computed(call: Call, rep: SymbolicRepresentation, indices: Indices) -> SymbolicRepresentation:
    """Entries that are computed: the axes that they name must stay in place, the axes of the list may move.

    Raises Conflict for a computed mask: how many entries it picks, and which, depends on the input.
    """
    solver = call.solver
    given = {dim: item for dim, item in enumerate(indices) if item is not None}
    dims, reps = list(given), [plain_of(item, call) for item in given.values()]
    if any(item.truth for item in given.values()):
        raise Conflict("a mask that is computed from the input, or beside an index that is")
    # x[f(x)]: T x is read at f(T x), which is f(x) moved. The entries named are the same only if T moves none of them.
    for dim in dims:
        solver.trivial(rep.axes[dim])
    # Lists that are read side by side are broadcast; where two have the same axis it moves alike.
    ndim = max(len(index_rep.axes) for index_rep in reps)
    axes: list[Axis] = [()] * ndim
    for index_rep in reps:
        for position, axis in enumerate(index_rep.axes, ndim - len(index_rep.axes)):
            if axis:
                if axes[position]:
                    solver.equal(axis, axes[position])
                axes[position] = axis
    return SymbolicRepresentation(_placed(rep, dims, axes), rep.sign)
