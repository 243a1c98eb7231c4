"""Ops as the rules see them, before anything is known of representations."""

from __future__ import annotations

from typing import Any

from chiralize.graph.model import CapturedModel, Node, Ref
from chiralize.infer.registry import Call, Operand, registry
from chiralize.infer.solver.unify import Solver
from chiralize.symmetry.symbolic import SymbolicRepresentation, trivial


class BareCalls:
    """Turns the nodes of a graph into calls whose operands have shapes and constants, and are left alone by T."""

    def __init__(self, captured: CapturedModel) -> None:
        self.leaves = captured.leaves
        self.shapes = {leaf.name: leaf.shape for leaf in captured.leaves.values()} | {
            node.name: node.shapes[0] or () for node in captured.nodes
        }

    def __call__(self, node: Node) -> Call:
        arguments = {key: self._argument(value) for key, value in node.arguments.items()}
        return Call(node.target, arguments, node.shapes, Solver())

    def _argument(self, value: Any) -> Any:
        if isinstance(value, Ref):
            leaf = self.leaves.get(value.name)
            rep = SymbolicRepresentation(tuple(trivial(size) for size in self.shapes[value.name]))
            return Operand(rep, leaf.tensor if leaf and leaf.kind == "constant" else None)
        return [self._argument(item) for item in value] if isinstance(value, (list, tuple)) else value


def macs_of(captured: CapturedModel) -> int:
    """Multiplications of all ops whose rules count them."""
    bare = BareCalls(captured)
    rules = [(registry().get(node.target), node) for node in captured.nodes]
    return sum(rule.macs(bare(node)) for rule, node in rules if rule is not None and rule.macs is not None)


def holds(value: Any) -> bool:
    """Whether an argument is a tensor, or holds some."""
    return isinstance(value, Ref) or (isinstance(value, (list, tuple)) and any(map(holds, value)))
