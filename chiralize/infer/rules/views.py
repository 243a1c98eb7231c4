"""Ops that only lay the same entries out differently: views, permutations, copies, casts, reversals."""

from __future__ import annotations

from math import prod

import torch

from chiralize.infer.registry import Call, Operand, OpRule, Results, Sample, Shape, normal, register, whole
from chiralize.infer.rules._families import even, odd, rule, spread, tensor
from chiralize.infer.rules.filling import repeated
from chiralize.infer.rules.selection import entries_of, picked
from chiralize.infer.solver import lists
from chiralize.infer.solver.terms import Conflict
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, trivial

_x = normal(3, 4)
_copies = ("aten.clone.default", "aten.contiguous.default", "aten.detach.default", "aten.alias.default",
           "aten.lift_fresh_copy.default")  # fmt: skip


def cast(call: Call) -> Results:
    """The same numbers, maybe in another type; whether one is true does not depend on its sign."""
    return even(call) if call.dtypes[:1] == (torch.bool,) else odd(call)


register(
    OpRule(
        "copy", (*_copies, "aten._to_copy.default", "aten.to.dtype", "aten.to.dtype_layout"),
        "`... -> ...`; to truth values `... -> |...|`, to other types without a minus `+... -> +...`", cast,
        {**spread([Sample((_x,))], _copies),
           "aten._to_copy.default": [Sample((_x,), {"dtype": "float64"})],
           "aten.to.dtype": [Sample((_x, "float64")), Sample((whole(3, 4), "bool"))],
           "aten.to.dtype_layout": [Sample((_x,), {"dtype": "float64"})]},
    )
)  # fmt: skip


@rule("view", "aten.view.default", "aten.reshape.default", "aten._unsafe_view.default", "aten.flatten.using_ints",
      "aten.unflatten.int", "aten.view_as.default", "aten.reshape_as.default",
      statement="`(a b) c -> a (b c)`: factors keep their order, merged axes split where the mirror is a product",
      samples={"aten.view.default": [Sample((normal(3, 4), [12])), Sample((normal(12), [3, 4])),
                                     Sample((normal(2, 6), [-1, 3]))],
               "aten.reshape.default": [Sample((normal(3, 4), [2, 6])), Sample((normal(3, 4), [3, 4, 1]))],
               "aten._unsafe_view.default": [Sample((normal(3, 4), [12]))],
               "aten.flatten.using_ints": [Sample((normal(2, 3, 4), 1))],
               "aten.unflatten.int": [Sample((normal(3, 4), 1, [2, 2]))],
               "aten.view_as.default": [Sample((normal(3, 4), normal(2, 6)))],
               "aten.reshape_as.default": [Sample((normal(3, 4), normal(12)))]})  # fmt: skip
def view(call: Call) -> Results:
    """The same entries in the same order under another shape."""
    uniform = repeated(call)
    if uniform is not None:
        return uniform
    rep = call.solver.representation(call.operands[0].rep)
    if prod(call.shape) == 0:
        return SymbolicRepresentation(tuple(trivial(size) for size in call.shape))
    return call.solver.representation(
        SymbolicRepresentation(tuple(call.solver.regroup(rep.axes, call.shape)), rep.sign)
    )


@rule("permute", "aten.permute.default", "aten.transpose.int", "aten.t.default", "aten.movedim.int",
      statement="`a b -> b a`",
      samples={"aten.permute.default": [Sample((normal(3, 4, 2), [2, 0, 1])), Sample((normal(3, 4, 2), [-1, 0, -2]))],
               "aten.transpose.int": [Sample((normal(3, 4, 2), 1, -1))],
               "aten.t.default": [Sample((normal(3, 4),)), Sample((normal(4),))],
               "aten.movedim.int": [Sample((normal(3, 4, 2), 1, 0)), Sample((normal(3, 4, 2), 0, -1))]})  # fmt: skip
def permute(call: Call) -> Results:
    """Axes in another order."""
    uniform = repeated(call)
    if uniform is not None:
        return uniform
    rep = call.operands[0].rep
    axes = list(rep.axes)
    if "dims" in call.arguments:
        axes = [axes[dim] for dim in call["dims"]]
    elif "source" in call.arguments:
        axes.insert(call.axis(call["destination"], len(axes)), axes.pop(call.axis(call["source"], len(axes))))
    elif len(axes) > 1:
        first, second = (call.axis(call.get(name, other), len(axes)) for name, other in (("dim0", 0), ("dim1", 1)))
        axes[first], axes[second] = axes[second], axes[first]
    return SymbolicRepresentation(tuple(axes), rep.sign)


@rule("squeeze", "aten.squeeze.dim", "aten.squeeze.dims", "aten.squeeze.default", "aten.unsqueeze.default",
      statement="axes of size 1 come and go",
      samples={"aten.squeeze.dim": [Sample((normal(3, 1, 4), 1)), Sample((normal(3, 1, 4), 0))],
               "aten.squeeze.dims": [Sample((normal(3, 1, 4), [1]))],
               "aten.squeeze.default": [Sample((normal(3, 1, 4),))],
               "aten.unsqueeze.default": [Sample((_x, 1)), Sample((_x, -1))]})  # fmt: skip
def squeeze(call: Call) -> Results:
    """Axes of size 1 carry nothing (a lone sign belongs to the tensor)."""
    uniform = repeated(call)
    if uniform is not None:
        return uniform
    rep = call.solver.representation(call.operands[0].rep)
    filled = iter([axis for axis in rep.axes if axis])
    return SymbolicRepresentation(tuple(next(filled) if size != 1 else () for size in call.shape), rep.sign)


