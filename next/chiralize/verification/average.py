"""The proof of an average: of networks that average over both views of their input, whatever lies between.

Every entry of every value of the graph is written down as a sum of numbered entries with factors (`entries`), once as a
function of x, and once as a function of T x. If the outputs of the second reading are T of those of the first, the
network is equivariant. Ops that only move entries are *run* on the numbers of the entries, so that nobody has to say
what they do; sums and multiples are carried out on the factors; what is made of constants is computed. Every other op
is opaque: its results are entries of their own, with the same numbers where the same op meets equal values. No rule has
a part in it. Sums and multiples are those of floating-point and complex numbers: integers wrap and bools saturate.

Example: y = (g(x) + S g(S x)) / 2, with a layer g and S, which swaps the two entries of x. Entries by number:

    x = [1, 2]      g(x) = [3, 4]       S x = [2, 1]      g(S x) = [5, 6]       y = [3/2 + 6/2, 4/2 + 5/2]

3 and 4 are "g of [1, 2]", 5 and 6 "g of [2, 1]". Run on S x, the layer g meets the same two arguments the other way
round, since S S = I:

    S x = [2, 1]    g(S x) = [5, 6]     S S x = [1, 2]    g(S S x) = [3, 4]     y = [5/2 + 4/2, 6/2 + 3/2]

S times the first y is [4/2 + 5/2, 3/2 + 6/2]: the same sums. Nothing was asked of g.

The proof is cautious: it may miss an equality. Two values are equal if they are the same sums as real numbers. Rounding
is left out of it, and so is whether numbers overflow on the way or a zero has a sign.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from chiralize.graph.execution import evaluate
from chiralize.graph.model import CapturedModel, Leaf, Node, Ref, refs_in
from chiralize.symmetry.action import Turn, act, shift
from chiralize.verification.entries import NONE, ONE, Table, Value, constant, contents, sum_of

_MOST_ENTRIES = 1 << 22
"""Entries times terms of a value that is moved or added up: 64 MB of numbers and factors."""
_MOST_RUNNING = 1 << 18
"""The same of a running sum, as of residual blocks, each of which has to be sorted: some 40 ms a block."""
_MOVES = {
    f"aten.{name}"
    for name in (
        "alias.default cat.default clone.default contiguous.default detach.default expand.default flip.default "
        "index.Tensor index_select.default lift_fresh_copy.default permute.default repeat.default reshape.default "
        "roll.default select.int select_scatter.default slice.Tensor slice_scatter.default split_with_sizes.default "
        "stack.default unbind.int view.default"
    ).split()
}
"""Ops whose results are entries of their operands, unchanged; others of their families are spelled as these."""
_CASTS = {"aten.to.dtype", "aten.to.dtype_layout", "aten.to.device", "aten._to_copy.default"}
_PRODUCTS = {"aten.mul.Tensor", "aten.mul.Scalar", "aten.div.Tensor", "aten.div.Scalar"}
_BY_MEMORY = ("as_strided", "empty")
"""Parts of the names of ops whose results depend on how tensors lie in memory, or on what lay there before."""
_LISTS = {"index", "indices"}  # arguments that say which entries are picked


# ---- what is proved -------------------------------------------------------------------------------------------------
def why_no_average(
    captured: CapturedModel,
    turns_in: Sequence[Turn],
    turns_out: Sequence[Turn],
    exchanged: Mapping[str, str] | None = None,
) -> str | None:
    """None if the graph is proved to commute with T, else the first output that is not, in words.

    turns_in, turns_out: T on every input and output of the graph, in order.
    exchanged: state leaf -> the state leaf that T exchanges it with.
    Returned are `output 0`, or `state NAME` for a state that does not start where its partner does, or whose new value
    is not what T makes of its partner's.
    """
    exchanged = exchanged or {}
    # The second reading lets a state stand where its partner does. A network starts from what is stored on x and on T x
    # alike, so that exchanged states have to hold the same numbers.
    for leaf, partner in exchanged.items():
        if contents(captured.leaves[leaf].tensor) != contents(captured.leaves[partner].tensor):
            return f"state {captured.leaves[leaf].names[0]}"
    # One table for both readings, so that equal expressions have one number in both.
    table = Table()
    plain = _Reading(captured, table, {}, {})
    turned = _Reading(captured, table, dict(zip(captured.inputs, turns_in, strict=True)), exchanged)
    for index, (name, turn) in enumerate(zip(captured.outputs, turns_out, strict=True)):
        if name is not None and plain.image(name, turn).key != turned.value(name).key:
            return f"output {index}"
    # States are exchanged by T as they are, without a signed permutation: each view keeps a state of its own. What is
    # written into one of them on T x has to be what is written into its partner on x.
    for leaf, name in captured.mutations.items():
        written = captured.mutations.get(exchanged.get(leaf, leaf))
        if written is None or plain.value(written).key != turned.value(name).key:
            return f"state {captured.leaves[leaf].names[0]}"
    return None


def same_under(
    captured: CapturedModel, turns_in: Sequence[Turn | None], turns_out: Sequence[Turn | None]
) -> frozenset[int]:
    """The outputs of which f(T x) is proved to be T f(x), such as a mask that the network was given and hands back.

    turns_in, turns_out: T on every input and output; None for states, which are other values in the other view.
    """
    turns = {name: turn for name, turn in zip(captured.inputs, turns_in, strict=True) if turn is not None}
    states = [*captured.mutations, *(name for name in captured.inputs if name not in turns)]
    table = Table()
    plain = _Reading(captured, table, {}, {})
    turned = _Reading(captured, table, turns, {name: f"{name} of the other view" for name in states})
    answers = zip(captured.answers, turns_out, strict=True)
    return frozenset(
        index
        for index, (name, turn) in enumerate(answers)
        if turn is not None and plain.image(name, turn).key == turned.value(name).key
    )


# ---- reading a graph -------------------------------------------------------------------------------------------------
class _Reading:
    """The values of a graph, with the inputs replaced by what the mirror makes of them.

    table: shared by the readings that are compared.  turns: T on inputs, by the name of their leaf; empty to read the
    graph as a function of x.  exchanged: state leaf -> the one whose value stands in its place.

    constants: the tensors that depend on no input and whose numbers are looked at, as orders, signs and what T adds.
    """

    def __init__(
        self, captured: CapturedModel, table: Table, turns: Mapping[str, Turn], exchanged: Mapping[str, str]
    ) -> None:
        self.table, self.left_alone = table, captured.left_alone
        self.values: dict[str, tuple[Value, ...]] = {}
        self.constants: dict[str, Tensor] = {}
        self.precision = _precision(captured)
        for leaf in captured.leaves.values():
            value = self._leaf(leaf, exchanged)
            turn = turns.get(leaf.name)
            self.values[leaf.name] = (value if turn is None else self._turned(value, turn, leaf.tensor.dtype),)
        # What nobody reads any more is dropped: an entry takes 16 bytes.
        unread, results = Counter(captured.read_counts), set(captured.results)
        for node in captured.nodes:
            self.values[node.name] = self._read(node)
            unread.subtract(node.names_read)
            for name in {name for name in node.names_read if not unread[name] and name not in results}:
                del self.values[name]

    def value(self, name: str) -> Value:
        """The first (mostly the only) result of a leaf or a node."""
        return self.values[name][0]

    def image(self, name: str, turn: Turn) -> Value:
        """T of an answer. What T adds is rounded to the precision that the graph computes in."""
        return self._turned(self.value(name), turn, self.precision)

    def _leaf(self, leaf: Leaf, exchanged: Mapping[str, str]) -> Value:
        """Entries of its own for an input and a state; of weights and constants by what they hold.

        Both views may hold a copy of one weight under two names.
        """
        if leaf.kind in ("input", "state"):
            key: tuple[Any, ...] = "leaf", exchanged.get(leaf.name, leaf.name)
        else:
            key = contents(leaf.tensor)
        if leaf.kind in ("constant", "statistic"):
            self._look_at(leaf.name, leaf.tensor)
        return self.table.block(key, leaf.shape, leaf.tensor.dtype)

    def _look_at(self, name: str, numbers: Tensor) -> None:
        """Note the numbers of a constant, unless an open size decides how many of different ones are read."""
        axes = self.left_alone.get(name, ())
        if all(bool((numbers == numbers.narrow(axis, 0, 1)).all()) for axis in axes):
            self.constants[name] = numbers.detach().cpu()

    def _turned(self, value: Value, turn: Turn, precision: torch.dtype) -> Value:
        """T of a value: c + R (x - c) = R x + (c - R c).  precision: of the constant that is added."""
        representation, center = turn
        numbers, factors = value.numbers
        # By numbers above 0, so that T treats them as it treats a tensor: 5 goes to 5, or to -5 where it is negated.
        entries = torch.stack([act(part + 2, representation).abs() - 2 for part in numbers])
        factors = torch.stack([act(part, representation) for part in factors])
        out = Value.of(entries, factors.abs() if value.dtype is torch.bool else factors, value.dtype)
        if center is None:
            return out
        added = torch.from_numpy(shift(representation, center)).to(precision)
        return sum_of([out, constant(added)], value.shape, value.dtype)

    def _read(self, node: Node) -> tuple[Value, ...]:
        """The results of a node: constants, sums of entries that are there already, or entries of their own."""
        if node.target == "getitem":
            return (self.values[node.arguments["value"].name][node.arguments["index"]],)
        is_settled = not node.draws_numbers and not any(word in node.target for word in _BY_MEMORY)
        if is_settled and all(name in self.constants for name in node.names_read):
            out = evaluate(node, self.constants)
            if isinstance(out, Tensor):
                self._look_at(node.name, out)
                return (self.table.block(contents(out), out.shape, out.dtype),)
        known = self._understood(node) if max(map(_size, node.shapes), default=0) <= _MOST_ENTRIES else None
        if known is not None:
            return known
        # Random numbers are equal to those of the same node alone, and only if they were drawn from the same: a dropout
        # of a(x) is none of a(T x). Equal tensors may lie in memory in different orders, which strides would show.
        key = (node.target, "" if is_settled else node.name)
        key += tuple((name, self._plain(value)) for name, value in sorted(node.arguments.items()))
        dtypes = [*node.dtypes, *[None] * len(node.shapes)]
        return tuple(
            self.table.block((*key, index), shape or (), dtypes[index]) for index, shape in enumerate(node.shapes)
        )

    def _plain(self, value: Any) -> Any:
        """An argument as a hashable value: tensors by their keys, whatever else by its text.

        By its text, since 0.0 == -0.0 and 1 == True == 1.0, while an op may tell them apart.
        """
        if isinstance(value, Ref):
            return self.value(value.name).key
        if isinstance(value, (list, tuple)):
            return tuple(map(self._plain, value))
        return repr(value)

    def _understood(self, node: Node) -> tuple[Value, ...] | None:
        """The results of an op that moves entries, adds them up, or multiplies them by constants; else None."""
        dtype, target = next(iter(node.dtypes), None), node.target
        operands = [self.value(name) for name in _data(node)]
        if target in _CASTS and operands[0].dtype == dtype is not None:
            return (operands[0],)
        if target in _MOVES and dtype is not None and all(value.dtype == dtype for value in operands):
            return self._moved(node, dtype)
        if target in ("aten.add.Tensor", "aten.mul.Tensor") and not all(value.is_real for value in operands):
            return self._each(node, operands, dtype)
        if dtype is None or not Value((), dtype).is_real or not all(value.is_real for value in operands):
            return None
        if target == "aten.neg.default":
            return _scaled(operands[0], torch.tensor(-1.0), dtype)
        if target in _PRODUCTS:
            return self._product(node, dtype)
        if target == "aten.add.Tensor":
            return self._added(node, dtype)
        return None

    def _moved(self, node: Node, dtype: torch.dtype) -> tuple[Value, ...] | None:
        """An op that moves entries, run on their numbers and on their factors, term by term."""
        lists = {ref.name: self.constants.get(ref.name) for ref in node.reads if ref.name not in _data(node)}
        # An input says which entries are picked, or an open size does.
        if any(known is None for known in lists.values()) or not self.left_alone.keys().isdisjoint(_data(node)):
            return None
        values = {name: self.value(name) for name in _data(node)}
        results: list[list[tuple[Tensor, Tensor]]] = []
        for term in range(max(value.count for value in values.values())):
            sides = []
            for side, filler in ((0, NONE), (1, 0.0)):
                read = {name: _term(value.numbers[side], term, filler) for name, value in values.items()}
                out = evaluate(node, {**lists, **read})
                sides.append(out if isinstance(out, (list, tuple)) else [out])
            results.append(list(zip(*sides, strict=True)))
        moved = []
        for parts in zip(*results, strict=True):
            entries, factors = (torch.stack(side) for side in zip(*parts, strict=True))
            moved.append(Value.of(entries, factors, dtype))
        return tuple(moved)

    def _each(self, node: Node, operands: Sequence[Value], dtype: torch.dtype | None) -> tuple[Value, ...] | None:
        """A sum or a product of integers or bools: nothing is known but that it does the same to all entries."""
        shapes = {value.shape for value in operands}
        if shapes != {node.shapes[0]} or node.arguments.get("alpha", 1) != 1 or _size(node.shapes[0]) > _MOST_RUNNING:
            return None
        other = node.arguments["other"]
        number = "" if isinstance(other, Ref) else repr(other)
        return (self.table.each(f"{node.target} {number}", operands, dtype),)

    def _product(self, node: Node, dtype: torch.dtype) -> tuple[Value, ...] | None:
        """A value times a number, or times a constant that does not make it larger."""
        first, second = node.arguments["self"], node.arguments["other"]
        if first.name in self.constants and isinstance(second, Ref) and "mul" in node.target:
            first, second = second, first
        number = self.constants.get(second.name) if isinstance(second, Ref) else torch.tensor(second)
        if number is None or number.is_complex() or self.value(first.name).shape != node.shapes[0]:
            return None
        if "div" in node.target:
            if isinstance(second, Ref) or not number:
                return None
            number = 1 / number.double()
        return _scaled(self.value(first.name), number, dtype)

    def _added(self, node: Node, dtype: torch.dtype) -> tuple[Value, ...] | None:
        """The sum of two tensors. A constant counts by its numbers, since T may add one; nothing else is broadcast."""
        if not isinstance(node.arguments["other"], Ref) or node.arguments.get("alpha", 1) != 1:
            return None
        shape, parts = node.shapes[0] or (), list[Value]()
        for key in ("self", "other"):
            name = node.arguments[key].name
            known = self.constants.get(name)
            parts.append(self.value(name) if known is None or not known.is_floating_point() else constant(known))
        if any(part.shape != shape and not part.is_constant for part in parts):
            return None
        # One more term for a sum of several: residual blocks, which would grow without end. The two views of an average
        # have as many terms each.
        counts = sorted(part.count for part in parts)
        is_running = counts[0] == 1 < counts[1] and not any(part.is_constant for part in parts)
        if sum(counts) * _size(shape) > (_MOST_RUNNING if is_running else _MOST_ENTRIES):
            return None
        return (sum_of(parts, shape, dtype),)


def _scaled(value: Value, number: Tensor, dtype: torch.dtype) -> tuple[Value, ...] | None:
    """A value times numbers that broadcast to it.

    None where a number, or a factor of the result, is 0 or outside the range of the type: 0 times infinity is no
    number, x - x is 0 and (-1) (x - x) is -0, and what became infinite is not brought back by another factor.
    """
    entries, factors = value.numbers
    factors, limits = factors * number.double(), torch.finfo(dtype)
    sizes = torch.cat([factors[entries > ONE].abs(), number.double().abs().flatten()])
    if not bool(((sizes >= limits.tiny) & (sizes <= limits.max)).all()):
        return None
    return (Value.of(entries, factors, dtype),)


def _term(terms: Tensor, term: int, filler: float) -> Tensor:
    """One term of all entries, one after the other in memory, as views by sizes want them."""
    return terms[term].contiguous() if term < len(terms) else torch.full_like(terms[0], filler)


def _data(node: Node) -> list[str]:
    """The tensors that a node reads, but for lists that say which entries are picked."""
    values = [value for key, value in node.arguments.items() if key not in _LISTS]
    return [ref.name for ref in refs_in(values)]


def _size(shape: Sequence[int] | None) -> int:
    """The number of entries of a tensor."""
    return torch.Size(shape or ()).numel()


def _precision(captured: CapturedModel) -> torch.dtype:
    """The dtype that a network computes in, in which averages store constants: of its first weight or input."""
    leaves = [leaf for leaf in captured.leaves.values() if leaf.tensor.is_floating_point()]
    weights_first = sorted(leaves, key=lambda leaf: not leaf.is_weight)
    return weights_first[0].tensor.dtype if leaves else torch.float32
