"""Which values are entries of an axis of another value, taken out by an op of their own or as one output of several.

`x[:, 3]` is entry 3 of axis 1 of x, and so is output 3 of `x.unbind(1)`. `Exchanges` asks for this where T on the axis
is unknown: which entries are used as if they were partners tells what T does there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chiralize.graph.model import CapturedModel
from chiralize.infer.calls import BareCalls
from chiralize.infer.taking import Taken, taken, takes


@dataclass(frozen=True)
class AxisOf:
    """An axis of a value, and how many entries it has."""

    source: str
    dim: int
    size: int


def taken_by(captured: CapturedModel) -> Mapping[str, Taken]:
    """The entries taken by every op that takes some out of one axis."""
    bare = BareCalls(captured)
    selections = {node.name: taken(bare(node)) for node in captured.nodes if takes(node.target)}
    return {name: selection for name, selection in selections.items() if selection is not None}


class Picks:
    """The axis and the entry of every value that is one entry. one: the first of several values that are the same."""

    def __init__(self, captured: CapturedModel, takes: Mapping[str, Taken], one: Callable[[str], str]) -> None:
        self._entry_of: dict[str, tuple[AxisOf, int]] = {}
        self._by_axis: dict[AxisOf, list[str]] = {}
        sources = {node.name: one(node.reads[0].name) for node in captured.nodes if node.name in takes}
        for node in captured.nodes:
            name, output = node.name, 0
            if node.target == "getitem":
                name, output = node.arguments["value"].name, node.arguments["index"]
            selection = takes.get(name)
            if selection is None or len(selection.entries[output]) != 1:
                continue
            # Of a split the outputs are values that are read, of anything else the op itself.
            if (node.target == "getitem") == (len(selection.entries) == 1):
                continue
            axis, entry = AxisOf(sources[name], selection.dim, selection.size), selection.entries[output][0]
            self._entry_of[one(node.name)] = axis, entry
            self._by_axis.setdefault(axis, []).append(one(node.name))

    def axis(self, name: str) -> AxisOf | None:
        """The axis of which a value is one entry, None for any other value."""
        if name not in self._entry_of:
            return None
        return self._entry_of[name][0]

    def images(self, axis: AxisOf, of: Callable[[str], str]) -> Sequence[tuple[int, int]]:
        """Every entry of the axis whose value has a partner, and that one: -1 for no entry of it. of: the partner."""
        names = [name for name in self._by_axis.get(axis, ()) if of(name) != name]
        images: list[tuple[int, int]] = []
        for name in names:
            source_axis, entry = self._entry_of.get(of(name), (None, -1))
            images.append((self._entry_of[name][1], entry if source_axis == axis else -1))
        return images
