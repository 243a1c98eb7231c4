"""Parts of a tensor, and parts put together: slices, indices, concatenations, writes into a slice."""

from __future__ import annotations

from collections.abc import Sequence

from chiralize.rules._families import rule, tensor
from chiralize.rules._products import equal_sum
from chiralize.rules._registry import Call, Operand, Results, Sample, Uniform, normal
from chiralize.rules._solver import Conflict, Solver, Wait
from chiralize.symbolic import Axis, Known, SymbolicRepresentation, axis_size, is_known, trivial

_x = normal(3, 4)


def _span(call: Call, size: int) -> range:
    """The entries a slice takes."""
    return range(size)[slice(call.get("start"), call.get("end"), call.get("step", 1))]


def _part(axis: Axis, entries: range, solver: Solver) -> Axis:
    """The axis of a slice; the whole must be a direct sum with the slice as a part."""
    size = axis_size(axis)
    if len(entries) == size:
        return solver.resolve(axis)
    if entries.step != 1 or is_known(solver.resolve(axis)) or not len(entries):
        return solver.pick(axis, entries)
    ends = sorted({entries.start, entries.stop, size} - {0})
    return solver.cut(axis, ends)[ends.index(entries.stop)]


@rule("slice", "aten.slice.Tensor", "aten.narrow.default",
      statement="`(a + b + c) -> b`: the part must be closed under the mirror",
      samples={"aten.slice.Tensor": [Sample((_x, 1, 0, 2)), Sample((_x, 1, 1, 3)), Sample((_x, 1, 0, 4, 2)), Sample((_x, 1, -1))],
               "aten.narrow.default": [Sample((_x, 1, 1, 2))]})  # fmt: skip
def slice_(call: Call) -> Results:
    """A run of entries of one axis."""
    rep = call.solver.representation(call.operands[0].rep)
    dim = call.axis(call.get("dim", 0), len(rep.axes))
    size = rep.shape[dim]
    if "length" in call.arguments:
        start = call["start"] % size
        entries = range(start, start + call["length"])
    else:
        entries = _span(call, size)
    part = _part(rep.axes[dim], entries, call.solver)
    return call.solver.representation(rep.with_axis(dim, part))


@rule("select", "aten.select.int", statement="`a -> `: the entry must be its own mirror image; its sign stays",
      samples=[Sample((_x, 1, 0)), Sample((_x, 1, -1)), Sample((_x, 0, 1))])  # fmt: skip
def select(call: Call) -> Results:
    """One entry of an axis."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    dim = call.axis(call["dim"], len(rep.axes))
    entry = call["index"] % rep.shape[dim]
    part = _part(rep.axes[dim], range(entry, entry + 1), solver)
    picked = solver.representation(rep.with_axis(dim, part))
    return SymbolicRepresentation(picked.axes[:dim] + picked.axes[dim + 1 :], picked.sign)


@rule("index", "aten.index.Tensor", "aten.index_select.default",
      statement="`a -> a'`: the list of entries must be closed under the mirror",
      samples={"aten.index.Tensor": [Sample((_x, [None, [3, 1, 2, 0]])), Sample((_x, [None, [0, 1]])), Sample((_x, [None, [0, 0, 1, 1, 3, 2]]))],
               "aten.index_select.default": [Sample((_x, 1, [2, 3, 1]))]},
      incomplete="entries chosen several times are paired in order only")  # fmt: skip
def index(call: Call) -> Results:
    """Entries picked by a constant list along one axis."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    if "indices" in call.arguments:
        used = [(dim, value) for dim, value in enumerate(call["indices"]) if value is not None]
        if len(used) != 1:
            raise Conflict("indexing by several lists at once")
        dim, entries = used[0][0], _entries(used[0][1])
    else:
        dim, entries = call.axis(call["dim"], len(rep.axes)), _entries(call["index"])
    size = rep.shape[dim]
    part = solver.pick(rep.axes[dim], [entry % size for entry in entries])
    return solver.representation(rep.with_axis(dim, part))


def _entries(value: object) -> list[int]:
    if not isinstance(value, Operand) or value.constant is None:
        raise Conflict("an index that is computed from the input")
    if value.constant.ndim != 1 or value.constant.is_floating_point():
        raise Conflict(f"an index of {value.constant.ndim} axes ({value.constant.dtype})")
    if value.constant.dtype.itemsize == 1 and str(value.constant.dtype) == "torch.bool":
        return value.constant.nonzero().reshape(-1).tolist()
    return value.constant.tolist()


def _signed(rep: SymbolicRepresentation, dim: int, solver: Solver) -> SymbolicRepresentation:
    """Move an overall sign into the given axis, so that the tensor can become a part of a larger one."""
    if rep.sign > 0:
        return rep
    axis = solver.resolve(rep.axes[dim])
    if not is_known(axis):
        raise Wait("a negated tensor is concatenated along an axis that is not known yet")
    from chiralize.rules._solver import product

    return SymbolicRepresentation(rep.with_axis(dim, (Known(-product(axis)),)).axes, 1)


@rule("concatenate", "aten.cat.default", statement="`a, b -> (a + b)`, other axes alike",
      samples=[Sample(([normal(3, 4), normal(3, 2)], 1)), Sample(([normal(3, 4), normal(3, 4)], -1)),
               Sample(([normal(3, 4), normal(2, 4)], 0))],
      incomplete="parts are kept in place; equal parts could also swap")  # fmt: skip
