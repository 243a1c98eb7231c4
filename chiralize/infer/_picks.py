"""Which values are entries of an axis of another value, taken out by an op of their own or as one output of several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chiralize.infer._calls import BareCalls
from chiralize.records import CapturedModel
from chiralize.rules._taking import TAKERS, Taken, taken


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


def single_entries(
    captured: CapturedModel, takes: Mapping[str, Taken], one: Callable[[str], str]
) -> Mapping[str, tuple[AxisOf, int]]:
    """The axis and the entry of every value that is one entry. one: the first of several values that are the same."""
    found: dict[str, tuple[AxisOf, int]] = {}
    sources = {node.name: one(node.reads[0].name) for node in captured.nodes if node.name in takes}
    for node in captured.nodes:
        name, place = node.name, 0
        if node.target == "getitem":
            name, place = node.arguments["value"].name, node.arguments["index"]
        own = takes.get(name)
        if own is not None and (node.target == "getitem") == (len(own.entries) > 1) and len(own.entries[place]) == 1:
            found[one(node.name)] = AxisOf(sources[name], own.dim, own.size), own.entries[place][0]
    return found
