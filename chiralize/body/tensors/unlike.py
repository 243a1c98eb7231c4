"""The same things, swapped in one place of a specification and left where they are in another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.entries import TensorEntry
from chiralize.body.tensors.fields import with_parts
from chiralize.body.tensors.fields.items import Items
from chiralize.errors import SpecError


@dataclass(frozen=True)
class _Listed:
    """Things that are listed somewhere.  key: what those of another list have to share to be the same things."""

    key: object
    name: str
    names: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    where: str


def unlike_swaps(entries: Sequence[TensorEntry], skeleton: Skeleton) -> Iterator[tuple[str, str]]:
    """File and line of what does not swap beside something like it that does, with a sentence.

    Joints of one name are the same; so are as many things in blocks of one kind, such as the three `bodies` of a
    position and of a velocity.
    """
    swapping = dict[object, _Listed]()
    listed = list[_Listed]()
    for entry in entries:
        listed += _listed(entry, skeleton)
    for each in listed:
        if each.pairs:
            swapping.setdefault(each.key, each)
    for each in listed:
        other = swapping.get(each.key)
        if other is not None and not each.pairs:
            first, second = (other.names[position] for position in other.pairs[0])
            yield (
                each.where,
                f"{each.name} lists {', '.join(each.names)}, of which none swap, while {first} and {second} of "
                f"{other.name} do",
            )


def _listed(entry: TensorEntry, skeleton: Skeleton) -> Iterator[_Listed]:
    """The joints of a tensor, or the things in its blocks."""
    try:
        body = entry.body(skeleton)
        if entry.kind == "pose":
            name = f"tensor {entry.name!r}" if entry.name else f"a tensor of {body.name}"
            yield _Listed(frozenset(body.joints), name, body.joints, body.pairs, entry.where)
        for block in with_parts(entry.fields or ()):
            if isinstance(block, Items):
                key = block.things, len(block.items)
                pairs = tuple(block.swapped(body).pairs)
                yield _Listed(key, f"block {block.name or block.things!r}", block.items, pairs, block.where)
    except SpecError:
        return
