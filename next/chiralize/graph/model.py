"""The captured network: a flat graph of frozen records, which `capture` makes and all later steps read.

Of `y = fc(x)` the graph is

    leaves     x (input), p_fc_weight and p_fc_bias (parameter, with the keys fc.weight and fc.bias)
    nodes      linear: aten-op with arguments {input: Ref(x), weight: Ref(p_fc_weight), bias: Ref(p_fc_bias)}
    outputs    linear

Nodes come in the order of execution, every value has one name, and nothing is written in place. Sizes are plain
numbers, those of the examples. What the network holds for other sizes too, such as positions of 64 frames of which
the examples read 4, stands in its leaf whole, and `left_alone` says along which axis the mirror may not move it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Literal

import torch

Shape = tuple[int, ...]
LeafKind = Literal["input", "parameter", "statistic", "table", "state", "constant"]


@dataclass(frozen=True)
class Where:
    """Where something is in the user's model: module path and source line."""

    module: str = ""
    line: str = ""

    def __str__(self) -> str:
        if not self.module:
            return self.line or "the model"
        if self.line:
            return f"{self.module} ({self.line})"
        return self.module


@dataclass(frozen=True)
class Ref:
    """A tensor argument of a node: the value called `name`."""

    name: str


@cache
def overload(target: str) -> Any:
    """The torch operator of a name such as `aten.add.Tensor`; None for what is no operator of torch.

    >>> overload("aten.add.Tensor")
    <OpOverload(op='aten.add', overload='Tensor')>
    """
    words = target.split(".")
    op = torch.ops if len(words) == 3 else None
    for word in words:
        op = getattr(op, word, None)
    return op


@dataclass(frozen=True)
class Node:
    """One op of the captured graph, sizes as plain numbers.

    arguments: by schema name; tensors as `Ref`.  shapes: of every output.  read: outputs that are used.
    target `getitem` picks output `index` of the op `value`.  dtypes: of every output (None where an output is no
    tensor; empty where nobody knows).
    """

    name: str
    target: str
    arguments: Mapping[str, Any]
    shapes: tuple[Shape | None, ...]
    read: frozenset[int]
    where: Where
    dtypes: tuple[torch.dtype | None, ...] = ()

    @property
    def draws_numbers(self) -> bool:
        """Whether the op draws random numbers, so that equal arguments need not give equal results."""
        if torch.Tag.nondeterministic_seeded not in getattr(overload(self.target), "tags", ()):
            return False
        switches = ("train", "training", "dropout_p", "dropout")  # a dropout that is off draws nothing
        return all(self.arguments[key] for key in switches if key in self.arguments)

    @cached_property
    def reads(self) -> tuple[Ref, ...]:
        """The tensors among the arguments, lists of tensors included, in order."""
        return tuple(refs_in(self.arguments.values()))

    @cached_property
    def names_read(self) -> tuple[str, ...]:
        """The names of `reads`."""
        return tuple(ref.name for ref in self.reads)


def refs_in(values: Iterable[Any]) -> list[Ref]:
    """The tensors among arguments of a node and within those that are lists, in order."""
    refs: list[Ref] = []
    for value in values:
        entries = value if isinstance(value, (list, tuple)) else [value]
        refs.extend(entry for entry in entries if isinstance(entry, Ref))
    return refs


@dataclass(frozen=True)
class Leaf:
    """A tensor that the graph starts from.

    kind: `input`; `parameter`; `statistic`, a buffer with a number per feature; `table`, a constant that is to
    transform as a hidden axis does; `state`, a buffer that forward writes; `constant`, anything else, which is never
    changed.  names: its keys in the model (several where tied).
    stored: the model holds it (what forward computes from constants has no place where it could be changed).
    slack: what rounding leaves open in every entry beyond its own, where the tensor was computed from others.
    sources: keys in the model of the floating-point numbers that it is, or was computed from.
    frozen: keys of the parameters kept from training (`requires_grad=False`) that a constant is, or was computed from.
    known_as: what people know a constant by that the module does not hold; "" for all others.
    """

    name: str
    kind: LeafKind
    names: tuple[str, ...]
    tensor: torch.Tensor
    where: Where = Where()
    slack: torch.Tensor | None = None
    stored: bool = True
    sources: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    known_as: str = ""

    @property
    def shape(self) -> Shape:
        """The sizes of its tensor."""
        return tuple(self.tensor.shape)

    @property
    def is_weight(self) -> bool:
        """Whether a conversion may change it: true of parameters, statistics and tables."""
        return self.kind in ("parameter", "statistic", "table")


