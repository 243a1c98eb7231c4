"""Who reads what in a graph, which values are entries of an axis of another one, and which are computed from weights?

What can be said before anything is known of the mirror; `exchange.Exchange` asks for it. Entries are taken out of an
axis by single entries, slices, lists and splits:

    x[:, 3]                          Taken(1, 17, ((3,),), single=True)
    x[:, 4:7]                        Taken(1, 17, ((4, 5, 6),))
    x[:, [4, 5, 11]]                 Taken(1, 17, ((4, 5, 11),))
    x.split([1, 16], 1)              Taken(1, 17, ((0,), (1, ..., 16)))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from chiralize.graph.model import CapturedModel, Node, Ref
from chiralize.graph.traits import Entry, Pick, Slice, Split
from chiralize.infer.rule import traits


@dataclass(frozen=True)
class Taken:
    """Entries of axis `dim` (of `size`), a tuple for every output.  single: the axis disappears."""

    dim: int
    size: int
    entries: tuple[tuple[int, ...], ...]
    single: bool = False


@dataclass(frozen=True)
class AxisOf:
    """An axis of a value, and how many entries it has."""

    source: str
    dim: int
    size: int


def taken(node: Node, captured: CapturedModel) -> Taken | None:
    """The entries that an op takes, or None for any other op and for lists that are not constant."""
    trait, arguments = traits().get(node.target), node.arguments
    if not isinstance(trait, Entry | Slice | Pick | Split):
        return None
    shape = captured.shapes[node.names_read[0]]
    if isinstance(trait, Pick) and "dim" not in arguments:
        # x[:, [4, 5]] has a list for each axis, or None; several lists are read side by side.
        lists = [(dim, value) for dim, value in enumerate(arguments[trait.lists]) if value is not None]
        return _listed(lists[0][0], shape, lists[0][1], captured) if len(lists) == 1 else None
    dim = (arguments.get("dim") or 0) % max(len(shape), 1)
    size = shape[dim] if shape else 1
    match trait:
        case Entry():
            return Taken(dim, size, ((arguments["index"] % size,),), single=True)
        case Slice():
            run = slice(arguments.get("start"), arguments.get("end"), arguments.get("step", 1))
            return Taken(dim, size, (tuple(range(size)[run]),))
        case Pick():
            return _listed(dim, shape, arguments[trait.lists], captured)
        case Split():
            return _parts(node, trait, dim, size)


def _listed(dim: int, shape: tuple[int, ...], value: Any, captured: CapturedModel) -> Taken | None:
    """The entries that a constant list of numbers, or a mask, names; None for any other index."""
    leaf = captured.leaf_of(value)
    if leaf is None or leaf.kind != "constant" or leaf.tensor.ndim != 1 or leaf.tensor.is_floating_point():
        return None
    is_mask = leaf.tensor.dtype == torch.bool
    entries = leaf.tensor.nonzero().reshape(-1) if is_mask else leaf.tensor
    return Taken(dim, shape[dim], (tuple(entry % shape[dim] for entry in entries.tolist()),))


def _parts(node: Node, trait: Split, dim: int, size: int) -> Taken:
    """The parts of a split: the sizes of its outputs say where it cuts, however it was written."""
    parts: list[tuple[int, ...]] = []
    start = 0
    for shape in node.shapes:
        end = start + (1 if trait.is_single or shape is None else shape[dim])
        parts.append(tuple(range(start, end)))
        start = end
    return Taken(dim, size, tuple(parts), trait.is_single)


class Wiring:
    """A graph as a web of values.

    taken: by op, which entries it takes out of an axis.  users: by value, the nodes that read it.
    loose: weights, constants and what is computed from these alone: no input says how they are exchanged.
    entry: by value that is one entry, the axis and the entry.  picked: by axis, these values.
    """

    def __init__(self, captured: CapturedModel) -> None:
        self.captured = captured
        self.users: dict[str, list[Node]] = {}
        self.loose = {leaf.name for leaf in captured.leaves.values() if leaf.kind not in ("input", "state")}
        selections = {node.name: taken(node, captured) for node in captured.nodes}
        self.taken = {name: selection for name, selection in selections.items() if selection is not None}
        self._twins: dict[str, str] = {}
        self.entry: dict[str, tuple[AxisOf, int]] = {}
        self.picked: dict[AxisOf, list[str]] = {}
        picks: dict[tuple[str, Taken], str] = {}
        # In the order of the graph, so that `one` knows the operands of a node when its turn comes.
        for node in captured.nodes:
            names = list(dict.fromkeys(map(self.one, node.names_read)))
            for name in names:
                self.users.setdefault(name, []).append(node)
            if names and self.loose.issuperset(names):
                self.loose.add(node.name)
            # x[:, 3] written twice is two nodes of one value: with one partner both have it.
            selection = self.taken.get(node.name)
            if selection is not None and len(selection.entries) == 1:
                self._twins[node.name] = picks.setdefault((names[0], selection), node.name)
            self._note_entry(node)

    def one(self, name: str) -> str:
        """The first of several values that are the same entries of the same tensor."""
        return self._twins.get(name, name)

    def axis_of(self, name: str) -> AxisOf | None:
        """The axis of which a value is one entry, None for any other value."""
        return self.entry[name][0] if name in self.entry else None

    def _note_entry(self, node: Node) -> None:
        """Note of a value whether it is one entry of an axis."""
        name, output, is_getter = node.name, 0, node.target == "getitem"
        if is_getter:
            name, output = node.arguments["value"].name, node.arguments["index"]
        selection = self.taken.get(name)
        # Of a split the outputs are values that are read, of anything else the op itself.
        if selection is None or is_getter == (len(selection.entries) == 1) or len(selection.entries[output]) != 1:
            return
        source = self.captured.by_name[name].names_read[0]
        axis = AxisOf(self.one(source), selection.dim, selection.size)
        self.entry[self.one(node.name)] = axis, selection.entries[output][0]
        self.picked.setdefault(axis, []).append(self.one(node.name))


def settings(node: Node) -> dict[str, Any]:
    """The arguments of an op by name, with all that two ops have in common if they differ in their tensors alone."""
    return {key: _setting(value) for key, value in node.arguments.items()}


def _setting(value: Any) -> Any:
    """An argument with its type, since 1, 1.0 and True are equal and not the same; one tensor is as good as another."""
    if isinstance(value, Ref):
        return Ref
    if isinstance(value, (list, tuple)):
        return tuple(map(_setting, value))
    return type(value), value
