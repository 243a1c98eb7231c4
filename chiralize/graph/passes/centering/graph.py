"""Offsets, and a graph with the questions that walks through it ask: values of weights, which values depend on data.

`Graph` is shared with `passes/norms`, which asks the same of another change. All values are in float64, and what
forward computes from weights alone is computed when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chiralize.graph.model import CapturedModel, Node, Ref, refs_in
from chiralize.graph.passes.centering.operations import PLACES, run, wide
from chiralize.graph.traits import Sum, Trait, Traits

# Distinct offsets among the entries of one value; a centre has one per coordinate.
_MOST_LEVELS = 16
Choices = dict[str, bool]  # by addition, whether the weight takes the offset up
Fixed = tuple[Any, float]  # a tensor by name or a number, and the sign that it is added with


@dataclass(frozen=True)
class Offset:
    """The difference between a value and the value that it would have if coordinates counted from the centre.

    value: the difference, in float64, in the shape of the value that it belongs to.  size: the sum of the absolute
    values of its terms, which bounds its rounding.  weighted: it depends on weights, so that a conversion changes it.
    mixed: weights added up several entries, so that these are hidden units and no coordinates.
    """

    value: Tensor
    size: Tensor
    weighted: bool = False
    mixed: bool = False

    def __add__(self, other: Offset) -> Offset:
        weighted, mixed = self.weighted or other.weighted, self.mixed or other.mixed
        return Offset(self.value + other.value, self.size + other.size, weighted, mixed)

    def times(self, factor: Tensor | float) -> Offset:
        """The offset of a value that is multiplied by a factor."""
        return Offset(self.value * factor, self.size * abs(factor), self.weighted, self.mixed)

    def vanishes(self, eps: float) -> bool:
        """Whether it is no more than the rounding of its terms."""
        return bool((self.value.abs() <= 4 * eps * self.size).all())


class Graph:
    """A captured graph with other tensors in place of some of its own.

    tensors: the other tensors, by leaf.  traits: by op, what kind of op it is.
    eps: relative rounding of the numbers that the network stores.
    data: values that depend on inputs or states.  weighted: values that depend on weights and on no input.
    """

    def __init__(self, captured: CapturedModel, tensors: Mapping[str, Tensor], traits: Traits) -> None:
        self.captured, self.traits = captured, traits
        self.leaves = captured.leaves
        self.tensors = tensors
        self.nodes = captured.by_name
        self.values: dict[str, Any] = {}
        floats = [leaf.tensor.dtype for leaf in self.leaves.values() if leaf.tensor.is_floating_point()]
        coarsest = max((torch.finfo(dtype).eps for dtype in floats), default=0.0)
        self.eps = min(coarsest, torch.finfo(torch.float32).eps)
        self.data = {leaf.name for leaf in self.leaves.values() if leaf.kind in ("input", "state")}
        self.weighted = {leaf.name for leaf in self.leaves.values() if leaf.is_weight}
        for node in captured.nodes:
            # In the order of the graph, so that operands are classified before their readers.
            names = set(node.names_read)
            if names & self.data or not names:  # what draws numbers is no constant either
                self.data.add(node.name)
            elif names & self.weighted:
                self.weighted.add(node.name)

    def trait(self, node: Node) -> Trait | None:
        """What kind of op a node is, None where that is not known."""
        return self.traits.get(node.target)

    def zero(self, name: str) -> Offset:
        """No offset, in the shape of a value."""
        if name in self.nodes:
            shape = self.nodes[name].shapes[0]
        else:
            shape = self.leaves[name].shape
        device = next((leaf.tensor.device for leaf in self.leaves.values()), None)
        zero = torch.zeros(shape or (), dtype=torch.float64, device=device)
        return Offset(zero, zero)

    def cleared(self, name: str) -> Tensor:
        """A value with 0 for all floating-point numbers, so that an op linear in it adds nothing.

        Whole numbers of constants, which say where other numbers go, stay.
        """
        if name in self.data:
            return self.zero(name).value
        value = self.value(name)
        if value.is_floating_point():
            return torch.zeros_like(value)
        return value

    def fixed(self, operand: Any) -> bool:
        """Whether an operand does not depend on the input."""
        return not (isinstance(operand, Ref) and operand.name in self.data)

    def moves_by_data(self, node: Node) -> bool:
        """Whether it depends on the input where an op moves numbers to."""
        indices = (node.arguments[key] for key in PLACES if key in node.arguments)
        return not all(map(self.fixed, refs_in(indices)))

    def is_leaf(self, operand: Any) -> bool:
        """Whether an operand is an input, a weight or a constant of the graph."""
        return isinstance(operand, Ref) and operand.name in self.leaves

    def number(self, operand: Any) -> Any:
        """A fixed operand as a tensor or a float."""
        if isinstance(operand, Ref):
            return self.value(operand.name)
        return float(operand)

    def is_weight(self, operand: Any) -> bool:
        """Whether an operand is a leaf that a conversion may change: a parameter, a statistic or a table."""
        return self.is_leaf(operand) and self.leaves[operand.name].is_weight

    def readers(self, name: str) -> list[Node]:
        """The operations on data that read a leaf, or a value computed from it and other leaves."""
        names = {name}
        readers: list[Node] = []
        for node in self.captured.nodes:
            if not names.isdisjoint(node.names_read):
                if node.name in self.data:
                    readers.append(node)
                else:
                    names.add(node.name)
        return readers

    def near(self, fixed: Fixed, offset: Offset) -> bool:
        """Whether a weight that is added is nearer to an offset than to 0, as a stored mean is to the centre of a
        picture.

        |w - o| < |w| says the same as (w - o) . o > -|o|^2 / 2, which needs no roots.
        """
        value = self.number(fixed[0]) * fixed[1] - offset.value
        return bool((value * offset.value).sum() > -0.5 * offset.value.square().sum())

    def stays(self, operand: Any) -> bool:
        """Whether what is added has to stay as it is: it is computed (x - size / 2), or scales numbers, too.

        Nothing that is trained has to. What T leaves of the others would be 0, by which coordinates may be divided.
        """
        if not isinstance(operand, Ref):
            return False
        if any(self.leaves[name].kind == "parameter" for name in self.sources(operand.name)):
            return False
        return not self.is_leaf(operand) or not all(map(self._adds, self.readers(operand.name)))

    def _adds(self, node: Node) -> bool:
        """Whether a node adds its operands."""
        return isinstance(self.trait(node), Sum)

    def sources(self, name: str) -> set[str]:
        """The leaves that a value is computed from."""
        sources, seen, waiting = set[str](), {name}, [name]
        while waiting:
            read = waiting.pop()
            if read in self.leaves:
                sources.add(read)
                continue
            before = {*self.nodes[read].names_read} - seen
            seen |= before
            waiting += sorted(before)
        return sources

    def level(self, fixed: Fixed, offset: Offset) -> Offset | None:
        """The average of an added constant over the entries of one offset: the 320 of y + [320, 240].

        What remains of the constant, the differences of its entries, the mirror may leave alone. None where the
        operand is a weight, or 0.
        """
        operand, sign = fixed
        if offset.mixed:
            return None
        if self.stays(operand):
            if not (self.near(fixed, offset) or self.near(fixed, offset.times(-1.0))):
                return None
        elif self.is_weight(operand) or (isinstance(operand, Ref) and not self.is_leaf(operand)):
            return None
        value = torch.zeros_like(offset.value) + self.number(operand) * sign
        averages = torch.zeros_like(value)
        # One number for all that have an offset, whatever these are: the 1 of y / [105, 68] * 2 - 1.
        have = offset.value.abs() > 4 * self.eps * offset.size
        if bool(have.any()) and len(value[have].unique()) == 1:
            return Offset(torch.where(have, value, 0.0), value.abs()) if bool(value[have].any()) else None
        if offset.weighted:
            return None
        # Entries with one offset are one coordinate: all x with 320, all y with 240, those without an offset 0.
        levels = offset.value.unique()
        if len(levels) > _MOST_LEVELS:
            return None
        for level in levels[levels != 0]:
            mask = offset.value == level
            averages[mask] = value[mask].mean()
        if not bool(averages.any()):
            return None
        return Offset(averages, value.abs())

    def value(self, name: str) -> Tensor:
        """A weight, a constant, or a value computed from them, in float64."""
        if name not in self.values:
            if name in self.leaves:
                self.values[name] = wide(self.tensors.get(name, self.leaves[name].tensor).detach())
            elif self.nodes[name].target == "getitem":
                arguments = self.nodes[name].arguments
                self.values[name] = self.whole(arguments["value"].name)[arguments["index"]]
            else:
                self.values[name] = self.whole(name)
        return self.values[name]

    def whole(self, name: str) -> Any:
        """All results of an operation on weights."""
        key = f"{name} whole"
        if key not in self.values:
            self.values[key] = run(self.nodes[name], self.value)
        return self.values[key]