def cat(call: Call) -> Results:
    """Tensors side by side along an axis."""
    solver = call.solver
    tensors = [operand for operand in call.operands if operand.shape != (0,)]
    dim = call.axis(call.get("dim", 0), len(tensors[0].shape))
    reps = [_signed(solver.representation(operand.rep), dim, solver) for operand in tensors]
    rest = [SymbolicRepresentation(rep.axes[:dim] + rep.axes[dim + 1 :]) for rep in reps]
    for other in rest[1:]:
        for ours, theirs in zip(rest[0].axes, other.axes, strict=True):
            if solver.same(ours, theirs) < 0:
                raise Conflict("concatenated tensors differ by a sign")
    joined = solver.concatenate([rep.axes[dim] for rep in reps])
    return reps[0].with_axis(dim, joined)


@rule("stack", "aten.stack.default", statement="`a, a -> 1 a`: the tensors transform alike",
      samples=[Sample(([normal(3, 4), normal(3, 4)], 1))],
      incomplete="the new axis is trivial; tensors are not swapped with each other")  # fmt: skip
def stack(call: Call) -> Results:
    """Tensors along a new axis."""
    dim = call.axis(call.get("dim", 0), len(call.shape))
    rep = equal_sum(call.operands, call.operands[0].shape, call.solver)
    return SymbolicRepresentation(rep.axes[:dim] + (trivial(len(call.operands)),) + rep.axes[dim:], rep.sign)


@rule("split", "aten.split.Tensor", "aten.split_with_sizes.default", "aten.chunk.default", "aten.unbind.int",
      statement="`(a + b) -> a, b`",
      samples={"aten.split.Tensor": [Sample((_x, 2, 1))], "aten.split_with_sizes.default": [Sample((_x, [1, 3], 1))],
               "aten.chunk.default": [Sample((_x, 2, 1))], "aten.unbind.int": [Sample((_x, 1))]})  # fmt: skip
def split(call: Call) -> Results:
    """One axis cut into runs."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    dim = call.axis(call.get("dim", 0), len(rep.axes))
    unbind = call.target.startswith("aten.unbind")
    sizes = [1 if unbind or shape is None else shape[dim] for shape in call.shapes]
    ends = [sum(sizes[: place + 1]) for place in range(len(sizes))]
    parts = [solver.representation(rep.with_axis(dim, part)) for part in solver.cut(rep.axes[dim], ends)]
    if unbind:
        return tuple(SymbolicRepresentation(part.axes[:dim] + part.axes[dim + 1 :], part.sign) for part in parts)
    return tuple(parts)


@rule("write into a slice", "aten.slice_scatter.default", "aten.select_scatter.default",
      statement="`(a + b + c), b -> (a + b + c)`",
      samples={"aten.slice_scatter.default": [Sample((_x, normal(3, 2), 1, 1, 3))],
               "aten.select_scatter.default": [Sample((_x, normal(3), 1, 2))]})  # fmt: skip
def scatter(call: Call) -> Results:
    """A tensor with one part replaced: the new part transforms as the old one did."""
    solver = call.solver
    rep = solver.representation(tensor(call["self"]).rep)
    source = solver.representation(tensor(call["src"]).rep)
    dim = call.axis(call.get("dim", 0), len(rep.axes))
    single = "index" in call.arguments
    entry = call["index"] % rep.shape[dim] if single else 0
    entries = range(entry, entry + 1) if single else _span(call, rep.shape[dim])
    old = solver.representation(rep.with_axis(dim, _part(rep.axes[dim], entries, solver)))
    if single:
        old = SymbolicRepresentation(old.axes[:dim] + old.axes[dim + 1 :], old.sign)
    equal_sum([Operand(old), Operand(source)], old.shape, solver)
    return rep


@rule("overwrite", "aten.copy.default", statement="`a, b -> b`", samples=[Sample((_x, normal(3, 4)))])  # fmt: skip
def copy(call: Call) -> Results:
    """The second tensor in the shape of the first."""
    rep = call.solver.representation(tensor(call["src"]).rep)
    lead = len(call.shape) - len(rep.axes)
    axes = ((),) * lead + rep.axes
    return SymbolicRepresentation(
        tuple(axis or trivial(size) for axis, size in zip(axes, call.shape, strict=True)), rep.sign
    )


def _filled(call: Call, value: object) -> Uniform:
    if isinstance(value, Operand):
        value = value.constant.item() if value.constant is not None and value.constant.numel() == 1 else None
    if value is None:
        raise Conflict("a fill value that is computed from the input")
    return Uniform(call.shape, value == 0)


@rule("fill", "aten.fill.Scalar", "aten.fill.Tensor", "aten.full_like.default", "aten.zeros_like.default",
      "aten.ones_like.default", "aten.new_zeros.default", "aten.new_ones.default", "aten.new_full.default",
      statement="one number everywhere: any representation without signs, any at all for zero",
      samples={"aten.fill.Scalar": [Sample((_x, 2.0))], "aten.fill.Tensor": [Sample((_x, normal()))],
               "aten.full_like.default": [Sample((_x, 2.0))], "aten.zeros_like.default": [Sample((_x,))],
               "aten.ones_like.default": [Sample((_x,))], "aten.new_zeros.default": [Sample((_x, [2, 4]))],
               "aten.new_ones.default": [Sample((_x, [2, 4]))], "aten.new_full.default": [Sample((_x, [2, 4], 2.0))]})  # fmt: skip
def fill(call: Call) -> Results:
    """A tensor of one repeated number."""
    name = call.target.split(".")[1]
    default = 0 if "zeros" in name else 1 if "ones" in name else None
    return _filled(call, call.get("value", call.get("fill_value", default)))


def entries_of(value: Sequence[int]) -> list[int]:
    """A list argument as entry numbers."""
    return list(value)
