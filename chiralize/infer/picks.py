"""Which values are entries of an axis of another value, taken out by an op of their own or as one output of several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chiralize.graph.model import CapturedModel
from chiralize.infer.calls import BareCalls
from chiralize.infer.taking import TAKERS, Taken, taken


@dataclass(frozen=True)
class AxisOf:
    """An axis of a value, and how many entries it has."""

    source: str
    dim: int
    size: int


def taken_by(captured: CapturedModel) -> Mapping[str, Taken]:
    """What every op that takes entries out of one axis takes."""
    bare = BareCalls(captured)
    found = {node.name: taken(bare(node)) for node in captured.nodes if node.target in TAKERS}
    return {name: own for name, own in found.items() if own is not None}


class Picks:
    """The axis and the entry of every value that is one entry. one: the first of several values that are the same."""

    def __init__(self, captured: CapturedModel, takes: Mapping[str, Taken], one: Callable[[str], str]) -> None:
        self._found: dict[str, tuple[AxisOf, int]] = {}
        self._by_axis: dict[AxisOf, list[str]] = {}
        sources = {node.name: one(node.reads[0].name) for node in captured.nodes if node.name in takes}
        for node in captured.nodes:
            name, place = node.name, 0
            if node.target == "getitem":
                name, place = node.arguments["value"].name, node.arguments["index"]
            own = takes.get(name)
            if own is None or (node.target == "getitem") == (len(own.entries) == 1) or len(own.entries[place]) != 1:
                continue
            axis, entry = AxisOf(sources[name], own.dim, own.size), own.entries[place][0]
            self._found[one(node.name)] = axis, entry
            self._by_axis.setdefault(axis, []).append(one(node.name))

    def axis(self, name: str) -> AxisOf | None:
        return self._found[name][0] if name in self._found else None

    def images(self, axis: AxisOf, of: Callable[[str], str]) -> Sequence[tuple[int, int]]:
        """Every entry of the axis whose value has a partner, and that one: -1 for no entry of it. of: the partner."""
        names = [name for name in self._by_axis.get(axis, ()) if of(name) != name]
        partners = [self._found.get(of(name), (None, -1)) for name in names]
        return [
            (self._found[name][1], entry if own == axis else -1)
            for name, (own, entry) in zip(names, partners, strict=True)
        ]
