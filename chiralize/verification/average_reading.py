"""The values of a graph as linear combinations of `action * expression`, as a function of x or of T x.

A `Reading` goes through a captured graph once, from its leaves on, and writes down every value in the terms of a table
of expressions (`combinations`). What an op makes of combinations is looked up in `average_ops`. An op that is not
there, or has arguments that are not understood, gives an expression of its own, "this op of these values".
`average_proof` compares two readings of one graph:

    y = relu(x) + x, of x              I #0, and with #1 "relu of I #0":    I #1 + I #0
    the same, of T x                   T #0, and with #2 "relu of T #0":    I #2 + T #0

These would be equal under T only if #2 were T #1. Nothing here knows that it is: relu is opaque.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import torch

from chiralize.graph.copies import raw_bytes
from chiralize.graph.model import CapturedModel, Node, Ref
from chiralize.symmetry.action import Turn, shift
from chiralize.verification.combinations import IDENTITY, Combination, Expressions, action_of

Known = tuple[Combination, ...] | None
"""The results of an op, None where it is not understood."""


class Reading:
    """The values of a graph as combinations, with the inputs replaced by what the mirror makes of them.

    table: shared by the readings that are compared.  mirrored: T on inputs, by the name of their leaf; empty to read
    the graph as a function of x.  swapped: state leaf -> the one whose value stands in its place.

    ops: what the results of an op are, by its target; every other op is opaque, which is always sound.
    values: every result of every leaf and node.  shapes, dtypes: of their first results, None for what is no tensor.
    constants: the tensors that do not depend on inputs and whose numbers are looked at, as orders and signs.
    """

    def __init__(
        self,
        captured: CapturedModel,
        table: Expressions,
        ops: Mapping[str, Callable[[Reading, Node], Known]],
        mirrored: Mapping[str, Turn],
        swapped: Mapping[str, str] | None = None,
    ) -> None:
        self.table = table
        self.ops = ops
        self.leaves = captured.leaves
        self.shapes: dict[str, tuple[int, ...] | None] = {}
        self.dtypes: dict[str, torch.dtype | None] = {}
        self.values: dict[str, tuple[Combination, ...]] = {}
        self.constants: dict[str, torch.Tensor] = {}
        self.dtype = _precision(captured)
        for leaf in self.leaves.values():
            self.shapes[leaf.name], self.dtypes[leaf.name] = leaf.shape, leaf.tensor.dtype
            if leaf.kind in ("constant", "statistic"):
                self.constants[leaf.name] = leaf.tensor
            if leaf.kind in ("input", "state"):
                value = self.opaque("leaf", (swapped or {}).get(leaf.name, leaf.name))
            else:
                # By contents, since both views may hold a copy of one weight under two names.
                value = self.opaque("held", *contents(leaf.tensor))
            turn = mirrored.get(leaf.name)
            self.values[leaf.name] = (value if turn is None else self.turned(value, turn, leaf.tensor.dtype),)
        for node in captured.nodes:
            self.shapes[node.name], self.dtypes[node.name] = node.shapes[0], next(iter(node.dtypes), None)
            self.values[node.name] = self._read(node)

    def value(self, name: str) -> Combination:
        """The first (mostly the only) result of a leaf or a node."""
        return self.values[name][0]

    def described(self, name: str) -> tuple[Any, ...]:
        """A value as an argument of an opaque op: its combination alone says neither of which size nor type it is.

        Ones of 2 and of 3 entries are the same constant, and integers wrap where floating-point numbers do not.
        """
        return str(self.dtypes[name]), self.shapes[name], self.value(name)

    def is_real(self, name: str) -> bool:
        """Whether sums and multiples of a value are those of real or complex numbers, but for rounding.

        False of integers, which wrap and are cut off, of bools, and of values whose type nobody knows.
        """
        dtype = self.dtypes[name]
        return dtype is not None and (dtype.is_floating_point or dtype.is_complex)

    def scaled(self, node: Node, value: Combination, factor: float) -> Known:
        """A value times a number, as the result of a node.

        None where the number, or a factor of the result, is 0 or outside the range of its type: 0 times infinity is no
        number, x - x is 0 and (-1) (x - x) is -0, and what became infinite is not brought back by another factor.
        """
        dtype = self.dtypes[node.name]
        if dtype is None or not self.is_real(node.name):
            return None
        out = self.table.scale(value, factor)
        limits = torch.finfo(dtype)
        for size in map(abs, (factor, *self.table.factors(out))):
            if not limits.tiny <= size <= limits.max:
                return None
        return (out,)

    def operand(self, node: Node) -> Combination:
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
        """The results of a node: what `ops` makes of it, or one opaque expression per result."""
        arguments = node.arguments
        if node.target == "getitem":
            return (self.values[arguments["value"].name][arguments["index"]],)
        known = self._understood(node)
        if known is not None:
            return known
        # Random numbers are equal to those of the same node alone, and only if they were drawn from the same: a dropout
        # of a(x) is none of a(T x). What a region computes is not in its arguments: it is equal to itself alone, too.
        return self.unknown(node, node.draws_numbers or node.inner is not None)

    def unknown(self, node: Node, is_alone: bool) -> tuple[Combination, ...]:
        """One opaque expression per result.  is_alone: those of another node are never equal to them."""
        arguments_read = ((name, self._plain(value)) for name, value in sorted(node.arguments.items()))
        key: tuple[Any, ...] = (node.target, node.name if is_alone else "", *arguments_read)
        return tuple(self.opaque(*key, index) for index in range(len(node.shapes)))

    def opaque(self, *expression: Any) -> Combination:
        """An expression of which only equality with others is known, as a combination of one term."""
        return ((IDENTITY, self.table.number(*expression), 1.0),)

    def _plain(self, value: Any) -> Any:
        """An argument as a hashable value: tensors by type, shape and combination, whatever else by its text.

        By its text, since 0.0 == -0.0 and 1 == True == 1.0, while an op may tell them apart.
        """
        if isinstance(value, Ref):
            return self.described(value.name)
        if isinstance(value, (list, tuple)):
            return tuple(map(self._plain, value))
        return repr(value)

    def _understood(self, node: Node) -> Known:
        """The results of an op that `ops` covers; None for any other op, and for a call with other arguments."""
        read = self.ops.get(node.target)
        if read is None:
            return None
        return read(self, node)

    def constant(self, value: Any) -> torch.Tensor | None:
        """The numbers of an argument, None where it is no tensor or depends on inputs."""
        if not isinstance(value, Ref):
            return None
        return self.constants.get(value.name)


def contents(tensor: torch.Tensor) -> tuple[Any, ...]:
    """A key that is equal for tensors with the same type, shape and numbers."""
    return str(tensor.dtype), tuple(tensor.shape), hashlib.blake2b(raw_bytes(tensor)).hexdigest()


def _precision(captured: CapturedModel) -> torch.dtype:
    """The dtype that a network computes in: that of its first weight, else of its first input."""
    leaves = [leaf for leaf in captured.leaves.values() if leaf.tensor.is_floating_point()]
    first = next((leaf for leaf in leaves if leaf.is_weight), next(iter(leaves), None))
    if first is None:
        return torch.float32
    return first.tensor.dtype
