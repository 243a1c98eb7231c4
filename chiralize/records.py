"""Frozen records that the steps of a conversion hand to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch

from chiralize.involution import SignedPermutation
from chiralize.representation import TensorRepresentation
from chiralize.symbolic import SymbolicRepresentation

Shape = tuple[int, ...]
LeafKind = Literal["input", "parameter", "statistic", "state", "constant"]


@dataclass(frozen=True)
class Where:
    """A place in the user's model: module path and source line."""

    module: str = ""
    line: str = ""

    def __str__(self) -> str:
        if not self.module:
            return self.line or "the model"
        return f"{self.module} ({self.line})" if self.line else self.module


@dataclass(frozen=True)
class Ref:
    """A tensor argument of a node: the value called `name`."""

    name: str


@dataclass(frozen=True)
class Node:
    """One op of the captured graph, sizes as plain numbers.

    arguments: by schema name; tensors as `Ref`.  shapes: of every output.  read: outputs that are used.
    target `getitem` picks output `index` of the op `value`.  inner: what a region computes that is taken as one op.
    dtypes: of every output (None where an output is no tensor; empty where nobody knows).
    """

    name: str
    target: str
    arguments: Mapping[str, Any]
    shapes: tuple[Shape | None, ...]
    read: frozenset[int]
    where: Where
    inner: CapturedModel | None = None
    dtypes: tuple[torch.dtype | None, ...] = ()

    @property
    def draws_numbers(self) -> bool:
        """Whether it draws random numbers, so that equal arguments need not give equal results."""
        words = self.target.split(".")
        op = torch.ops if len(words) == 3 else None
        for word in words:
            op = getattr(op, word, None)
        if torch.Tag.nondeterministic_seeded not in getattr(op, "tags", ()):
            return False
        switches = ("train", "training", "dropout_p", "dropout")
        return all(self.arguments[key] for key in switches if key in self.arguments)

    @cached_property
    def reads(self) -> tuple[Ref, ...]:
        """The tensors among the arguments, lists of tensors included, in order."""
        items = (
            item
            for value in self.arguments.values()
            for item in (value if isinstance(value, (list, tuple)) else [value])
        )
        return tuple(item for item in items if isinstance(item, Ref))


@dataclass(frozen=True)
class Leaf:
    """A tensor that the graph starts from.

    kind: `input`; `parameter`; `statistic`, a buffer with a number per feature; `state`, a buffer that forward
    writes; `constant`, anything else, which is never changed.  names: its keys in the model (several where tied).
    stored: the model holds it (what forward computes from constants has no place where it could be changed).
    slack: what rounding leaves open in every entry beyond its own, where the tensor was computed from others.
    sources: keys in the model of the floating-point numbers that it is, or was computed from.
    whole: what it would be if no open size had cut it (positions of more frames than the examples have).
    frozen: keys of the parameters kept from training (`requires_grad=False`) that a constant is, or was computed from.
    """

    name: str
    kind: LeafKind
    names: tuple[str, ...]
    tensor: torch.Tensor
    where: Where = Where()
    slack: torch.Tensor | None = None
    stored: bool = True
    sources: tuple[str, ...] = ()
    whole: torch.Tensor | None = None
    frozen: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape:
        return tuple(self.tensor.shape)

    @property
    def is_weight(self) -> bool:
        """True for what a conversion may change."""
        return self.kind in ("parameter", "statistic")


@dataclass(frozen=True)
class CapturedModel:
    """A network as a flat list of ops without side effects.

    inputs: leaf names in the order of the flattened arguments.  outputs: node names in the order of the flattened
    results (None for a result that is no tensor).  mutations: state leaf -> node that holds its new value.
    notes: what a user should know about the capture.
    """

    leaves: Mapping[str, Leaf]
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str | None, ...]
    output_shapes: tuple[Shape, ...]
    mutations: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def until(self, name: str) -> tuple[Node, ...]:
        """The nodes that a value depends on, itself last; all of them if no node is called so."""
        wanted = {name}
        for node in reversed(self.nodes):
            if node.name in wanted:
                wanted.update(ref.name for ref in node.reads)
        return tuple(node for node in self.nodes if node.name in wanted) if len(wanted) > 1 else self.nodes

    @property
    def drawing(self) -> list[Node]:
        """The ops that draw random numbers, also within regions."""
        every = (own for node in self.nodes for own in (node.inner.nodes if node.inner else (node,)))
        return [node for node in every if node.draws_numbers]

    @property
    def weights(self) -> list[Leaf]:
        """Parameters and statistics, in the order of the graph."""
        return [leaf for leaf in self.leaves.values() if leaf.is_weight]

    @property
    def fixed(self) -> set[str]:
        """Values that depend on no input and no state: weights, constants, and what is computed from them alone."""
        found = {leaf.name for leaf in self.leaves.values() if leaf.kind not in ("input", "state")}
        for node in self.nodes:
            if all(ref.name in found for ref in node.reads):
                found.add(node.name)
        return found

    @property
    def truths(self) -> set[str]:
        """Values that are true or false."""
        leaves = {leaf.name for leaf in self.leaves.values() if leaf.tensor.dtype == torch.bool}
        return leaves | {node.name for node in self.nodes if node.dtypes[:1] == (torch.bool,)}

    @property
    def states(self) -> list[Leaf]:
        """Floating-point buffers that forward writes, with the values they start from."""
        return [leaf for leaf in self.leaves.values() if leaf.kind == "state" and leaf.tensor.is_floating_point()]

    @property
    def parameter_count(self) -> int:
        """Numbers in all parameters, tied ones once."""
        return sum(leaf.tensor.numel() for leaf in self.leaves.values() if leaf.kind == "parameter")


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
    """What inference found: how every tensor transforms, up to the spaces that are still free.

    leaves, nodes: representation by name (a tuple per output; None where an output is no tensor or unread).
    forced: axes that were taken to be trivial because nothing else could decide.
    symmetrized: constants that the mirror changes and that may be changed.
    partners: values that T does not take to themselves but to another one, by name (branches that it exchanges).
    tables: constants that leave hidden axes nothing but the trivial representation, though weights tie those to an axis
    on which the mirror acts.
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


@dataclass(frozen=True)
class Choice:
    """The representation given to a space, and why."""

    space: Space
    action: SignedPermutation
    reason: str


@dataclass(frozen=True)
class Moved:
    """How far a weight was moved: relative distance |W - P(W)| / |W|, and entries that could only be zero."""

    name: str
    kind: LeafKind
    distance: float
    zeroed: int
    where: Where


@dataclass(frozen=True)
class Fitted:
    """A weight fitted by least squares: the share of its targets' energy that is left over on held-out samples."""

    name: str
    error: float
    where: Where


@dataclass(frozen=True)
class Converted:
    """A converted network before it is verified.

    method, form: as asked for or chosen.  hidden: representation of every weight and state by name.
    exchanged: weights that the mirror takes to another one, and that one's name.  averaged: stretches of the graph
    that both views run through.  macs: multiplications that the result does on top of the original's.
    lost: rows and columns of weights that can only be zero.  fitted: weights found by least squares.
    tables: constants that left hidden channels no pairing.
    """

    module: torch.nn.Module
    method: str
    form: str
    choices: tuple[Choice, ...] = ()
    moved: tuple[Moved, ...] = ()
    hidden: Mapping[str, TensorRepresentation] = field(default_factory=dict)
    exchanged: Mapping[str, str] = field(default_factory=dict)
    averaged: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    macs: int = 0
    lost: int = 0
    fitted: tuple[Fitted, ...] = ()
    tables: tuple[str, ...] = ()
