"""Frozen records that the steps of a conversion hand to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    target `getitem` picks output `index` of the op `value`.
    """

    name: str
    target: str
    arguments: Mapping[str, Any]
    shapes: tuple[Shape | None, ...]
    read: frozenset[int]
    where: Where

    @property
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
    """

    name: str
    kind: LeafKind
    names: tuple[str, ...]
    tensor: torch.Tensor
    where: Where = Where()

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

    @property
    def weights(self) -> list[Leaf]:
        """Parameters and statistics, in the order of the graph."""
        return [leaf for leaf in self.leaves.values() if leaf.is_weight]

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
    sign_free: an operation on the space forbids signs.  cofactor: a later factor of an axis that another space leads.
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
    """

    leaves: Mapping[str, SymbolicRepresentation]
    nodes: Mapping[str, tuple[SymbolicRepresentation | None, ...]]
    spaces: tuple[Space, ...]
    forced: tuple[str, ...]
    names: Mapping[int, str]
    macs: Mapping[str, int]


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
class Converted:
    """A converted network before it is verified.

    method, form: as asked for or chosen.  states: representation of every state buffer by name.
    """

    module: torch.nn.Module
    method: str
    form: str
    choices: tuple[Choice, ...] = ()
    moved: tuple[Moved, ...] = ()
    hidden: Mapping[str, TensorRepresentation] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
