"""How do parts of a tensor transform: slices, single entries, runs, lists of entries, rows of a table?

A part of an axis has a representation of its own only if the mirror takes the part to itself. Of joints 0 to 6 with the
pairs (1 4), (2 5), (3 6):

    x[:, 0]             joint 0 stays: the axis disappears, its sign goes to the tensor
    x[:, [1, 4]]        closed: the positions 0 and 1 are exchanged
    x[:, 1:4]           not closed; refused here, unless another op takes 4, 5, 6 (`exchange`)
    x[:, [0, 0, 1, 4]]  closed; positions 0 and 1 may stay or be exchanged, which readers decide (`solver.lists`)

An unknown axis is cut where a slice says: it is then a direct sum, and the mirror mixes no parts. For lists of several
axes (`x[rows, columns]`) `_positions` follows the rules of numpy: lists that vary along different axes of the result
are crossed, others are read side by side. Where entries are computed from the inputs, T x is read at f(T x): the axes
that they name stay in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch

from chiralize.graph.traits import Entry, Layout, Movement, Pick, Slice, Split
from chiralize.infer.algebra import multiply, without_axis
from chiralize.infer.rule import Answer, Call, Operand, demand_plain, rule
from chiralize.infer.rules.declare import tensor
from chiralize.infer.rules.views import copies, keeps_one_number
from chiralize.infer.solver import lists
from chiralize.infer.solver.unify import Solver
from chiralize.infer.symbolic import Axis, Conflict, Sign, SymbolicRepresentation, axis_size, is_known, trivial

Indices = Sequence[Operand | None]
"""As `x[:, rows, columns]` has them: a list for each axis, None where all entries are taken."""


# ---- entries of one axis ------------------------------------------------------------------------------------------
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


@rule("slice.Tensor", "`(a + b + c) -> b`: the part must be closed under the mirror", Slice())
@keeps_one_number
def slice_(call: Call) -> Answer:
    """A run of entries of one axis."""
    rep = call.source
    dim = call.axis(call.get("dim", 0), len(rep.axes))
    part = picked(call, rep.axes[dim], call.run(rep.shape[dim]))
    lists.decided(call)
    return call.solver.representation(rep.with_axis(dim, part))


@rule("select.int", "`a -> `: the entry must be its own mirror image; its sign stays", Entry())
@keeps_one_number
def select(call: Call) -> Answer:
    """One entry of an axis."""
    solver, rep = call.solver, call.source
    dim = call.axis(call["dim"], len(rep.axes))
    entry = call["index"] % rep.shape[dim]
    part = part_of(rep.axes[dim], range(entry, entry + 1), solver)
    return without_axis(solver.representation(rep.with_axis(dim, part)), dim)


@rule("split_with_sizes", "`(a + b) -> a, b`", Split(lengths="split_sizes"))
@rule("unbind.int", "`(a + b) -> a, b`, each of one entry, without the axis", Split(is_single=True))
def split(call: Call) -> Answer:
    """One axis cut into runs, which the mirror does not mix (where it exchanges whole parts, `exchange` answers)."""
    solver, rep = call.solver, call.source
    dim = call.axis(call.get("dim", 0), len(rep.axes))
    sizes = call.get("split_sizes", [1] * len(call.shapes))
    parts = [
        solver.representation(rep.with_axis(dim, part)) for part in solver.cut(rep.axes[dim], [*accumulate(sizes)])
    ]
    # A part of one entry without the axis: the sign of that entry goes to the tensor.
    return tuple(parts if "split_sizes" in call.arguments else [without_axis(part, dim) for part in parts])


# ---- lists of entries ---------------------------------------------------------------------------------------------
_INDEX = (
    "`a -> a'`: the list of entries must be closed under the mirror; which copies of an entry are partners is what the "
    "readers of the result need, or they are paired in order. Several lists that are read side by side are one list of "
    "an axis `(a b)`; lists that are crossed are one for each axis. Where entries are computed, `1a`"
)


@rule("index.Tensor", _INDEX, Pick(lists="indices"))
@keeps_one_number
def index(call: Call) -> Answer:
    """Entries picked by constant lists along one or more axes, or by computed ones."""
    taken = at_places(call, call.source, call["indices"])
    lists.decided(call)
    return call.solver.representation(taken)


@rule("index_select", _INDEX, Pick())
@keeps_one_number
def index_select(call: Call) -> Answer:
    """Entries picked by one list along `dim`."""
    taken = along_list(call, call.source, tensor(call["index"]))
    lists.decided(call)
    return call.solver.representation(taken)


@rule(
    "embedding",
    "`n f, n' -> n' f` for constant rows, as an index; `1n f, +... -> +... f` for computed ones",
    Movement(),
)
def embedding(call: Call) -> Answer:
    """Rows of a table, e.g. one for every joint or frame."""
    # Computed numbers of rows, such as tokens, are the same in both views, so T must not renumber the table.
    taken = at_places(call, call.representations("weight")[0], [tensor(call["indices"])])
    lists.decided(call)
    return call.solver.representation(taken)


def along_list(call: Call, rep: SymbolicRepresentation, index: Operand) -> SymbolicRepresentation:
    """The entries of a tensor that one list picks along the axis `dim` of the call; a number picks an axis of one."""
    dim = call.axis(call["dim"], len(rep.axes))
    taken = at_places(call, rep, [*[None] * dim, index])
    if index.ndim:
        return taken
    return SymbolicRepresentation((*taken.axes[:dim], (), *taken.axes[dim:]), taken.sign)


def still(call: Call, index: Operand) -> None:
    """A constant index is no data: the mirror that moves what it names leaves the constant itself alone."""
    for axis in call.solver.representation(index.rep).axes:
        call.solver.trivial(axis)


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


def at_places(call: Call, rep: SymbolicRepresentation, indices: Indices) -> SymbolicRepresentation:
    """The entries of a tensor that lists pick, along the axes where torch puts them. Raises Conflict and Wait."""
    if is_computed(indices):
        return computed(call, rep, indices)
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
    varying = {dim: _longer_axes(entries) for dim, entries in padded.items()}
    used = [position for positions in varying.values() for position in positions]
    axes: list[Axis] = [()] * len(shape)
    # Along an axis of the result that no list varies along, entries are only repeated.
    for position, size in enumerate(shape):
        if position not in used:
            axes[position] = copies(call, f"copies {position}", size)
    # No axis along which two of the lists change: they are crossed.
    if len(used) == len(set(used)):
        return axes, _cross(call, rep, padded, varying, axes, shape)
    # Else they are read side by side, as one list into a product of axes.
    used = sorted(set(used))
    wide = [size if position in used else 1 for position, size in enumerate(shape)]
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


def _longer_axes(entries: torch.Tensor) -> list[int]:
    """The axes along which a table of entries changes, which `_narrowed` has left longer than 1."""
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


def computed(call: Call, rep: SymbolicRepresentation, indices: Indices) -> SymbolicRepresentation:
    """Entries that are computed: the axes that they name must stay in place, the axes of the list may move.

    Raises Conflict for a computed mask: how many entries it picks, and which, depends on the input.
    """
    solver = call.solver
    given = {dim: item for dim, item in enumerate(indices) if item is not None}
    reps = [solver.representation(demand_plain(item.rep, solver)) for item in given.values()]
    if any(item.truth for item in given.values()):
        raise Conflict("a mask that is computed from the input, or beside an index that is")
    # x[f(x)]: T x is read at f(T x), which is f(x) moved. The entries named are the same only if T moves none of them.
    for dim in given:
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
    return SymbolicRepresentation(_placed(rep, list(given), axes), rep.sign)


# ---- an index with as many axes as the tensor ---------------------------------------------------------------------
def as_list(index: torch.Tensor, dim: int) -> list[int] | None:
    """The list along `dim` that an index tensor repeats along all other axes: [[3, 1], [3, 1]] is 3, 1; else None."""
    rows = index.movedim(dim, -1).reshape(-1, index.shape[dim]) if index.ndim else index.reshape(1, 1)
    if len(rows) and bool((rows == rows[:1]).all()):
        return rows[0].tolist()
    return None


def named(call: Call, rep: SymbolicRepresentation, dim: int, index: Operand) -> SymbolicRepresentation:
    """The representation of the entries that an index tensor of as many axes as `rep` names along `dim`.

    Raises Conflict where the mirror does not take these entries to each other, Wait while that is open.
    """
    if index.ndim == 0:
        raise Conflict("an index without axes")
    if index.constant is None:
        return _named_by_computed(call, rep, dim, index)
    # From here on the index is a constant: T moves what it names, and not the numbers in it.
    still(call, index)
    listed = as_list(index.constant, dim)
    if listed is None:
        raise Conflict("an index whose entries differ from row to row")
    axes = list(rep.axes)
    # An index may be shorter than the tensor along the other axes: only the first entries are read there.
    for position, length in enumerate(index.shape):
        if position != dim and length != rep.shape[position]:
            axes[position] = picked(call, axes[position], range(length), f"other {position}")
    axes[dim] = picked(call, rep.axes[dim], listed)
    return call.solver.representation(SymbolicRepresentation(tuple(axes), rep.sign))


def _named_by_computed(call: Call, rep: SymbolicRepresentation, dim: int, index: Operand) -> SymbolicRepresentation:
    """An index computed from the input: the axis that it names stays in place, the others move alike."""
    solver = call.solver
    index_rep = solver.representation(demand_plain(index.rep, solver))
    solver.trivial(rep.axes[dim])
    axes: list[Axis] = []
    for position, (axis, index_axis) in enumerate(zip(rep.axes, index_rep.axes, strict=True)):
        # Along `dim` the result has the positions of the index. Along the others row b is read by row b of the index:
        # both move alike, or, where only the first rows are read, neither moves.
        if position == dim:
            axes.append(index_axis)
        elif rep.shape[position] == index.shape[position]:
            solver.equal(index_axis, solver.absolute(axis))
            axes.append(axis)
        else:
            solver.trivial(axis)
            solver.trivial(index_axis)
            axes.append(index_axis)
    return SymbolicRepresentation(tuple(axes), rep.sign)


@rule(
    "gather",
    "`a -> a'` along one axis, as an index with a constant list; where it is computed, `... 1a, +... +k -> ... +k`",
    Movement(),
    incomplete="of several ways to pair the copies of an entry one is chosen",
)
def gather(call: Call) -> Answer:
    """out[b, k] = x[b, index[b, k]]."""
    rep = call.source
    gathered = named(call, rep, call.axis(call["dim"], len(rep.axes)), tensor(call["index"]))
    lists.decided(call)
    return gathered


# ---- places that are told apart -----------------------------------------------------------------------------------
@rule("one_hot", "`+... -> +... 1n`: the classes stay in place")
def one_hot(call: Call) -> Answer:
    """1 in the place that a whole number names. Numbers of classes are the same for both views, so nothing moves."""
    rep = demand_plain(call.source, call.solver)
    return SymbolicRepresentation((*rep.axes, trivial(call.shape[-1])))


@rule(
    "diagonal diagonal_copy",
    "`... a b -> ... ab`: both move alike, signs multiply; off the middle `... 1a 1b -> ... 1c`",
    Layout(),
    incomplete="a diagonal off the middle could be reversed, and signs could pass there",
)
def diagonal(call: Call) -> Answer:
    """x[i, i]: (i, i) goes to (p(i), q(i)), which is on the diagonal where both axes are permuted alike."""
    solver, rep = call.solver, call.source
    first, second = call.axes([call.get("dim1", 0), call.get("dim2", 1)], len(rep.axes))
    rest = tuple(axis for position, axis in enumerate(rep.axes) if position not in (first, second))
    # Entry (i, i + 1) goes to (p(i), p(i + 1)), which is on the same diagonal only if p keeps neighbours in order.
    if call.get("offset", 0) or rep.shape[first] != rep.shape[second]:
        solver.trivial(rep.axes[first])
        solver.trivial(rep.axes[second])
        return SymbolicRepresentation((*rest, trivial(call.shape[-1])), rep.sign)
    both = multiply(rep.axes[first], rep.axes[second], solver)
    return solver.representation(SymbolicRepresentation((*rest, both), rep.sign))
