"""The proof of an average: of networks that average over both views of their input, whatever lies between.

Every value of the captured graph is written down as a linear combination of `action * expression`, an action being a
signed permutation per axis. This is done twice: as a function of x, and as a function of T x. If the second is T
applied to the first, the network is equivariant, since actions compose exactly, T T = 1, and all other ops are taken
as opaque functions that give equal results for equal arguments. Gathers and sign changes along an axis, sums, scaling,
slices and concatenations are understood, and so are constants that are added (an affine mirror adds 2 c, in the
precision of the tensor); nothing needs a rule. Weights and constants are what they hold, not what they
are called: each view may come with a copy of its own.

Example: y = (g(x) + S g(S x)) / 2, with a layer g and S, which swaps the two entries of x. The values in terms of x:

    x = I #0        g(x) = I #1         S x = S #0      g(S x) = I #2       y = I #1 / 2 + S #2 / 2

#1 is the expression "g of I #0", and #2 "g of S #0". Run on S x, the layer g meets the same two arguments the other
way round, since S S = I:

    S x = S #0      g(S x) = I #2       S S x = I #0    g(S S x) = I #1     y = I #2 / 2 + S #1 / 2

S times the first y is S #1 / 2 + I #2 / 2: the same terms. Nothing was asked of g.

The proof is cautious: where an op or its arguments are not understood, the value gets an expression of its own, and two
values count as equal only if they were computed alike. It may miss an equality. Rounding is left out of it.

Called by `judge` for results of `average`, by `regions` for stretches that are averaged, and by `other_proofs`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from chiralize.graph.copies import raw_bytes
from chiralize.graph.model import CapturedModel, Node, Ref
from chiralize.symmetry.action import Center, Turn, shift
from chiralize.symmetry.involution import IntArray
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.verification.combinations import (
    IDENTITY,
    Array,
    Combination,
    Expressions,
    Term,
    action_of,
    along_axis,
    beside_axis,
    normal,
)

_Known = tuple[Combination, ...] | None  # the results of an op, None where it is not understood

# Ops by what the proof makes of them. Other ops are opaque, which is always sound.
_COPIES = {"aten.clone.default", "aten.contiguous.default", "aten.lift_fresh_copy.default"}
_ALIASES = {"aten.alias.default", "aten.detach.default"}
_RUNS = {"aten.chunk.default", "aten.split.Tensor", "aten.split_with_sizes.default", "aten.slice.Tensor"}
_VIEWS = {"aten.view.default", "aten.reshape.default", "aten.unsqueeze.default", "aten._unsafe_view.default"}
_CASTS = {"aten.to.dtype", "aten.to.dtype_layout", "aten.to.device", "aten._to_copy.default"}


def why_no_average(
    captured: CapturedModel,
    inputs: tuple[TensorRepresentation, ...],
    outputs: tuple[TensorRepresentation, ...],
    swapped_states: Mapping[str, str],
    *,
    input_centers: Sequence[Center] = (),
    output_centers: Sequence[Center] = (),
) -> str | None:
    """None if the graph is proved to commute with T, else the first output that is not, in words.

    inputs, outputs: T on every input and output of the graph, in order.
    swapped_states: state leaf -> the state leaf that T exchanges it with.  input_centers, output_centers: c of
    T x = c + R (x - c), None for 0; empty where all are.
    Returned are `output 0`, or `state NAME` for a state that does not start where its partner does, or whose new value
    is not what T makes of its partner's.
    """
    # The second reading lets a state stand where its partner does. A network starts from what is stored on x and on T x
    # alike, so that exchanged states have to hold the same numbers.
    for leaf, partner in swapped_states.items():
        if _contents(captured.leaves[leaf].tensor) != _contents(captured.leaves[partner].tensor):
            return f"state {captured.leaves[leaf].names[0]}"
    # One table for both readings, so that equal expressions have one number in both.
    table = Expressions()
    plain = _Reading(captured, table, {})
    centers = input_centers or [None] * len(inputs)
    turns_in = zip(inputs, centers, strict=True)
    turned = _Reading(captured, table, dict(zip(captured.inputs, turns_in, strict=True)), swapped_states)
    turns_out = zip(outputs, output_centers or [None] * len(outputs), strict=True)
    for index, (name, turn) in enumerate(zip(captured.outputs, turns_out, strict=True)):
        if name is not None and plain.turned(plain.value(name), turn) != turned.value(name):
            return f"output {index}"
    # States are exchanged by T as they are, without a signed permutation: each view keeps a state of its own. What is
    # written into one of them on T x has to be what is written into its partner on x.
    for leaf, name in captured.mutations.items():
        partner = swapped_states.get(leaf, leaf)
        if captured.mutations.get(partner) is None or plain.value(captured.mutations[partner]) != turned.value(name):
            return f"state {captured.leaves[leaf].names[0]}"
    return None


class _Reading:
    """The values of a graph as combinations, with the inputs replaced by what the mirror makes of them.

    table: shared by the readings that are compared.  mirrored: T on inputs, by the name of their leaf; empty to read
    the graph as a function of x.  swapped: state leaf -> the one whose value stands in its place.

    values: every result of every leaf and node.  shapes: of their first results, None for what is no tensor.
    constants: the tensors that do not depend on inputs and whose numbers are looked at, as orders and signs.
    """

    def __init__(
        self,
        captured: CapturedModel,
        table: Expressions,
        mirrored: Mapping[str, Turn],
        swapped: Mapping[str, str] | None = None,
    ) -> None:
        self.table = table
        self.leaves = captured.leaves
        self.shapes: dict[str, tuple[int, ...] | None] = {}
        self.values: dict[str, tuple[Combination, ...]] = {}
        self.constants: dict[str, torch.Tensor] = {}
        self.dtype = _precision(captured)
        for leaf in self.leaves.values():
            self.shapes[leaf.name] = leaf.shape
            if leaf.kind in ("constant", "statistic"):
                self.constants[leaf.name] = leaf.tensor
            if leaf.kind in ("input", "state"):
                value = self._opaque("leaf", (swapped or {}).get(leaf.name, leaf.name))
            else:
                # By contents, since both views may hold a copy of one weight under two names.
                value = self._opaque("held", *_contents(leaf.tensor))
            turn = mirrored.get(leaf.name)
            self.values[leaf.name] = (value if turn is None else self.turned(value, turn, leaf.tensor.dtype),)
        for node in captured.nodes:
            self.shapes[node.name] = node.shapes[0]
            self.values[node.name] = self._read(node)

    def value(self, name: str) -> Combination:
        """The first (mostly the only) result of a leaf or a node."""
        return self.values[name][0]

    def _operand(self, node: Node) -> Combination:
        """The value of the tensor that an op is called on."""
        return self.value(node.arguments["self"].name)

    def turned(self, value: Combination, turn: Turn, dtype: torch.dtype | None = None) -> Combination:
        """T of a value: c + R (x - c) = R x + (c - R c). The constant is rounded as the graph rounds it.

        dtype: of the value; without it the precision that the graph computes in, in which averages store constants.
        """
        rep, center = turn
        action, sign = action_of(rep)
        out = self.table.scale(self.table.apply(action, value), sign)
        if center is None:
            return out
        added = torch.from_numpy(shift(rep, center)).to(dtype or self.dtype).double().numpy()
        return self.table.collect([*out, *self.table.constant(added)])

    def _read(self, node: Node) -> tuple[Combination, ...]:
        """The results of a node: what `_OPS` makes of it, or one opaque expression per result."""
        arguments = node.arguments
        if node.target == "getitem":
            return (self.values[arguments["value"].name][arguments["index"]],)
        known = self._understood(node)
        if known is not None:
            return known
        # Random numbers are equal to those of the same node alone, and only if they were drawn from the same: a dropout
        # of a(x) is none of a(T x). What a region computes is not in its arguments: it is equal to itself alone, too.
        is_alone = node.draws_numbers or node.inner is not None
        arguments_read = ((name, self._plain(value)) for name, value in sorted(arguments.items()))
        key: tuple[Any, ...] = (node.target, node.name if is_alone else "", *arguments_read)
        return tuple(self._opaque(*key, index) for index in range(len(node.shapes)))

    def _opaque(self, *expression: Any) -> Combination:
        """An expression of which only equality with others is known, as a combination of one term."""
        return ((IDENTITY, self.table.number(*expression), 1.0),)

    def _plain(self, value: Any) -> Any:
        """An argument as a hashable value: tensors by their combination, whatever else by its text.

        By its text, since 0.0 == -0.0 and 1 == True == 1.0, while an op may tell them apart.
        """
        if isinstance(value, Ref):
            return self.value(value.name)
        if isinstance(value, (list, tuple)):
            return tuple(map(self._plain, value))
        return repr(value)

    def _understood(self, node: Node) -> _Known:
        """The results of an op that `_OPS` covers; None for any other op, and for a call with other arguments."""
        read = _OPS.get(node.target)
        if read is None:
            return None
        return read(self, node)

    def _unchanged(self, node: Node) -> _Known:
        """The operand itself: a copy or an alias holds the same numbers."""
        return (self._operand(node),)

    def _viewed(self, node: Node) -> _Known:
        """Another shape. The result stays opaque, but the numbers of a constant stay known.

        The same shape is no change. Of two views of one network torch.export may give one such ops, and not the other.
        """
        constant = self._constant(node.arguments["self"])
        if constant is not None:
            # Signs come as `sign.view(-1, 1) * x`: `_product` looks at the numbers of the view.
            self.constants[node.name] = constant.reshape(node.shapes[0] or ())
        return self._expanded(node)

    def _expanded(self, node: Node) -> _Known:
        """More entries along axes of size 1, which stay opaque; none of them is no change."""
        if self.shapes[node.arguments["self"].name] == node.shapes[0]:
            return (self._operand(node),)
        return None

    def _scattered(self, node: Node) -> _Known:
        """A write of all entries. A write of some of them is not understood."""
        source = node.arguments["src"].name
        if self.shapes[source] != node.shapes[0]:
            return None
        return (self.value(source),)

    def _cast(self, node: Node) -> _Known:
        """A cast to another type; twice is once. (In a program the second view casts what the first one did.)"""
        value, dtype = self._operand(node), node.arguments.get("dtype")
        if dtype is None:
            return (value,)
        wanted = ("cast", repr(dtype))
        # One term that is not moved or scaled, whose expression is a cast to the same type: that term, unchanged.
        if len(value) == 1 and value[0][::2] == (IDENTITY, 1.0) and self.table.all[value[0][1]][:2] == wanted:
            return (value,)
        return (self._opaque(*wanted, value),)

    def _constant(self, value: Any) -> torch.Tensor | None:
        """The numbers of an argument, None where it is no tensor or depends on inputs."""
        if not isinstance(value, Ref):
            return None
        return self.constants.get(value.name)

    def _picked(self, node: Node) -> _Known:
        """Entries that a constant list names along one axis."""
        shape = self.shapes[node.arguments["self"].name] or ()
        if node.target == "aten.index.Tensor":
            # x[:, order] has the indices [None, order]. Two lists pick single entries: no gather along an axis.
            given = [(dim, entries) for dim, entries in enumerate(node.arguments["indices"]) if entries is not None]
            dim, index = given[0] if len(given) == 1 else (0, None)
        else:
            dim, index = node.arguments["dim"] % max(len(shape), 1), node.arguments["index"]
        entries = self._constant(index)
        if entries is None or entries.ndim != 1 or entries.dtype not in (torch.int64, torch.int32) or not shape:
            return None
        return (self._gather(node, dim, entries.cpu().numpy() % shape[dim]),)

    def _permuted(self, node: Node) -> _Known:
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
        for action, number, factor in self._operand(node):
            if number in self.table.arrays:
                if self.table.arrays[number].ndim != count:
                    return None
                out += self.table.constant(factor * self.table.arrays[number].transpose(dims))
                continue
            inner, before = number, dims
            # A permutation of a permutation is written as one, of the expression below both; none at all is that
            # expression. Else the graph of one view, which goes there and back, would not equal that of the other.
            if self.table.all[number][0] == "permuted":
                _, earlier, inner = self.table.all[number]
                before = [earlier[dim] for dim in dims]
            same = before == list(range(count))
            moved = normal([(dims.index(axis), source, sign) for axis, source, sign in action])
            out.append((moved, inner if same else self.table.number("permuted", tuple(before), inner), factor))
        return (self.table.collect(out),)

    def _flipped(self, node: Node) -> _Known:
        """The reversal of axes, as an action on each: of 4 entries (3, 2, 1, 0)."""
        shape = list[int](self.shapes[node.arguments["self"].name] or ())
        dims = {dim % len(shape) for dim in node.arguments["dims"]}
        action = [(dim, tuple(reversed(range(shape[dim]))), (1,) * shape[dim]) for dim in dims]
        return (self.table.apply(normal(action), self._operand(node)),)

    def _selected(self, node: Node) -> _Known:
        """One entry of an axis, which the action may have brought there from another place.

        Entry 0 of a value whose entries 0 and 1 are swapped and negated is minus entry 1 of the expression below. So
        the sign goes into the factor, and the number of the expression names the entry that is really read.
        """
        shape = self.shapes[node.arguments["self"].name] or ()
        dim = node.arguments["dim"] % len(shape)
        entry = node.arguments["index"] % shape[dim]
        out: list[Term] = []
        for action, number, factor in self._operand(node):
            if number in self.table.arrays:
                return None  # one entry of an added constant: not worked out, so that all of it is opaque
            along = along_axis(action, dim)
            if along is None:
                source, sign = entry, 1
            else:
                source, sign = along[1][entry], along[2][entry]
            # The axis goes, so that those behind it move up by one.
            rest = [(axis - (axis > dim), sources, signs) for axis, sources, signs in beside_axis(action, dim)]
            out.append((normal(rest), self.table.number("selected", dim, source, shape[dim], number), sign * factor))
        return (self.table.collect(out),)

    def _stacked(self, node: Node) -> _Known:
        """A stack of all entries of one axis of a value, with signs and in another order: an action along that axis.

        stack([x[1], -x[0]]) is an action on x with the sources (1, 0) and the signs (1, -1).
        """
        parts = [self.value(ref.name) for ref in node.arguments["tensors"]]
        dim = node.arguments.get("dim", 0) % len(node.shapes[0] or (1,))
        if any(len(part) != 1 for part in parts):
            return None
        # What the first part is, all others have to be: ("selected", dim, entry, entries, number) with the same action
        # beside that axis and the same size of the factor. The expressions differ in the entry, the factors in sign.
        first_rest, first, first_factor = parts[0][0]
        expression, size = self.table.all[first], abs(first_factor)
        if expression[0] != "selected" or expression[1] != dim or expression[3] != len(parts):
            return None
        entries, signs = [], []
        for ((rest, number, factor),) in parts:
            part = self.table.all[number]
            if part[:2] != expression[:2] or part[3:] != expression[3:] or rest != first_rest or abs(factor) != size:
                return None
            entries.append(part[2])
            signs.append(1 if factor > 0 else -1)
        if sorted(entries) != list(range(len(parts))):
            return None  # one entry twice, and another one lost
        # The stack inserts its axis: those from there on move down by one, as `_selected` had moved them up.
        lifted = [(axis + (axis >= dim), source, sign) for axis, source, sign in first_rest]
        action = normal([*lifted, (dim, tuple(entries), tuple(signs))])
        return (self.table.collect([(action, expression[4], size)]),)

    def _gather(self, node: Node, dim: int, entries: IntArray) -> Combination:
        """Entries along one axis: an action where each occurs once, else opaque."""
        source = node.arguments["self"].name
        value, size = self.value(source), (self.shapes[source] or (1,))[dim]
        if sorted(entries.tolist()) != list(range(size)):
            return self._opaque(node.target, dim, tuple(entries.tolist()), value)
        return self.table.apply(((dim, tuple(entries.tolist()), (1,) * len(entries)),), value)

    def _negated(self, node: Node) -> _Known:
        return (self.table.scale(self._operand(node), -1.0),)

    def _quotient(self, node: Node) -> _Known:
        """Division by a number other than 0."""
        divisor = node.arguments["other"]
        if not isinstance(divisor, (int, float)) or not divisor:
            return None
        return (self.table.scale(self._operand(node), 1.0 / divisor),)

    def _product(self, node: Node) -> _Known:
        """Multiplication by a number, or by a constant of signs along one axis.

        Other constants make an opaque product: an action is a signed permutation and has no other factors.
        """
        first, second = node.arguments["self"], node.arguments["other"]
        if isinstance(second, (int, float)):
            return (self.table.scale(self.value(first.name), float(second)),)
        constant = self._constant(second)
        if constant is None or self.shapes[first.name] != node.shapes[0]:
            return None  # the product of two values, or one that the constant broadcasts
        array = _doubles(constant)
        if array.size == 1:
            return (self.table.scale(self.value(first.name), float(array.reshape(()))),)
        lead = len(node.shapes[0] or ()) - array.ndim  # broadcasting aligns the last axes
        filled = [lead + axis for axis, size in enumerate(array.shape) if size != 1]
        if len(filled) != 1 or not np.isin(array, (-1.0, 1.0)).all():
            return None
        signs: list[int] = array.reshape(-1).astype(int).tolist()
        action = ((filled[0], tuple(range(len(signs))), tuple(signs)),)
        return (self.table.apply(action, self.value(first.name)),)

    def _sum(self, node: Node) -> _Known:
        """The sum of two tensors. A constant counts by its numbers, since T may add one; nothing else is broadcast."""
        if not isinstance(node.arguments["other"], Ref) or node.arguments.get("alpha", 1) != 1:
            return None
        terms: list[Term] = []
        for operand in (node.arguments["self"], node.arguments["other"]):
            constant = self._constant(operand)
            if constant is not None and constant.is_floating_point():
                # With as many axes as the sum, so that an action finds the axis that it acts along.
                array = _doubles(constant)
                lead = (1,) * (len(node.shapes[0] or ()) - array.ndim)
                terms += self.table.constant(array.reshape(lead + array.shape))
            elif self.shapes[operand.name] != node.shapes[0]:
                return None
            else:
                terms += self.value(operand.name)
        return (self.table.collect(terms),)

    def _parts(self, node: Node) -> _Known:
        """Runs of one axis, as parts of the value itself: of a slice, or of each part of a split.

        A run is read through the action before it. If x has 4 entries and an action exchanges its halves, the first
        half of the result is the second half of x. A run that the action takes apart is not understood.
        """
        if node.arguments.get("step", 1) != 1:
            return None
        source = node.arguments["self"].name
        dim = node.arguments.get("dim", 0) % len(self.shapes[source] or (1,))
        size = (self.shapes[source] or (1,))[dim]
        if node.target == "aten.slice.Tensor":
            runs = [range(size)[slice(node.arguments.get("start"), node.arguments.get("end"))]]
        else:
            widths = [(shape or (1,))[dim] for shape in node.shapes]  # of the parts, whichever way they were asked for
            ends = np.cumsum(widths).tolist()
            runs = [range(end - width, end) for end, width in zip(ends, widths, strict=True)]
        parts: list[Combination] = []
        for run in runs:
            part = self.value(source)
            if len(run) != size:  # all of the axis is the value itself: an export leaves such slices in one view
                part = self.table.run(part, dim, run)
            if part is None:
                return None
            parts.append(part)
        return tuple(parts)

    def _concatenation(self, node: Node) -> _Known:
        """One expression that knows its parts: `Expressions.apply` may exchange them."""
        parts = [ref.name for ref in node.arguments["tensors"]]
        dim = node.arguments.get("dim", 0) % len(node.shapes[0] or (1,))
        sizes = tuple((self.shapes[name] or (1,))[dim] for name in parts)
        return (self._opaque("cat", dim, sizes, tuple(map(self.value, parts))),)


_OPS: dict[str, Callable[[_Reading, Node], _Known]] = {
    **dict.fromkeys(_COPIES | _ALIASES, _Reading._unchanged),
    **dict.fromkeys(_VIEWS, _Reading._viewed),
    **dict.fromkeys(_CASTS, _Reading._cast),
    **dict.fromkeys(("aten.index_select.default", "aten.index.Tensor"), _Reading._picked),
    **dict.fromkeys(("aten.permute.default", "aten.transpose.int"), _Reading._permuted),
    **dict.fromkeys(_RUNS, _Reading._parts),
    "aten.expand.default": _Reading._expanded,
    "aten.flip.default": _Reading._flipped,
    "aten.select.int": _Reading._selected,
    "aten.stack.default": _Reading._stacked,
    "aten.neg.default": _Reading._negated,
    **dict.fromkeys(("aten.mul.Tensor", "aten.mul.Scalar"), _Reading._product),
    **dict.fromkeys(("aten.div.Tensor", "aten.div.Scalar"), _Reading._quotient),
    "aten.add.Tensor": _Reading._sum,
    "aten.cat.default": _Reading._concatenation,
    "aten.slice_scatter.default": _Reading._scattered,
}


def _doubles(tensor: torch.Tensor) -> Array:
    """The numbers of a tensor in float64, which holds those of all coarser types exactly."""
    return tensor.detach().cpu().double().numpy()


def _contents(tensor: torch.Tensor) -> tuple[Any, ...]:
    """A key that is equal for tensors with the same type, shape and numbers."""
    return str(tensor.dtype), tuple(tensor.shape), hashlib.blake2b(raw_bytes(tensor)).hexdigest()


def _precision(captured: CapturedModel) -> torch.dtype:
    """The dtype that a network computes in: that of its first weight, else of its first input."""
    leaves = [leaf for leaf in captured.leaves.values() if leaf.tensor.is_floating_point()]
    first = next((leaf for leaf in leaves if leaf.is_weight), next(iter(leaves), None))
    if first is None:
        return torch.float32
    return first.tensor.dtype
