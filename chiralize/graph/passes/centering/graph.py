"""What an offset is, and a graph with what the walks through it ask for: values of weights, what depends on data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chiralize.graph.model import CapturedModel, Leaf, Node, Ref
from chiralize.graph.passes.centering.operations import run, wide

_MOST_LEVELS = 16
Choices = dict[str, bool]  # by addition, whether the weight takes the offset up
Fixed = tuple[Any, float]  # a tensor by name or a number, and the sign that it is added with


@dataclass(frozen=True)
class Offset:
    """What a value has more than it would have if coordinates counted from the centre.

    value: in float64, in the shape of what it belongs to.  size: its terms added up without their signs.
    weighted: it depends on weights, so that a conversion changes it.
    """

    value: Tensor
    size: Tensor
    weighted: bool = False

    def __add__(self, other: Offset) -> Offset:
        return Offset(self.value + other.value, self.size + other.size, self.weighted or other.weighted)

    def times(self, factor: Tensor | float) -> Offset:
        size = factor.abs() if isinstance(factor, Tensor) else abs(factor)
        return Offset(self.value * factor, self.size * size, self.weighted)

    def vanishes(self, eps: float) -> bool:
        """Whether it is no more than the rounding of its terms."""
        return bool((self.value.abs() <= 4 * eps * self.size).all())


class Graph:
    """A captured graph with other tensors in place of some of its own.

    eps: rounding of what the network stores.  data: values that depend on inputs or states.
    weighted: values that depend on weights and on no input.
    """

    def __init__(self, captured: CapturedModel, tensors: Mapping[str, Tensor]) -> None:
        self.captured = captured
        self.leaves = captured.leaves
        self.tensors = tensors
        self.nodes = {node.name: node for node in captured.nodes}
        self.values: dict[str, Any] = {}
        floats = [leaf.tensor.dtype for leaf in self.leaves.values() if leaf.tensor.is_floating_point()]
        coarsest = max((torch.finfo(dtype).eps for dtype in floats), default=0.0)
        self.eps = min(coarsest, torch.finfo(torch.float32).eps)
        self.data = {leaf.name for leaf in self.leaves.values() if leaf.kind in ("input", "state")}
        self.weighted = {leaf.name for leaf in self.leaves.values() if leaf.is_weight}
        for node in captured.nodes:
            names = {ref.name for ref in node.reads}
            if names & self.data or not names:  # what draws numbers is no constant either
                self.data.add(node.name)
            elif names & self.weighted:
                self.weighted.add(node.name)

    def zero(self, name: str, place: int = 0) -> Offset:
        """No offset, in the shape of a value."""
        shape = self.nodes[name].shapes[place] if name in self.nodes else self.leaves[name].shape
        device = next((leaf.tensor.device for leaf in self.leaves.values()), None)
        zero = torch.zeros(shape or (), dtype=torch.float64, device=device)
        return Offset(zero, zero)

    def fixed(self, operand: Any) -> bool:
        """Whether an operand does not depend on the input."""
        return not (isinstance(operand, Ref) and operand.name in self.data)

    def is_leaf(self, operand: Any) -> bool:
        return isinstance(operand, Ref) and operand.name in self.leaves

    def number(self, operand: Any) -> Any:
        """A fixed operand as a tensor or a float."""
        return self.value(operand.name) if isinstance(operand, Ref) else float(operand)

    def is_weight(self, operand: Any) -> bool:
        return isinstance(operand, Ref) and operand.name in self.leaves and self.leaves[operand.name].is_weight

    def readers(self, name: str) -> list[Node]:
        """The operations on data that read a leaf, or what is computed from it and other leaves."""
        names = {name}
        found: list[Node] = []
        for node in self.captured.nodes:
            if any(ref.name in names for ref in node.reads):
                if node.name in self.data:
                    found.append(node)
                else:
                    names.add(node.name)
        return found

    def near(self, fixed: Fixed, own: Offset) -> bool:
        """Whether a weight that is added is nearer to an offset than to 0."""
        value = self.number(fixed[0]) * fixed[1] - own.value
        return bool((value * own.value).sum() > -0.5 * own.value.square().sum())

    def level(self, fixed: Fixed, own: Offset) -> Offset | None:
        """What a constant that is added holds on average where an offset lies: the 320 of y + [320, 240].

        The rest of it says how its entries differ, which the mirror may leave alone. None where it is a weight, or 0.
        """
        operand, sign = fixed
        if self.is_weight(operand) or own.weighted or (isinstance(operand, Ref) and not self.is_leaf(operand)):
            return None
        value = torch.zeros_like(own.value) + self.number(operand) * sign
        found = torch.zeros_like(value)
        levels = own.value.unique()
        if len(levels) > _MOST_LEVELS:
            return None
        for level in levels[levels != 0]:
            mask = own.value == level
            found[mask] = value[mask].mean()
        return Offset(found, value.abs()) if bool(found.any()) else None

    def value(self, name: str) -> Tensor:
        """A weight, a constant, or what is computed from them, in float64."""
        if name not in self.values:
            if name in self.leaves:
                leaf: Leaf = self.leaves[name]
                self.values[name] = wide(self.tensors.get(name, leaf.tensor).detach())
            else:
                node: Node = self.nodes[name]
                if node.target == "getitem":
                    self.values[name] = self.whole(node.arguments["value"].name)[node.arguments["index"]]
                else:
                    self.values[name] = self.whole(name)
        return self.values[name]

    def whole(self, name: str) -> Any:
        """All results of an operation on weights."""
        key = f"{name} whole"
        if key not in self.values:
            self.values[key] = run(self.nodes[name], self.value)
        return self.values[key]
