"""What ops make of linear combinations of `action * expression`: views, moves along axes, sums and scaling.

Each function takes a `Reading`, whose earlier values are known, and a node. It returns the results of the node, or
None where its arguments are not understood: then the op is opaque, which is always sound. `OPS` says which op is which.
Sums and multiples are understood of floating-point and complex numbers alone: 0.5 * (x + x) is x for none of uint8.
An action is out[i] = sign[i] * in[source[i]] along one axis. Of x with 4 entries, where S exchanges its halves:

    x.index_select(0, [2, 3, 0, 1])     (2, 3, 0, 1) #0     an action on x, S itself
    (S x)[:2]                           I #1                #1 is "entries 2 and 3 of #0, a run"
    (S x)[1:3]                          None                entries 3 and 0 of x are no run

No rule of `infer/rules` has a part in it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from chiralize.graph.model import Node, Ref
from chiralize.symmetry.involution import IntArray
from chiralize.verification.average_reading import Known, Reading
from chiralize.verification.combinations import IDENTITY, Array, Combination, Term, along_axis, beside_axis, normal

# Ops by what the proof makes of them. Other ops are opaque, which is always sound.
_COPIES = {"aten.clone.default", "aten.contiguous.default", "aten.lift_fresh_copy.default"}
_ALIASES = {"aten.alias.default", "aten.detach.default"}
_RUNS = {"aten.chunk.default", "aten.split.Tensor", "aten.split_with_sizes.default", "aten.slice.Tensor"}
_VIEWS = {"aten.view.default", "aten.reshape.default", "aten.unsqueeze.default", "aten._unsafe_view.default"}
_CASTS = {"aten.to.dtype", "aten.to.dtype_layout", "aten.to.device", "aten._to_copy.default"}
_STRIDED = {"aten.as_strided.default", "aten.as_strided_copy.default", "aten.as_strided_scatter.default"}


def _unchanged(reading: Reading, node: Node) -> Known:
    """The operand itself: a copy or an alias holds the same numbers."""
    return (reading.operand(node),)


def _viewed(reading: Reading, node: Node) -> Known:
    """Another shape. The result stays opaque, but the numbers of a constant stay known.

    The same shape is no change. Of two views of one network torch.export may give one such ops, and not the other.
    """
    constant = reading.constant(node.arguments["self"])
    if constant is not None:
        # Signs come as `sign.view(-1, 1) * x`: `_product` looks at the numbers of the view.
        reading.constants[node.name] = constant.reshape(node.shapes[0] or ())
    return _expanded(reading, node)


def _expanded(reading: Reading, node: Node) -> Known:
    """More entries along axes of size 1, which stay opaque; none of them is no change."""
    if reading.shapes[node.arguments["self"].name] == node.shapes[0]:
        return (reading.operand(node),)
    return None


def _scattered(reading: Reading, node: Node) -> Known:
    """A write of all entries. A write of some of them is not understood."""
    source = node.arguments["src"].name
    if reading.shapes[source] != node.shapes[0] or not _same_type(reading, node, source):
        return None  # what is written takes the type of what it is written into
    return (reading.value(source),)


def _strided(reading: Reading, node: Node) -> Known:
    """A view by strides, equal to itself alone: equal tensors may lie in memory in different orders."""
    return reading.unknown(node, is_alone=True)


def _cast(reading: Reading, node: Node) -> Known:
    """A cast to another type, opaque; none to the type that a value has. (A second view casts what the first did.)"""
    operand = node.arguments["self"].name
    if _same_type(reading, node, operand):
        return _unchanged(reading, node)
    return (reading.opaque("cast", str(reading.dtypes[node.name]), reading.described(operand)),)


def _picked(reading: Reading, node: Node) -> Known:
    """Entries that a constant list names along one axis."""
    shape = reading.shapes[node.arguments["self"].name] or ()
    if node.target == "aten.index.Tensor":
        # x[:, order] has the indices [None, order]. Two lists pick single entries: no gather along an axis.
        given = [(dim, entries) for dim, entries in enumerate(node.arguments["indices"]) if entries is not None]
        dim, index = given[0] if len(given) == 1 else (0, None)
    else:
        dim, index = node.arguments["dim"] % max(len(shape), 1), node.arguments["index"]
    entries = reading.constant(index)
    if entries is None or entries.ndim != 1 or entries.dtype not in (torch.int64, torch.int32) or not shape:
        return None
    return (_gather(reading, node, dim, entries.cpu().numpy() % shape[dim]),)


def _permuted(reading: Reading, node: Node) -> Known:
    """Axes in another order: an action moves along with its axis, and the way back is no change.

    dims: axis i of the result is axis dims[i] of the operand. With dims [1, 2, 0] an action on axis 0 acts on
    axis 2 of the result, which is where 0 stands in dims.
    """
    count, arguments = len(node.shapes[0] or ()), node.arguments
    dims = list(range(count))
    if node.target == "aten.permute.default":
        dims = [dim % count for dim in arguments["dims"]]
    elif count:
        first, second = arguments["dim0"] % count, arguments["dim1"] % count
        dims[first], dims[second] = second, first
    out: list[Term] = []
    for action, number, factor in reading.operand(node):
        if number in reading.table.arrays:
            if reading.table.arrays[number].ndim != count:
                return None
            out += reading.table.constant(factor * reading.table.arrays[number].transpose(dims))
            continue
        inner, before = number, dims
        # A permutation of a permutation is written as one, of the expression below both; none at all is that
        # expression. Else the graph of one view, which goes there and back, would not equal that of the other.
        if reading.table.all[number][0] == "permuted":
            _, earlier, inner = reading.table.all[number]
            before = [earlier[dim] for dim in dims]
        same = before == list(range(count))
        moved = normal([(dims.index(axis), source, sign) for axis, source, sign in action])
        out.append((moved, inner if same else reading.table.number("permuted", tuple(before), inner), factor))
    return (reading.table.collect(out),)


def _flipped(reading: Reading, node: Node) -> Known:
    """The reversal of axes, as an action on each: of 4 entries (3, 2, 1, 0)."""
    shape = list[int](reading.shapes[node.arguments["self"].name] or ())
    dims = {dim % len(shape) for dim in node.arguments["dims"]}
    action = [(dim, tuple(reversed(range(shape[dim]))), (1,) * shape[dim]) for dim in dims]
    return (reading.table.apply(normal(action), reading.operand(node)),)


def _selected(reading: Reading, node: Node) -> Known:
    """One entry of an axis, which the action may have brought there from another place.

    Entry 0 of a value whose entries 0 and 1 are swapped and negated is minus entry 1 of the expression below. So
    the sign goes into the factor, and the number of the expression names the entry that is really read.
    """
    shape = reading.shapes[node.arguments["self"].name] or ()
    dim = node.arguments["dim"] % len(shape)
    entry = node.arguments["index"] % shape[dim]
    out: list[Term] = []
    for action, number, factor in reading.operand(node):
        if number in reading.table.arrays:
            return None  # one entry of an added constant: not worked out, so that all of it is opaque
        along = along_axis(action, dim)
        if along is None:
            source, sign = entry, 1
        else:
            source, sign = along[1][entry], along[2][entry]
        # The axis goes, so that those behind it move up by one.
        rest = [(axis - (axis > dim), sources, signs) for axis, sources, signs in beside_axis(action, dim)]
        out.append((normal(rest), reading.table.number("selected", dim, source, shape[dim], number), sign * factor))
    return (reading.table.collect(out),)


def _stacked(reading: Reading, node: Node) -> Known:
    """A stack of all entries of one axis of a value, with signs and in another order: an action along that axis.

    stack([x[1], -x[0]]) is an action on x with the sources (1, 0) and the signs (1, -1).
    """
    parts = [reading.value(ref.name) for ref in node.arguments["tensors"]]
    dim = node.arguments.get("dim", 0) % len(node.shapes[0] or (1,))
    if any(len(part) != 1 for part in parts):
        return None
    # What the first part is, all others have to be: ("selected", dim, entry, entries, number) with the same action
    # beside that axis and the same size of the factor. The expressions differ in the entry, the factors in sign.
    first_rest, first, first_factor = parts[0][0]
    expression, size = reading.table.all[first], abs(first_factor)
    if expression[0] != "selected" or expression[1] != dim or expression[3] != len(parts):
        return None
    entries, signs = [], []
    for ((rest, number, factor),) in parts:
        part = reading.table.all[number]
        if part[:2] != expression[:2] or part[3:] != expression[3:] or rest != first_rest or abs(factor) != size:
            return None
        entries.append(part[2])
        signs.append(1 if factor > 0 else -1)
    if sorted(entries) != list(range(len(parts))):
        return None  # one entry twice, and another one lost
    # The stack inserts its axis: those from there on move down by one, as `_selected` had moved them up.
    lifted = [(axis + (axis >= dim), source, sign) for axis, source, sign in first_rest]
    action = normal([*lifted, (dim, tuple(entries), tuple(signs))])
    return (reading.table.collect([(action, expression[4], size)]),)


def _gather(reading: Reading, node: Node, dim: int, entries: IntArray) -> Combination:
    """Entries along one axis: an action where each occurs once, else opaque."""
    source = node.arguments["self"].name
    value, size = reading.value(source), (reading.shapes[source] or (1,))[dim]
    if sorted(entries.tolist()) != list(range(size)):
        return reading.opaque("gathered", dim, tuple(entries.tolist()), reading.described(source))
    return reading.table.apply(((dim, tuple(entries.tolist()), (1,) * len(entries)),), value)


def _negated(reading: Reading, node: Node) -> Known:
    """The same terms, with the factor -1."""
    return reading.scaled(node, reading.operand(node), -1.0)


def _quotient(reading: Reading, node: Node) -> Known:
    """Division by a number other than 0."""
    divisor = node.arguments["other"]
    if not isinstance(divisor, (int, float)) or not divisor or not reading.is_real(node.arguments["self"].name):
        return None
    return reading.scaled(node, reading.operand(node), 1.0 / divisor)


def _product(reading: Reading, node: Node) -> Known:
    """Multiplication by a number, or by a constant of signs along one axis.

    Other constants make an opaque product: an action is a signed permutation and has no other factors.
    """
    first, second = node.arguments["self"], node.arguments["other"]
    if not reading.is_real(first.name) or not reading.is_real(node.name):
        if isinstance(second, Ref):
            return None
        return _each(reading, node, [first.name], repr(second))
    if isinstance(second, (int, float)):
        return reading.scaled(node, reading.value(first.name), float(second))
    constant = reading.constant(second)
    if constant is None or constant.is_complex() or reading.shapes[first.name] != node.shapes[0]:
        return None  # the product of two values, or one that the constant broadcasts
    array = _doubles(constant)
    if array.size == 1:
        return reading.scaled(node, reading.value(first.name), float(array.reshape(())))
    lead = len(node.shapes[0] or ()) - array.ndim  # broadcasting aligns the last axes
    filled = [lead + axis for axis, size in enumerate(array.shape) if size != 1]
    if len(filled) != 1 or not np.isin(array, (-1.0, 1.0)).all():
        return None
    signs: list[int] = array.reshape(-1).astype(int).tolist()
    action = ((filled[0], tuple(range(len(signs))), tuple(signs)),)
    return (reading.table.apply(action, reading.value(first.name)),)


def _sum(reading: Reading, node: Node) -> Known:
    """The sum of two tensors. A constant counts by its numbers, since T may add one; nothing else is broadcast."""
    if not isinstance(node.arguments["other"], Ref) or node.arguments.get("alpha", 1) != 1:
        return None
    operands = (node.arguments["self"], node.arguments["other"])
    names = [operand.name for operand in operands]
    if not all(map(reading.is_real, (node.name, *names))):
        return _each(reading, node, names)
    terms: list[Term] = []
    for operand in operands:
        constant = reading.constant(operand)
        if constant is not None and constant.is_floating_point():
            # With as many axes as the sum, so that an action finds the axis that it acts along.
            array = _doubles(constant)
            lead = (1,) * (len(node.shapes[0] or ()) - array.ndim)
            terms += reading.table.constant(array.reshape(lead + array.shape))
        elif reading.shapes[operand.name] != node.shapes[0]:
            return None
        else:
            terms += reading.value(operand.name)
    return (reading.table.collect(terms),)


def _each(reading: Reading, node: Node, names: list[str], number: str = "") -> Known:
    """An op on integers or bools that does the same to all entries, whatever it does to one of them.

    names: its operands, whose order does not count.  number: what else it is called with.  None where it broadcasts.
    """
    parts = [reading.described(name) for name in names]
    if any(reading.shapes[name] != node.shapes[0] for name in names):
        return None
    return (((IDENTITY, reading.table.each((node.target, number), parts), 1.0),),)


def _parts(reading: Reading, node: Node) -> Known:
    """Runs of one axis, as parts of the value itself: of a slice, or of each part of a split.

    A run is read through the action before it. If x has 4 entries and an action exchanges its halves, the first
    half of the result is the second half of x. A run that the action takes apart is not understood.
    """
    if node.arguments.get("step", 1) != 1:
        return None
    source = node.arguments["self"].name
    dim = node.arguments.get("dim", 0) % len(reading.shapes[source] or (1,))
    size = (reading.shapes[source] or (1,))[dim]
    if node.target == "aten.slice.Tensor":
        runs = [range(size)[slice(node.arguments.get("start"), node.arguments.get("end"))]]
    else:
        widths = [(shape or (1,))[dim] for shape in node.shapes]  # of the parts, whichever way they were asked for
        ends = np.cumsum(widths).tolist()
        runs = [range(end - width, end) for end, width in zip(ends, widths, strict=True)]
    parts: list[Combination] = []
    for run in runs:
        part = reading.value(source)
        if len(run) != size:  # all of the axis is the value itself: an export leaves such slices in one view
            part = reading.table.run(part, dim, run)
        if part is None:
            return None
        parts.append(part)
    return tuple(parts)


def _concatenation(reading: Reading, node: Node) -> Known:
    """One expression that knows its parts: `Expressions.apply` may exchange them."""
    parts = [ref.name for ref in node.arguments["tensors"]]
    dim = node.arguments.get("dim", 0) % len(node.shapes[0] or (1,))
    shapes = [reading.shapes[name] or () for name in parts]
    if any(len(shape) != len(node.shapes[0] or ()) for shape in shapes):
        return None  # an empty list of numbers, which counts for nothing beside tensors of more axes
    sizes = tuple(shape[dim] for shape in shapes)
    return (reading.opaque("cat", dim, sizes, tuple(map(reading.described, parts))),)


def _same_type(reading: Reading, node: Node, name: str) -> bool:
    """Whether a value has the type of the node's result, and both are known."""
    return reading.dtypes[node.name] is not None and reading.dtypes[node.name] == reading.dtypes[name]


