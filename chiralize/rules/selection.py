"""Parts of a tensor: slices, single entries, lists of entries, runs."""

from __future__ import annotations

from chiralize.rules._families import rule, tensor
from chiralize.rules._registry import Call, Operand, Results, Sample, normal
from chiralize.rules._solver import Solver
from chiralize.rules._terms import Conflict
from chiralize.symbolic import Axis, SymbolicRepresentation, axis_size, is_known, trivial

_x = normal(3, 4)


def span(call: Call, size: int) -> range:
    """The entries that the start, end and step of a call take."""
    return range(size)[slice(call.get("start"), call.get("end"), call.get("step", 1))]


def part_of(axis: Axis, entries: range, solver: Solver) -> Axis:
    """The axis of a slice; the whole must be a direct sum with the slice as a part."""
    size = axis_size(axis)
    if len(entries) == size:
        return solver.resolve(axis)
    if entries.step != 1 or is_known(solver.resolve(axis)) or not len(entries):
        return solver.pick(axis, entries)
    ends = sorted({entries.start, entries.stop, size} - {0})
    return solver.cut(axis, ends)[ends.index(entries.stop)]


def without(rep: SymbolicRepresentation, dim: int) -> SymbolicRepresentation:
    """The representation of a tensor that loses an axis of size 1; a lone sign there goes to the front."""
    return SymbolicRepresentation(rep.axes[:dim] + rep.axes[dim + 1 :], rep.sign)


@rule("slice", "aten.slice.Tensor", "aten.narrow.default",
      statement="`(a + b + c) -> b`: the part must be closed under the mirror",
      samples={"aten.slice.Tensor": [Sample((_x, 1, 0, 2)), Sample((_x, 1, 1, 3)), Sample((_x, 1, 0, 4, 2)),
                                     Sample((_x, 1, -1)), Sample((_x, -1, None, -1)), Sample((_x, 0, 1,
                                         9223372036854775807))],
               "aten.narrow.default": [Sample((_x, 1, 1, 2)), Sample((_x, -1, -2, 2))]})  # fmt: skip
def slice_(call: Call) -> Results:
    """A run of entries of one axis."""
    rep = call.solver.representation(call.operands[0].rep)
    dim = call.axis(call.get("dim", 0), len(rep.axes))
    size = rep.shape[dim]
    if "length" in call.arguments:
        start = call["start"] % size if call["start"] < 0 else call["start"]
        entries = range(start, start + call["length"])
    else:
        entries = span(call, size)
    return call.solver.representation(rep.with_axis(dim, part_of(rep.axes[dim], entries, call.solver)))


@rule("select", "aten.select.int", statement="`a -> `: the entry must be its own mirror image; its sign stays",
      samples=[Sample((_x, 1, 0)), Sample((_x, 1, -1)), Sample((_x, 0, 1))])  # fmt: skip
