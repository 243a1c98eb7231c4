"""The same things, swapped in one place of a specification and left where they are in another.

Positions of `bodies: [l_hand, r_hand]` swap, and in their velocities somebody wrote `swap: []`: one of the two is most
likely wrong. Every function yields (file and line, sentence); `conversion` and `linting` show them as warnings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chiralize.body.skeleton.naming import partner_name, side
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.entries import TensorEntry
from chiralize.body.tensors.fields import joined_action, with_parts
from chiralize.body.tensors.fields.items import Items
from chiralize.errors import SpecError

_WITHOUT_SIDES = ("free", "invariant", "state", "unclaimed")


@dataclass(frozen=True)
class _Listed:
    """Things that are listed somewhere.  key: what those of another list have to share to be the same things."""

    key: object
    name: str
    names: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    where: str

    @property
    def partners(self) -> str:
        """The first two that swap."""
        return " and ".join(map(self.names.__getitem__, self.pairs[0]))


def unlike_swaps(
    inputs: Sequence[TensorEntry], outputs: Sequence[TensorEntry], skeleton: Skeleton
) -> Iterator[tuple[str, str]]:
    """File and line of what does not swap beside something like it that does, with a sentence.

    Joints of one name are the same; so are as many things in blocks of one kind, such as the three `bodies` of a
    position and of a velocity. Things of inputs are questioned, too, where nothing swaps in any input, and joints of
    an output do; inputs of base quantities alone tell left from right by signs.
    """
    of_inputs, of_outputs = _all_listed(inputs, skeleton), _all_listed(outputs, skeleton)
    # Of every kind of things the first list in which some swap.
    swapping = dict[object, _Listed]()
    for each in (*of_outputs, *of_inputs):
        if each.pairs:
            swapping.setdefault(each.key, each)
    # A list of one has nothing to swap with, so the first of several things is asked about.
    things = next((each for each in of_inputs if len(each.names) > 1), None)
    if things is not None and swapping and not any(_may_swap(entry, skeleton) for entry in inputs):
        first = next(iter(swapping.values()))
        yield (
            things.where,
            f"nothing in the inputs swaps, not {', '.join(things.names)} of {things.name} either, though "
            f"{first.partners} of {first.name} do",
        )
    for each in (*of_outputs, *of_inputs):
        other = swapping.get(each.key)
        if other is not None and not each.pairs:
            yield (
                each.where,
                f"{each.name} lists {', '.join(each.names)}, of which none swap, while {other.partners} of "
                f"{other.name} do",
            )


def _may_swap(entry: TensorEntry, skeleton: Skeleton) -> bool:
    """Whether the mirror moves entries of a tensor to other places, or nobody says whether it does."""
    # Classes, states, likes and reversed axes may move; nothing is known of those here that could be questioned.
    if entry.kind not in ("pose", "fields", "free", "invariant") or entry.mirror:
        return True
    try:
        body = entry.body(skeleton)
        if entry.kind == "pose":
            return bool(body.pairs)
        blocks = entry.fields or ()
        return bool(blocks) and not joined_action(blocks, body).fixed.all()
    except SpecError:
        return True


def _all_listed(entries: Sequence[TensorEntry], skeleton: Skeleton) -> list[_Listed]:
    """The joints and things of all tensors, in their order."""
    listed = list[_Listed]()
    for entry in entries:
        listed += _listed(entry, skeleton)
    return listed


def _listed(entry: TensorEntry, skeleton: Skeleton) -> Iterator[_Listed]:
    """The joints of a tensor, or the things in its blocks; none where the entry does not fit the skeleton."""
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


def sides_apart(inputs: Sequence[TensorEntry], outputs: Sequence[TensorEntry]) -> Iterator[tuple[str, str]]:
    """File and line of tensors that are of two sides by their names, as of two wrist cameras, with a sentence.

    T acts on every tensor by itself, and exchanges none for another.
    """
    for what, entries in (("inputs", inputs), ("outputs", outputs)):
        positions = dict[str, int]()
        for position, entry in enumerate(entries):
            if entry.name and entry.kind not in _WITHOUT_SIDES:
                positions[entry.name] = position
        for name, position in positions.items():
            other = partner_name(name)
            if other in positions and side(name) == "left":
                yield (
                    entries[position].where,
                    f"{what} {position} '{name}' and {positions[other]} '{other}' are of two sides, and T exchanges no "
                    "tensor for another: it leaves each where it is. Wrap the network in a class that takes both in "
                    "one tensor, cameras stacked along `j` of a skeleton of views",
                )
