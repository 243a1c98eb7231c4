"""Ops as the rules see them, before anything is known of representations.

Some facts about an op need no mirror: which entries it takes, how many multiplications it costs. Its rule file knows
them of a `Call`. `BareCalls` makes one of a node, with operands that have a shape and stay where they are.
"""

from __future__ import annotations

from typing import Any

from chiralize.graph.model import CapturedModel, Node, Ref
from chiralize.infer.products import left_alone
from chiralize.infer.registry import Call, Operand, Shape, registry
from chiralize.infer.solver.unify import Solver


def names_read(*nodes: Node) -> list[str]:
    """The values that nodes read, in order, as often as they do."""
    return [ref.name for node in nodes for ref in node.reads]


def shapes_by_name(captured: CapturedModel) -> dict[str, Shape]:
    """Shapes of all leaves and first outputs of a graph."""
    leaves = {leaf.name: leaf.shape for leaf in captured.leaves.values()}
    return leaves | {node.name: node.shapes[0] or () for node in captured.nodes}


class BareCalls:
    """Turns the nodes of a graph into calls whose operands have shapes and constants, and are left alone by T."""

    def __init__(self, captured: CapturedModel) -> None:
        self.leaves = captured.leaves
        self.shapes = shapes_by_name(captured)

    def __call__(self, node: Node) -> Call:
        arguments = {key: self._argument(value) for key, value in node.arguments.items()}
        return Call(node.target, arguments, node.shapes, Solver())

    def _argument(self, value: Any) -> Any:
        """An argument of a node with operands in place of references, also within lists."""
        if isinstance(value, Ref):
            leaf = self.leaves.get(value.name)
            rep = left_alone(self.shapes[value.name])
            return Operand(rep, leaf.tensor if leaf and leaf.kind == "constant" else None)
        if isinstance(value, (list, tuple)):
            return [self._argument(item) for item in value]
        return value


def macs_of(captured: CapturedModel) -> int:
    """Multiplications of all ops whose rules count them."""
    bare, total = BareCalls(captured), 0
    for node in captured.nodes:
        rule = registry().get(node.target)
        if rule is not None and rule.macs is not None:
            total += rule.macs(bare(node))
    return total