@dataclass(frozen=True)
class CapturedModel:
    """A network as a flat list of ops without side effects.

    inputs: leaf names in the order of the flattened arguments.  outputs: node names in the order of the flattened
    results (None for a result that is no tensor).  mutations: state leaf -> node that holds its new value.
    left_alone: by value, axes of fixed size of which an open size decides how much is read. The mirror leaves all
    entries of such an axis where they are, also those that the examples do not read.
    """

    leaves: Mapping[str, Leaf]
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str | None, ...]
    output_shapes: tuple[Shape, ...]
    mutations: Mapping[str, str]
    left_alone: Mapping[str, frozenset[int]] = field(default_factory=dict)

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """The nodes by name, in order."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def read_counts(self) -> Counter[str]:
        """How often each value is read, in the order in which they are read first."""
        counts = Counter[str]()
        for node in self.nodes:
            counts.update(node.names_read)
        return counts

    def leaf_of(self, argument: Any) -> Leaf | None:
        """The leaf that an argument of a node is; None for any other value."""
        return self.leaves.get(argument.name) if isinstance(argument, Ref) else None

    @property
    def answers(self) -> list[str]:
        """The outputs that are tensors, by name."""
        return [name for name in self.outputs if name is not None]

    @property
    def results(self) -> list[str]:
        """The answers, and the values that states are left with."""
        return [*self.answers, *self.mutations.values()]

    @cached_property
    def _readers(self) -> Mapping[str, list[Node]]:
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.names_read):
                readers.setdefault(name, []).append(node)
        return readers

    def readers(self, name: str) -> list[Node]:
        """The nodes that read a value, in order."""
        return self._readers.get(name, [])

    def until(self, name: str) -> tuple[Node, ...]:
        """The nodes that a value depends on, itself last; all of them if no node is called so."""
        if name not in self.by_name:
            return self.nodes
        wanted = {name}
        # Backwards, readers come before what they read.
        for node in reversed(self.nodes):
            if node.name in wanted:
                wanted.update(node.names_read)
        return tuple(node for node in self.nodes if node.name in wanted)

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """The sizes of every value that is one tensor (of the first output of an op with several), by name."""
        shapes = {leaf.name: leaf.shape for leaf in self.leaves.values()}
        shapes.update((node.name, node.shapes[0]) for node in self.nodes if node.shapes and node.shapes[0] is not None)
        return shapes

    @property
    def drawing(self) -> list[Node]:
        """The ops that draw random numbers."""
        return [node for node in self.nodes if node.draws_numbers]

    @property
    def weights(self) -> list[Leaf]:
        """Parameters, statistics and tables, in the order of the graph."""
        return [leaf for leaf in self.leaves.values() if leaf.is_weight]

    @cached_property
    def fixed(self) -> set[str]:
        """Values that depend on no input and no state: weights, constants, and what is computed from them alone."""
        names = {leaf.name for leaf in self.leaves.values() if leaf.kind not in ("input", "state")}
        for node in self.nodes:
            if names.issuperset(node.names_read):
                names.add(node.name)
        return names

    @cached_property
    def truths(self) -> set[str]:
        """Values that are true or false."""
        leaves = {leaf.name for leaf in self.leaves.values() if leaf.tensor.dtype == torch.bool}
        return leaves | {node.name for node in self.nodes if node.dtypes[:1] == (torch.bool,)}

    @property
    def states(self) -> list[Leaf]:
        """Floating-point buffers that forward writes, with the values they start from."""
        return [leaf for leaf in self.leaves.values() if leaf.kind == "state" and leaf.tensor.is_floating_point()]