def select(call: Call) -> Results:
    """One entry of an axis."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    dim = call.axis(call["dim"], len(rep.axes))
    entry = call["index"] % rep.shape[dim]
    part = part_of(rep.axes[dim], range(entry, entry + 1), solver)
    return without(solver.representation(rep.with_axis(dim, part)), dim)


@rule("index", "aten.index.Tensor", "aten.index_select.default",
      statement="`a -> a'`: the list of entries must be closed under the mirror; copies are paired in order",
      samples={"aten.index.Tensor": [Sample((_x, [None, [3, 1, 2, 0]])), Sample((_x, [None, [0, 1]])),
                                     Sample((_x, [None, [0, 0, 1, 1, 3, 2]])), Sample((_x, [[-1, 0]])),
                                     Sample((_x, [None, [True, False, True, True]]))],
               "aten.index_select.default": [Sample((_x, 1, [2, 3, 1]))]})  # fmt: skip
def index(call: Call) -> Results:
    """Entries picked by a constant list along one axis."""
    rep = call.solver.representation(call.operands[0].rep)
    if "indices" in call.arguments:
        dim, entries = listed(call["indices"])
    else:
        dim, entries = call.axis(call["dim"], len(rep.axes)), entries_of(call["index"])
    size = rep.shape[dim]
    part = call.solver.pick(rep.axes[dim], [entry % size for entry in entries])
    return call.solver.representation(rep.with_axis(dim, part))


def listed(indices: list[Operand | None]) -> tuple[int, list[int]]:
    """The one axis that is indexed, and its entries. Raises Conflict for several axes."""
    used = [(dim, value) for dim, value in enumerate(indices) if value is not None]
    if len(used) != 1:
        raise Conflict("indexing by several lists at once")
    return used[0][0], entries_of(used[0][1])


def entries_of(value: object) -> list[int]:
    """A constant list of entries, or a constant mask. Raises Conflict for anything else."""
    if not isinstance(value, Operand) or value.constant is None:
        raise Conflict("an index that is computed from the input")
    if value.constant.ndim != 1 or value.constant.is_floating_point():
        raise Conflict(f"an index of {value.constant.ndim} axes ({value.constant.dtype})")
    if str(value.constant.dtype) == "torch.bool":
        return value.constant.nonzero().reshape(-1).tolist()
    return value.constant.tolist()


@rule("embedding", "aten.embedding.default",
      statement="`n f, n' -> n' f` for a constant list of rows; `1n f, +... -> +... f` for a computed one",
      samples=[Sample((normal(4, 3), [0, 1, 2, 3]), {}, frozenset({0})), Sample((normal(4, 3), [2, 1]), {},
          frozenset({0})),
               Sample((normal(4, 3), [[0, 1, 2, 3]]), {}, frozenset({0}))])  # fmt: skip
def embedding(call: Call) -> Results:
    """Rows of a table, e.g. one for every joint or frame."""
    solver = call.solver
    table, rows = solver.representation(tensor(call["weight"]).rep), tensor(call["indices"])
    if rows.constant is None:
        rep = solver.representation(rows.rep)
        solver.trivial(table.axes[0])
        for axis in rep.axes:
            solver.sign_free(axis)
        return SymbolicRepresentation((*rep.axes, table.axes[1]), rep.sign * table.sign)
    last = rows.constant.reshape(-1, rows.constant.shape[-1]) if rows.constant.ndim else rows.constant.reshape(1, 1)
    if bool((last != last[:1]).any()):
        raise Conflict("a constant table of rows that differs along several axes")
    entries = last[0].tolist()
    whole = entries == list(range(table.shape[0]))
    axis = solver.resolve(table.axes[0]) if whole else solver.pick(table.axes[0], entries)
    lead = tuple(trivial(size) for size in call.shape[: max(rows.constant.ndim - 1, 0)])
    kept = (axis,) if rows.constant.ndim else ()
    return solver.representation(SymbolicRepresentation((*lead, *kept, table.axes[1]), table.sign))


@rule("split", "aten.split.Tensor", "aten.split_with_sizes.default", "aten.chunk.default", "aten.unbind.int",
      "aten.unsafe_split.Tensor", "aten.unsafe_chunk.default",
      statement="`(a + b) -> a, b`",
      samples={"aten.split.Tensor": [Sample((_x, 2, 1))], "aten.split_with_sizes.default": [Sample((_x, [1, 3], 1))],
               "aten.chunk.default": [Sample((_x, 2, 1)), Sample((_x, 2, -1))],
               "aten.unsafe_split.Tensor": [Sample((_x, 2, 1))], "aten.unsafe_chunk.default": [Sample((_x, 2, 1))],
               "aten.unbind.int": [Sample((_x, 1)), Sample((_x, -2))]})  # fmt: skip
def split(call: Call) -> Results:
    """One axis cut into runs."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    dim = call.axis(call.get("dim", 0), len(rep.axes))
    unbind = call.target.startswith("aten.unbind")
    sizes = [1 if unbind or shape is None else shape[dim] for shape in call.shapes]
    ends = [sum(sizes[: place + 1]) for place in range(len(sizes))]
    parts = [solver.representation(rep.with_axis(dim, part)) for part in solver.cut(rep.axes[dim], ends)]
    return tuple(without(part, dim) for part in parts) if unbind else tuple(parts)
