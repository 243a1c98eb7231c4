"""Where the hidden spaces of a network are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chiralize.blocks import Block, blocks
from chiralize.records import CapturedModel, RepMap
from chiralize.reduction.sites import Site, site_of
from chiralize.symbolic import SymbolicRepresentation


@dataclass(frozen=True)
class Place:
    """One reading of a hidden space: by the op `reader`, of a value, along an axis."""

    key: int
    reader: str
    source: str
    axis: int
    block: Block
    rep: SymbolicRepresentation


def sites(captured: CapturedModel) -> list[Site]:
    """All ops whose weights can be fitted, in order."""
    made = {node.name: node for node in captured.nodes}
    return [site for node in captured.nodes if (site := site_of(node, captured, made)) is not None]


def readings(captured: CapturedModel, repmap: RepMap) -> Iterator[Place]:
    """Every place where a fitted weight reads a hidden space."""
    for site in sites(captured):
        outputs = repmap.nodes.get(site.source)
        rep = outputs[0] if outputs else None
        if rep is None:
            continue
        axis = site.out % len(rep.axes)
        for space in repmap.spaces:
            for block in blocks(rep.axes[axis], space.key, {}) or []:
                yield Place(space.key, site.node.name, site.source, axis, block, rep)
