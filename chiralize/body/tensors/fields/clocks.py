"""Which entries of an axis blocks call the sine and the cosine of one clock, and which another grouping does.

Two legs' clocks stand as cos, sin, cos, sin, or as cos, cos, sin, sin. `major` says which, and no sum of sizes tells.
Data does: sin^2 + cos^2 = 1 in the right grouping alone. For a block at entries 0 to 3, `Clocks` has the positions of
each clock's functions in both groupings, stated [[0, 1], [2, 3]] and regrouped [[0, 2], [1, 3]].
`verification/evidence/clocks.py` compares the two on the user's inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import yaml

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.fields.field import Field
from chiralize.body.tensors.fields.history import History
from chiralize.body.tensors.fields.items import Items
from chiralize.body.tensors.fields.phase import Phase

Entries = npt.NDArray[np.int64]
_BOTH = {"sin", "cos"}


@dataclass(frozen=True)
class Clocks:
    """Sines and cosines of clocks in the grouping that a block states, and in the other one that it may have.

    block: the block of several things, each with a clock.  other: the same, grouped the other way.
    stated, regrouped: positions on the axis, "clock function".
    """

    block: Items
    other: Items
    stated: Entries
    regrouped: Entries


def grouped_clocks(blocks: Sequence[Field], body: Skeleton) -> Iterator[Clocks]:
    """Of every block that may be grouped in two ways which move entries differently, wherever it stands."""
    width = sum(block.size(body) for block in blocks)
    yield from _in_blocks(blocks, body, np.arange(width)[None])


def in_flow_style(block: Field) -> str:
    """The block as a line of a specification file.

    >>> in_flow_style(Phase("gait", "sin_cos", "half"))
    '{phase: sin_cos, shift: half, name: gait}'
    """
    keys = _without_empty(block.to_dict())
    return yaml.safe_dump(keys, default_flow_style=True, sort_keys=False, width=float("inf")).strip()


def _in_blocks(blocks: Sequence[Field], body: Skeleton, entries: Entries) -> Iterator[Clocks]:
    """entries: where copies of the blocks stand on the axis, "copy number"."""
    start = 0
    for block in blocks:
        end = start + block.size(body)
        yield from _in_block(block, body, entries[:, start:end])
        start = end


def _in_block(block: Field, body: Skeleton, entries: Entries) -> Iterator[Clocks]:
    """The clocks of one block, and of those that it is built of.  entries: of its copies, "copy number"."""
    if isinstance(block, History):
        for blocks, frames in _frames(block, body, entries):
            yield from _in_blocks(blocks, body, frames)
    elif isinstance(block, Items):
        yield from _in_blocks(block.each, body, _of_each(block, entries))
        other = block.regrouped()
        # A grouping under which T is the same makes no difference.
        if other is not None and other.action(body) != block.action(body):
            stated, regrouped = _pairs(block, body, entries), _pairs(other, body, entries)
            if len(stated):
                yield Clocks(block, other, stated, regrouped)


def _frames(history: History, body: Skeleton, entries: Entries) -> Iterator[tuple[Sequence[Field], Entries]]:
    """Blocks that repeat from frame to frame, and where their copies stand."""
    if history.major == "frames":
        yield history.of, entries.reshape(len(entries) * history.frames, -1)
        return
    start = 0
    for block in history.of:
        end = start + history.frames * block.size(body)
        yield (block,), entries[:, start:end].reshape(len(entries) * history.frames, -1)
        start = end


def _of_each(block: Items, entries: Entries) -> Entries:
    """Where the numbers of every thing stand, "copy number", the things of a copy one after the other."""
    count = len(block.items)
    if block.major == "items":
        return entries.reshape(len(entries) * count, -1)
    return entries.reshape(len(entries), -1, count).swapaxes(1, 2).reshape(len(entries) * count, -1)


def _pairs(block: Items, body: Skeleton, entries: Entries) -> Entries:
    """Sine and cosine of every thing: of one block, or of two that follow each other.  "clock function"."""
    table = _of_each(block, entries)
    pairs, functions = list[Entries](), list[str]()  # functions: of every number of a thing, "" for no clock
    for part in block.each:
        functions += part.functions.split("_") if isinstance(part, Phase) else [""] * part.size(body)
    at = 0
    while at + 1 < len(functions):
        if set(functions[at : at + 2]) == _BOTH:
            pairs.append(table[:, at : at + 2])
            at += 1  # both are used up
        at += 1
    return np.concatenate(pairs) if pairs else np.zeros((0, 2), np.int64)


def _without_empty(value: object) -> object:
    """The same without keys that hold an empty name."""
    if isinstance(value, dict):
        return {key: _without_empty(entry) for key, entry in value.items() if entry != ""}
    if isinstance(value, list):
        return [_without_empty(entry) for entry in value]
    return value
