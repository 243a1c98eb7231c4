"""One way through a graph: op by op, each by its trait, stopping at what is not known.

What is followed differs: an offset that biases take up (`passes/centering`), a map that weights make up for
(`passes/norms`). Whoever follows it says what becomes of it in ops of a kind; what kind an op is of, `graph.traits`
tells. A subclass that only overrides `sum` can pass sums, copies and `getitem`, and stops at all else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, NoReturn, TypeVar

from chiralize.graph.model import Node, Ref
from chiralize.graph.traits import (
    BatchNorm,
    Copy,
    Filled,
    Movement,
    Product,
    Recurrence,
    Sum,
    Traits,
    keeps_numbers,
)

Followed = TypeVar("Followed")


class Interpreter(ABC, Generic[Followed]):
    """Follows something through a graph. A subclass says what becomes of it, kind by kind of op.

    results: by value, what is known of all its results; None where nothing is followed there.
    """

    def __init__(self, traits: Traits) -> None:
        self.traits = traits
        self.results: dict[str, tuple[Followed | None, ...]] = {}

    def of(self, operand: Any) -> Followed | None:
        """What is followed at an operand, None where it is nothing or the operand no tensor."""
        if isinstance(operand, Ref):
            results = self.results.get(operand.name)
        else:
            results = None
        if not results:
            return None
        return results[0]

    def read_by(self, node: Node) -> list[Followed]:
        """What is followed at the operands of an op, in order."""
        return [followed for followed in map(self.of, node.reads) if followed is not None]

    def visit(self, node: Node) -> None:
        """Note what is followed at the results of an op, if it reaches it."""
        if node.target == "getitem":
            results = self.results.get(node.arguments["value"].name)
            self.results[node.name] = (results[node.arguments["index"]] if results else None,)
        elif self.reaches(node):
            self.results[node.name] = tuple(map(self.simplified, self.through(node)))

    def through(self, node: Node) -> tuple[Followed | None, ...]:
        """What is followed at all results of an op."""
        others = (None,) * (len(node.shapes) - 1)
        # Order matters: a copy is a movement too, and one that rounds or drops entries (`keeps_numbers`) passes as
        # neither.
        match self.traits.get(node.target):
            case Copy() if keeps_numbers(node):
                return (self.of(node.reads[0]), *others)
            case Sum() as trait:
                return (self.sum(node, trait),)
            case Product() as trait:
                return (self.product(node, trait),)
            case BatchNorm() if not node.arguments.get("training"):
                return (self.norm(node), *others)
            case Recurrence() as trait:
                return self.recurrence(node, trait)
            case Filled():
                return (self.filled(node), *others)
            case Movement() as trait if not isinstance(trait, Copy):
                return self.movement(node, trait)
        self.stop(node)

    @abstractmethod
    def reaches(self, node: Node) -> bool:
        """Whether what is followed reaches an op."""

    @abstractmethod
    def simplified(self, followed: Followed | None) -> Followed | None:
        """None in place of what makes no difference."""

    @abstractmethod
    def stop(self, node: Node) -> NoReturn:
        """Raise an error: it can be followed no further."""
        raise NotImplementedError

    # ---- kinds of ops, each unknown unless a subclass says what becomes of it there -----------------------------
    def sum(self, node: Node, trait: Sum) -> Followed | None:
        """Behind a sum."""
        self.stop(node)

    def product(self, node: Node, trait: Product) -> Followed | None:
        """Behind a product, entry by entry or summed up."""
        self.stop(node)

    def norm(self, node: Node) -> Followed | None:
        """Behind a batch norm with stored statistics."""
        self.stop(node)

    def recurrence(self, node: Node, trait: Recurrence) -> tuple[Followed | None, ...]:
        """Behind a recurrent layer, or a step of one."""
        self.stop(node)

    def filled(self, node: Node) -> Followed | None:
        """Behind an op that looks only at the size of its operand."""
        self.stop(node)

    def movement(self, node: Node, trait: Movement) -> tuple[Followed | None, ...]:
        """Behind an op that moves, repeats or adds up entries."""
        self.stop(node)
