"""Results of inference: spaces that are still free, how every tensor transforms, and what a space was given.

`Inference.result` makes a `RepMap`. Methods read the spaces of it, choose an action for each (a `Choice`, with its
reason for the report), and later read from the finished `RepMap` how each weight has to be symmetric.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chiralize.graph.model import Where
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.symbolic import SymbolicRepresentation


@dataclass(frozen=True)
class Space:
    """A hidden space: axes that have to share one unknown involution.

    key: the unknown's number.  label: the first weight axis that carries it, e.g. `expand_conv.weight[0]`.
    module: path of the first writer.  depth: order of the first writer among the spaces.
    sign_free: an operation on the space forbids signs.  cofactor: a factor of an axis beside a larger one.
    """

    key: int
    label: str
    module: str
    size: int
    depth: int
    sign_free: bool
    cofactor: bool = False
    where: Where = Where()


@dataclass(frozen=True)
class RepMap:
    """How every tensor transforms, up to the spaces that are still free.

    leaves, nodes: representation by name (a tuple per output; None where an output is no tensor or unread).
    forced: axes that were taken to be trivial because nothing else could decide.
    names: of the spaces, by their keys, for messages.  macs: multiplications by node.
    symmetrized: constants that the mirror changes and that may be changed.
    partners: values that T does not take to themselves but to another one, by name (branches that it exchanges).
    tables: constants that make hidden axes trivial, though weights tie those to an axis on which the mirror acts.
    """

    leaves: Mapping[str, SymbolicRepresentation]
    nodes: Mapping[str, tuple[SymbolicRepresentation | None, ...]]
    spaces: tuple[Space, ...]
    forced: tuple[str, ...]
    names: Mapping[int, str]
    macs: Mapping[str, int]
    partners: Mapping[str, str] = field(default_factory=dict)
    symmetrized: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()

    def of(self, name: str) -> SymbolicRepresentation | None:
        """How a leaf or the first output of a node transforms; None where that is no tensor, or is not read."""
        if name in self.leaves:
            return self.leaves[name]
        return self.nodes[name][0]


@dataclass(frozen=True)
class Choice:
    """The representation given to a space, and why."""

    space: Space
    action: SignedPermutation
    reason: str