@rule("expand", "aten.expand.default", "aten.expand_as.default", "aten.repeat.default", "aten.tile.default",
      statement="a stretched axis is (copies, a), the copies permuted at will",
      samples={"aten.expand.default": [Sample((normal(1, 4), [3, 4])), Sample((normal(4), [2, -1]))],
               "aten.expand_as.default": [Sample((normal(1, 4), normal(3, 4)))],
               "aten.repeat.default": [Sample((normal(3, 4), [2, 1])), Sample((normal(3, 4), [1, 2])),
                   Sample((normal(4), [2, 1]))],
               "aten.tile.default": [Sample((normal(3, 4), [2]))]},
      incomplete="copies of a longer axis could be swapped with each other")  # fmt: skip
def expand(call: Call) -> Results:
    """The same values several times; the copies of one entry are all alike."""
    uniform = repeated(call)
    if uniform is not None:
        return uniform
    return _stretched(call, call.operands[0], call.shape, call.key)


def _stretched(call: Call, x: Operand, shape: Shape, key: str) -> SymbolicRepresentation:
    rep = call.solver.representation(x.rep)
    lead = len(shape) - len(rep.axes)
    axes: list[Axis] = []
    for place, (size, axis) in enumerate(zip(shape, ((),) * lead + rep.axes, strict=True)):
        old = prod(term.size for term in axis)
        if old == 0 or size % old:
            raise Conflict(f"{old} entries repeated to {size}")
        count = size // old
        copies = call.solver.kept(f"{key}[{place}]", count) if key else trivial(count)
        axes.append((*copies, *axis))
    return SymbolicRepresentation(tuple(axes), rep.sign)


@rule("broadcast", "aten.broadcast_tensors.default", statement="every tensor as in expand",
      samples=[Sample(([normal(3, 4), normal(1, 4)],)), Sample(([normal(4), normal(3, 4)],))],
      incomplete="copies of a longer axis could be swapped with each other")  # fmt: skip
def broadcast(call: Call) -> Results:
    """Tensors stretched to the shape that all of them fit into."""
    return tuple(_stretched(call, x, call.shape, f"{call.key}.{place}") for place, x in enumerate(call.operands))


@rule("copy in the type of another", "aten.type_as.default", statement="`a, b -> a`", samples=[Sample((_x, _x))])
def type_as(call: Call) -> Results:
    """The same values; nothing is read of the other tensor but its type."""
    return tensor(call["self"]).rep


@rule("repeat each", "aten.repeat_interleave.self_int", statement="`a -> (a, copies)`",
      samples=[Sample((_x, 2, 1)), Sample((_x, 3, -2))])  # fmt: skip
def repeat_each(call: Call) -> Results:
    """Every entry of an axis several times in a row."""
    rep = call.solver.representation(call.operands[0].rep)
    if call.get("dim") is None:
        raise Conflict("repeat_interleave of a flattened tensor")
    dim = call.axis(call["dim"], len(rep.axes))
    return rep.with_axis(dim, (*rep.axes[dim], *trivial(call["repeats"])))


@rule("reverse, rotate", "aten.flip.default", "aten.roll.default",
      statement="`a -> a'`: the same mirror seen in the new order",
      samples={"aten.flip.default": [Sample((_x, [1])), Sample((_x, [0, -1]))],
               "aten.roll.default": [Sample((_x, [1], [1])), Sample((_x, [-1, 2], [0, -1]))]})  # fmt: skip
def flip(call: Call) -> Results:
    """The entries of an axis in reversed or rotated order."""
    uniform = repeated(call)
    if uniform is not None:
        return uniform
    rep = call.solver.representation(call.operands[0].rep)
    dims = [call.axis(dim, len(rep.axes)) for dim in call["dims"]]
    if not dims:
        raise Conflict("a flattened tensor is rotated")
    for dim, shift in zip(dims, call.get("shifts", [None] * len(dims)), strict=True):
        order = list(range(rep.shape[dim]))
        turn = -(shift or 0) % max(len(order), 1)
        rep = rep.with_axis(
            dim, call.solver.pick(rep.axes[dim], order[::-1] if shift is None else order[turn:] + order[:turn])
        )
    return rep


@rule("quarter turn", "aten.rot90.default", statement="`a b -> b a'` and so on: the same mirror seen in the new order",
      samples=[Sample((_x, turns)) for turns in (1, 2, -1)])  # fmt: skip
def rot90(call: Call) -> Results:
    """Two axes turned: swapped, and one of them reversed."""
    rep = call.solver.representation(call.operands[0].rep)
    first, second = (call.axis(dim, len(rep.axes)) for dim in call.get("dims", [0, 1]))
    for _ in range(call.get("k", 1) % 4):
        axes = list(rep.axes)
        order = range(rep.shape[second])[::-1]
        axes[first], axes[second] = call.solver.pick(rep.axes[second], order), rep.axes[first]
        rep = SymbolicRepresentation(tuple(axes), rep.sign)
    return rep


@rule("repeat each so often", "aten.repeat_interleave.self_Tensor", statement="`a -> a'`, as an index with a list",
      samples=[Sample((_x, [1, 2, 1, 2], 1)), Sample((_x, [2], 1))])  # fmt: skip
def repeat_some(call: Call) -> Results:
    """Every entry of an axis as often as a constant list says."""
    rep = call.solver.representation(call.operands[0].rep)
    if call.get("dim") is None:
        raise Conflict("repeat_interleave of a flattened tensor")
    dim = call.axis(call["dim"], len(rep.axes))
    counts = entries_of(call, call["repeats"])
    counts = counts * rep.shape[dim] if len(counts) == 1 else counts
    part = picked(call, rep.axes[dim], [entry for entry, count in enumerate(counts) for _ in range(count)])
    lists.decided(call)
    return call.solver.representation(rep.with_axis(dim, part))
