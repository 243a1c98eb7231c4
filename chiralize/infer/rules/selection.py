"""Parts of a tensor: slices, single entries, lists of entries, runs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from chiralize.infer.registry import Call, Operand, Results, Sample, normal
from chiralize.infer.rules._families import plain_of, rule
from chiralize.infer.rules.filling import repeated
from chiralize.infer.solver import lists
from chiralize.infer.solver.terms import Conflict
from chiralize.infer.solver.unify import Solver
from chiralize.symmetry.symbolic import Axis, Sign, SymbolicRepresentation, axis_size, is_known, trivial

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


def picked(call: Call, axis: Axis, entries: Sequence[int], name: str = "list") -> Axis:
    """The axis of entries that a slice or a constant list takes."""
    size = axis_size(axis)
    chosen = [entry % size for entry in entries]
    run = range(chosen[0], chosen[0] + len(chosen)) if chosen else range(0)
    if len(chosen) < 2 or chosen == list(run):
        return part_of(axis, run, call.solver)
    return lists.along(call, axis, chosen, name)


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
    uniform = repeated(call)
    if uniform is not None:
        return uniform
    rep = call.solver.representation(call.operands[0].rep)
    dim = call.axis(call.get("dim", 0), len(rep.axes))
    size = rep.shape[dim]
    if "length" in call.arguments:
        start = call["start"] % size if call["start"] < 0 else call["start"]
        entries = range(start, start + call["length"])
    else:
        entries = span(call, size)
    part = picked(call, rep.axes[dim], entries)
    lists.decided(call)
    return call.solver.representation(rep.with_axis(dim, part))


@rule("select", "aten.select.int", statement="`a -> `: the entry must be its own mirror image; its sign stays",
      samples=[Sample((_x, 1, 0)), Sample((_x, 1, -1)), Sample((_x, 0, 1))])  # fmt: skip
def select(call: Call) -> Results:
    """One entry of an axis."""
    uniform = repeated(call)
    if uniform is not None:
        return uniform
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    dim = call.axis(call["dim"], len(rep.axes))
    entry = call["index"] % rep.shape[dim]
    part = part_of(rep.axes[dim], range(entry, entry + 1), solver)
    return without(solver.representation(rep.with_axis(dim, part)), dim)


@rule("index", "aten.index.Tensor", "aten.index_select.default",
      statement="`a -> a'`: the list of entries must be closed under the mirror; which copies of an entry are partners "
                "is what the readers of the result need, or they are paired in order. Several lists that are read side "
                "by side are one list of an axis `(a b)`; lists that are crossed are one for each axis. Where entries "
                "are computed, `1a`",
      samples={"aten.index.Tensor": [Sample((_x, [None, [3, 1, 2, 0]])), Sample((_x, [None, [0, 1]])),
                                     Sample((_x, [None, [0, 0, 1, 1, 3, 2]])), Sample((_x, [[-1, 0]])),
                                     Sample((_x, [None, [True, False, True, True]])),
                                     Sample((normal(4, 4), [[0, 1, 2, 1], [1, 0, 2, 3]])),
                                     Sample((normal(4, 3), [[[0], [3]], [[2, 0, 1]]])),
                                     Sample((normal(2, 4, 3), [None, [[0, 1], [2, 3]]])),
                                     Sample((normal(4, 3, 2), [[1, 2], None, [0, 1]]))],
               "aten.index_select.default": [Sample((_x, 1, [2, 3, 1])), Sample((_x, 1, [1, 2]))]})  # fmt: skip
def index(call: Call) -> Results:
    """Entries picked by constant lists along one or more axes, or by computed ones."""
    uniform = repeated(call)
    if uniform is not None:
        return uniform
    rep = call.solver.representation(call.operands[0].rep)
    if "indices" not in call.arguments:
        dim = call.axis(call["dim"], len(rep.axes))
        part = picked(call, rep.axes[dim], entries_of(call, call["index"]))
        found = rep.with_axis(dim, part)
    elif any(isinstance(item, Operand) and item.constant is None for item in call["indices"]):
        found = computed(call, rep, call["indices"])
    else:
        found = at_lists(call, rep, call["indices"])
    lists.decided(call)
    return call.solver.representation(found)


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
    if value.constant.dtype == torch.bool:
        return value.constant.nonzero().reshape(-1).tolist()
    return value.constant.reshape(-1).tolist()


Indices = Sequence[Operand | None]


def lists_by_axis(call: Call, indices: Indices) -> dict[int, torch.Tensor]:
    """The constant lists by the axis that they index; a mask of several axes is a list for each."""
    found: dict[int, torch.Tensor] = {}
    dim = 0
    for item in indices:
        if item is None:
            dim += 1
            continue
        values = item.constant
        if values is None or values.is_floating_point():
            raise Conflict("an index that is computed from the input")
        still(call, item)
        for own in values.nonzero(as_tuple=True) if values.dtype == torch.bool else (values,):
            found[dim] = own
            dim += 1
    return found


def at_lists(call: Call, rep: SymbolicRepresentation, indices: Indices) -> SymbolicRepresentation:
    """What constant lists pick, in the place where torch puts it."""
    by_axis = lists_by_axis(call, indices)
    shape = torch.broadcast_shapes(*(tuple(own.shape) for own in by_axis.values()))
    taken, sign = _positions(call, rep, by_axis, tuple(shape))
    return SymbolicRepresentation(_placed(rep, sorted(by_axis), taken), rep.sign * sign)


def _placed(rep: SymbolicRepresentation, dims: Sequence[int], taken: Sequence[Axis]) -> tuple[Axis, ...]:
    rest = [axis for dim, axis in enumerate(rep.axes) if dim not in dims]
    adjacent = dims[-1] - dims[0] + 1 == len(dims)
    place = dims[0] if adjacent else 0
    return (*rest[:place], *taken, *rest[place:])


def _positions(
    call: Call, rep: SymbolicRepresentation, by_axis: dict[int, torch.Tensor], shape: tuple[int, ...]
) -> tuple[list[Axis], Sign]:
    """An axis for each axis of the lists together, and a sign: crossed lists one by one, others side by side."""
    padded = {dim: _narrowed(own.reshape((1,) * (len(shape) - own.ndim) + tuple(own.shape)), own.ndim)
              for dim, own in by_axis.items()}  # fmt: skip
    spread = {dim: [place for place, size in enumerate(own.shape) if size != 1] for dim, own in padded.items()}
    used = [place for places in spread.values() for place in places]
    axes = [() if place in used else _copies(call, place, size) for place, size in enumerate(shape)]
    if len(used) == len(set(used)):
        sign: Sign = 1
        for dim, own in padded.items():
            part = picked(call, rep.axes[dim], own.reshape(-1).tolist(), f"list {dim}")
            if own.numel() == 1:
                sign *= call.solver.representation(SymbolicRepresentation((part,))).sign
                continue
            for place, axis in zip(spread[dim], call.solver.regroup([part], [shape[p] for p in spread[dim]]),
                                   strict=True):  # fmt: skip
                axes[place] = axis
        return axes, sign
    used = sorted(set(used))
    wide = [shape[place] if place in used else 1 for place in range(len(shape))]
    flat = [own.expand(wide).reshape(-1).tolist() for own in padded.values()]
    part = lists.together(call, [rep.axes[dim] for dim in padded], flat)
    for place, axis in zip(used, call.solver.regroup([part], [shape[place] for place in used]), strict=True):
        axes[place] = axis
    return axes, 1


def _narrowed(values: torch.Tensor, ndim: int) -> torch.Tensor:
    """A table of entries without the axes along which it only repeats itself."""
    for place in range(values.ndim if ndim > 1 else 0):
        first = values.narrow(place, 0, 1)
        if values.shape[place] > 1 and bool((values == first).all()):
            values = first
    return values


def _copies(call: Call, place: int, size: int) -> Axis:
    """An axis of copies: it may be permuted at will."""
    return call.solver.kept(f"{call.key}[copies {place}]", size) if call.key and size > 1 else trivial(size)


def computed(call: Call, rep: SymbolicRepresentation, indices: Indices) -> SymbolicRepresentation:
    """Entries that are computed: the axes that they name must stay in place, the axes of the list may move."""
    solver = call.solver
    dims = [dim for dim, item in enumerate(indices) if item is not None]
    reps = [plain_of(item, call) for item in indices if item is not None]
    if any(item is not None and item.truth for item in indices):
        raise Conflict("a mask that is computed from the input, or beside an index that is")
    for dim in dims:
        solver.trivial(rep.axes[dim])
    ndim = max(len(own.axes) for own in reps)
    axes: list[Axis] = [()] * ndim
    for own in reps:
        for place, axis in enumerate(own.axes, ndim - len(own.axes)):
            if axis:
                if axes[place]:
                    solver.equal(axis, axes[place])
                axes[place] = axis
    return SymbolicRepresentation(_placed(rep, dims, axes), rep.sign)