def _doubles(tensor: torch.Tensor) -> Array:
    """The numbers of a tensor in float64, which holds those of all coarser types exactly."""
    return tensor.detach().cpu().double().numpy()


OPS: dict[str, Callable[[Reading, Node], Known]] = {
    **dict.fromkeys(_COPIES | _ALIASES, _unchanged),
    **dict.fromkeys(_VIEWS, _viewed),
    **dict.fromkeys(_CASTS, _cast),
    **dict.fromkeys(_STRIDED, _strided),
    **dict.fromkeys(("aten.index_select.default", "aten.index.Tensor"), _picked),
    **dict.fromkeys(("aten.permute.default", "aten.transpose.int"), _permuted),
    **dict.fromkeys(_RUNS, _parts),
    "aten.expand.default": _expanded,
    "aten.flip.default": _flipped,
    "aten.select.int": _selected,
    "aten.stack.default": _stacked,
    "aten.neg.default": _negated,
    **dict.fromkeys(("aten.mul.Tensor", "aten.mul.Scalar"), _product),
    **dict.fromkeys(("aten.div.Tensor", "aten.div.Scalar"), _quotient),
    "aten.add.Tensor": _sum,
    "aten.cat.default": _concatenation,
    "aten.slice_scatter.default": _scattered,
}
"""How the results of an op are read, by its target; other ops are opaque."""
