"""Ops that only lay the same entries out differently: views, permutations, copies, casts, reversals.

Entries stay what they are, so the representation only has to be written for the new axes. "17 3" viewed as "51" has the
product of both axes; back again, an axis of 51 known entries is factored, and an unknown one becomes a product of two
unknowns (`Solver.regroup`). Repeated entries make an axis of copies, which may be permuted at will: who reads them says
how (`_stretched`).

An axis is a tuple of terms, the slowest first; the empty tuple has one entry. With J on 3 joints and C on 4 channels:

    x                     (J,) (C,)         shape 3 4
    x.view(12)            (J, C)            one axis of two terms
    x.t()                 (C,) (J,)
    x.unsqueeze(1)        (J,) () (C,)
    x.expand(2, 3, 4)     (V,) (J,) (C,)    V unknown on 2 copies
    x.flip(1)             (J,) (R C R,)     R reverses the 4 channels

None of these demands anything of J and C. What can go wrong is a view that cuts through the middle of a term: 3 x 4
seen as 2 x 6 keeps the second joint in no one piece. It passes where J and C together are a product of that shape.

`keeps_one_number` stands on rules whose result is one repeated number wherever the operand is.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch

from chiralize.graph.traits import Copy, Layout, Movement, Transpose, Unflatten
from chiralize.infer.products import left_alone, widened
from chiralize.infer.registry import Call, Operand, Results, Shape, normal, sample, whole
from chiralize.infer.rules._families import even, incomplete, odd, op, rule, tensor
from chiralize.infer.rules.filling import keeps_one_number
from chiralize.infer.rules.selection import entries_of, picked
from chiralize.infer.solver import lists
from chiralize.infer.solver.terms import Conflict
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, trivial

_x = normal(3, 4)


@rule("copy", "`... -> ...`; to truth values `... -> |...|`, to other types without a minus `+... -> +...`")
@op("clone contiguous detach alias lift_fresh_copy", sample(_x), trait=Copy())
@op("_to_copy", sample(_x, dtype="float64"), trait=Copy())
@op("to.dtype", sample(_x, "float64"), sample(whole(3, 4), "bool"), trait=Copy())
@op("to.dtype_layout", sample(_x, dtype="float64"), trait=Copy())
@op("to.device", sample(_x, "cpu", "float64"), trait=Copy())
def cast(call: Call) -> Results:
    """The same numbers, maybe in another type; whether one is true does not depend on its sign."""
    # Types without a minus, such as bytes, are looked after in `OpRule.outputs`, for all rules.
    if call.dtypes[:1] == (torch.bool,):
        return even(call)
    return odd(call)


@rule("view", "`(a b) c -> a (b c)`: factors keep their order, merged axes split where the mirror is a product")
@op("view", sample(normal(3, 4), [12]), sample(normal(12), [3, 4]), sample(normal(2, 6), [-1, 3]))
@op("reshape", sample(normal(3, 4), [2, 6]), sample(normal(3, 4), [3, 4, 1]), trait=Layout(sizes="shape"))
@op("_unsafe_view", sample(normal(3, 4), [12]))
@op("view _unsafe_view", trait=Layout(sizes="size"))
@op("flatten.using_ints", sample(normal(2, 3, 4), 1), trait=Layout())
@op("unflatten.int", sample(normal(3, 4), 1, [2, 2]), trait=Unflatten())
@op("view_as", sample(normal(3, 4), normal(2, 6)))
@op("reshape_as", sample(normal(3, 4), normal(12)))
@keeps_one_number
def view(call: Call) -> Results:
    """The same entries in the same order under another shape."""
    rep = call.solver.representation(call.operands[0].rep)
    # Axes of no entries have no factors to lay out, and nothing can be moved.
    if prod(call.shape) == 0:
        return left_alone(call.shape)
    return call.solver.representation(
        SymbolicRepresentation(tuple(call.solver.regroup(rep.axes, call.shape)), rep.sign)
    )


@rule("permute", "`a b -> b a`", trait=Layout())
@op("permute", sample(normal(3, 4, 2), [2, 0, 1]), sample(normal(3, 4, 2), [-1, 0, -2]))
@op("transpose.int", sample(normal(3, 4, 2), 1, -1))
@op("t", sample(normal(3, 4)), sample(normal(4)), trait=Transpose())
@op("movedim.int", sample(normal(3, 4, 2), 1, 0), sample(normal(3, 4, 2), 0, -1))
@op("movedim.intlist", sample(normal(3, 4, 2), [1, 2], [0, -2]))
@op("mT", sample(normal(3, 4, 2)))
@op("numpy_T", sample(normal(3, 4)))
@keeps_one_number
def permute(call: Call) -> Results:
    """Axes in another order."""
    rep = call.operands[0].rep
    axes = list(rep.axes)
    # Told apart by their arguments: `permute` has dims, `movedim` source and destination, `transpose` dim0 and dim1.
    if "dims" in call.arguments:
        axes = [axes[dim] for dim in call["dims"]]
    elif "source" in call.arguments:
        axes = _moved(axes, call.axes(call["source"], len(axes)), call.axes(call["destination"], len(axes)))
    elif call.target == "aten.numpy_T.default":
        axes.reverse()
    elif call.target == "aten.mT.default":
        axes[-2:] = axes[:-3:-1]
    elif len(axes) > 1:
        # `t` names no axes and exchanges the first two; of a vector it is the vector.
        first, second = call.axes([call.get("dim0", 0), call.get("dim1", 1)], len(axes))
        axes[first], axes[second] = axes[second], axes[first]
    return SymbolicRepresentation(tuple(axes), rep.sign)


def _moved(axes: Sequence[Axis], source: Sequence[int], destination: Sequence[int]) -> list[Axis]:
    """Axes after those of `source` have gone to `destination`; the others keep their order.

    Of axes a b c, source 1 2 and destination 0 2 give b a c.
    """
    # Filled in from the front, so that what is inserted later moves nothing that has its final position.
    moved = [axis for number, axis in enumerate(axes) if number not in source]
    for target, number in sorted(zip(destination, source, strict=True)):
        moved.insert(target, axes[number])
    return moved


@rule("squeeze", "axes of size 1 come and go", trait=Layout())
@op("squeeze.dim", sample(normal(3, 1, 4), 1), sample(normal(3, 1, 4), 0))
@op("squeeze.dims", sample(normal(3, 1, 4), [1]))
@op("squeeze", sample(normal(3, 1, 4)))
@op("unsqueeze", sample(_x, 1), sample(_x, -1))
@keeps_one_number
def squeeze(call: Call) -> Results:
    """Axes of size 1 carry nothing (a lone sign belongs to the tensor)."""
    rep = call.solver.representation(call.operands[0].rep)
    # Axes of more than one entry keep their order, so they are dealt out to the sizes that are not 1.
    filled = iter([axis for axis in rep.axes if axis])
    axes: list[Axis] = []
    for size in call.shape:
        axes.append(next(filled) if size != 1 else ())
    return SymbolicRepresentation(tuple(axes), rep.sign)


@rule("expand", "a stretched axis is (copies, a), the copies permuted at will")
@incomplete("copies of a longer axis could be swapped with each other")
@op("expand", sample(normal(1, 4), [3, 4]), sample(normal(4), [2, -1]), trait=Movement(sizes="size"))
@op("expand_as", sample(normal(1, 4), normal(3, 4)))
@op("repeat", sample(normal(3, 4), [2, 1]), sample(normal(3, 4), [1, 2]), sample(normal(4), [2, 1]), trait=Movement())
@op("tile", sample(normal(3, 4), [2]))
@keeps_one_number
def expand(call: Call) -> Results:
    """The same values several times; the copies of one entry are all alike."""
    return _stretched(call, call.operands[0], call.shape, call.key)


def _stretched(call: Call, x: Operand, shape: Shape, key: str) -> SymbolicRepresentation:
    """A tensor repeated along its axes, each as often as fits into the shape.

    key: of the call; the axis of copies belongs to it, the same at every run. Raises Conflict where an axis of the
    shape is no multiple of the tensor's.
    """
    rep = call.solver.representation(x.rep)
    axes: list[Axis] = []
    for position, (size, axis) in enumerate(zip(shape, widened(rep, len(shape)).axes, strict=True)):
        old = prod(term.size for term in axis)
        if old == 0 or size % old:
            raise Conflict(f"{old} entries repeated to {size}")
        # The axis is copies x entries: repeat lays whole tensors one behind the other, so that copies change slowest.
        count = size // old
        # An unknown of this place in the graph is the same at every run. Outside a graph nobody could decide on it.
        if key:
            copies = call.solver.unknown_at(f"{key}[{position}]", count)
        else:
            copies = trivial(count)
        axes.append((*copies, *axis))
    return SymbolicRepresentation(tuple(axes), rep.sign)


@rule("broadcast", "every tensor as in expand")
@incomplete("copies of a longer axis could be swapped with each other")
@op("broadcast_tensors", sample([normal(3, 4), normal(1, 4)]), sample([normal(4), normal(3, 4)]))
def broadcast(call: Call) -> Results:
    """Tensors stretched to the shape that all of them fit into."""
    return tuple(_stretched(call, x, call.shape, f"{call.key}.{position}") for position, x in enumerate(call.operands))


@rule("copy in the type of another", "`a, b -> a`")
@op("type_as", sample(_x, _x))
def type_as(call: Call) -> Results:
    """The same values; nothing is read of the other tensor but its type, so it may transform in any way."""
    return tensor(call["self"]).rep


@rule("repeat each", "`a -> (a, copies)`", trait=Movement())
@op("repeat_interleave.self_int", sample(_x, 2, 1), sample(_x, 3, -2))
def repeat_each(call: Call) -> Results:
    """Every entry of an axis several times in a row."""
    rep = call.solver.representation(call.operands[0].rep)
    if call.get("dim") is None:
        raise Conflict("repeat_interleave of a flattened tensor")
    dim = call.axis(call["dim"], len(rep.axes))
    # (a, b) twice is (a, a, b, b): copies change fastest, and stand behind the entries; in `expand`, in front.
    return rep.with_axis(dim, (*rep.axes[dim], *trivial(call["repeats"])))


@rule("reverse, rotate", "`a -> a'`: the same mirror seen in the new order", trait=Layout())
@op("flip", sample(_x, [1]), sample(_x, [0, -1]))
@op("roll", sample(_x, [1], [1]), sample(_x, [-1, 2], [0, -1]))
@keeps_one_number
def flip(call: Call) -> Results:
    """The entries of an axis in reversed or rotated order."""
    rep = call.solver.representation(call.operands[0].rep)
    dims = call.axes(call["dims"], len(rep.axes))
    if not dims:
        raise Conflict("a flattened tensor is rotated")
    for dim, shift in zip(dims, call.get("shifts", [None] * len(dims)), strict=True):
        # Entry k of the result is entry order[k]: the same T in the new order, which `pick` gives.
        entries = list(range(rep.shape[dim]))
        # `flip` has no shifts. Rolled by 1, (0, 1, 2, 3) becomes (3, 0, 1, 2): the first entry is number -1 modulo 4.
        if shift is None:
            order = entries[::-1]
        else:
            first = -shift % max(len(entries), 1)
            order = entries[first:] + entries[:first]
        rep = rep.with_axis(dim, call.solver.pick(rep.axes[dim], order))
    return rep


@rule("quarter turn", "`a b -> b a'` and so on: the same mirror seen in the new order")
@op("rot90", sample(_x, 1), sample(_x, 2), sample(_x, -1))
def rot90(call: Call) -> Results:
    """Two axes turned: swapped, and one of them reversed."""
    rep = call.solver.representation(call.operands[0].rep)
    first, second = call.axes(call.get("dims", [0, 1]), len(rep.axes))
    # One quarter turn: entry (i, j) of the result is entry (j, n - 1 - i) of the tensor.
    for _ in range(call.get("k", 1) % 4):
        axes = list(rep.axes)
        order = range(rep.shape[second])[::-1]
        axes[first], axes[second] = call.solver.pick(rep.axes[second], order), rep.axes[first]
        rep = SymbolicRepresentation(tuple(axes), rep.sign)
    return rep


@rule("repeat each so often", "`a -> a'`, as an index with a list", trait=Movement())
@op("repeat_interleave.self_Tensor", sample(_x, [1, 2, 1, 2], 1), sample(_x, [2], 1))
def repeat_some(call: Call) -> Results:
    """Every entry of an axis as often as a constant list says."""
    rep = call.solver.representation(call.operands[0].rep)
    if call.get("dim") is None:
        raise Conflict("repeat_interleave of a flattened tensor")
    dim = call.axis(call["dim"], len(rep.axes))
    # Counts (1, 2, 1) make the list of entries (0, 1, 1, 2), and the rule is that of an index with this list.
    counts = entries_of(call, call["repeats"])
    entries = np.repeat(np.arange(rep.shape[dim]), counts).tolist()
    part = picked(call, rep.axes[dim], entries)
    lists.decided(call)
    return call.solver.representation(rep.with_axis(dim, part))
