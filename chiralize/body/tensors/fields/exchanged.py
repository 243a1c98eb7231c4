"""Blocks as they would be if more of their numbers changed places: left and right that nobody wrote down as such.

`verification/` tries other mirrors near the given one on a trained network, and names one that fits clearly better.
These are the candidates: `{scalar: 4, name: contacts}` could be one side after the other, (0 1 | 2 3), or the two sides
in turn, (0 2 | 1 3); two blocks alike, `left_foot` and `right_foot`, could swap; two neighbours could stand in the
other order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, pairwise

from chiralize.body.skeleton.regular_pairs import mirrored_at_the_middle
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.fields.field import Field
from chiralize.body.tensors.fields.items import Items
from chiralize.body.tensors.fields.phase import Phase
from chiralize.body.tensors.fields.plain import MOST_SCALARS, Scalar
from chiralize.errors.words import when

Way = tuple[int, ...]
"""Where a block is: its position, then that in what this one is built of, ..."""
_BOTH = ((0, 1),)
"""The swap of two things."""


def exchanged_fields(fields: Sequence[Field]) -> Iterator[tuple[str, tuple[Field, ...]]]:
    """Blocks one after the other with more numbers that change places, in one, in what it is built of, or in two."""
    for at, block in enumerate(fields):
        for words, other in _within(block):
            yield words, (*fields[:at], other, *fields[at + 1 :])
        for words, parts in exchanged_fields(block.parts):
            yield words, (*fields[:at], block.of_parts(parts), *fields[at + 1 :])
    # `left_foot` and `right_foot` as two blocks: each stays where it is, unless somebody wrote them as `feet`.
    for at, (one, other) in enumerate(pairwise(fields)):
        if _is_as(one, other):
            swapped = _as_sides(one, other)
            # A clock of each side swaps in place of a shift; the swap alone, beside the shift, is another mirror.
            shift = when(swapped.each != (replace(one, name=""),), " with `shift: none`")
            yield f"{one.name} and {other.name} swapped{shift}", (*fields[:at], swapped, *fields[at + 2 :])


def reordered_fields(fields: Sequence[Field]) -> Iterator[tuple[str, tuple[Field, ...]]]:
    """Blocks one after the other in the other order, here or in what a block is built of, with words for it."""
    for at, block in enumerate(fields):
        for words, parts in reordered_fields(block.parts):
            yield words, (*fields[:at], block.of_parts(parts), *fields[at + 1 :])
    for at, (one, other) in enumerate(pairwise(fields)):
        # Two blocks alike are the same in either order.
        if replace(one, name="") != replace(other, name=""):
            words = f"{other.name or other.kind} before {one.name or one.kind}"
            yield words, (*fields[:at], other, one, *fields[at + 2 :])


def rarely_other_fields(fields: Sequence[Field], body: Skeleton) -> Iterator[tuple[str, tuple[Field, ...]]]:
    """Blocks of which one is taken for another that is meant less often, with words for it."""
    for at, block in enumerate(fields):
        for words, other in block.rare_lookalikes(body):
            yield words, (*fields[:at], other, *fields[at + 1 :])


def all_lookalikes(block: Field, body: Skeleton) -> Iterator[tuple[str, Field]]:
    """All that one block may be taken for, with words for it."""
    yield from chain(block.lookalikes(), _within(block), block.rare_lookalikes(body))


def single_blocks(fields: Sequence[Field]) -> Iterator[tuple[Way, Field]]:
    """The blocks that are built of no others, each with the way to it."""
    for at, block in enumerate(fields):
        if not block.parts:
            yield (at,), block
        for way, part in single_blocks(block.parts):
            yield (at, *way), part


def with_block(fields: Sequence[Field], way: Way, other: Field) -> tuple[Field, ...]:
    """The fields with another block at the end of the way, under the name of the one that it takes the place of."""
    at, *rest = way
    block = fields[at]
    if rest:
        changed = block.of_parts(with_block(block.parts, tuple(rest), other))
    else:
        changed = replace(other, name=block.name)
    return (*fields[:at], changed, *fields[at + 1 :])


def _within(block: Field) -> Iterator[tuple[str, Field]]:
    """Numbers without names as those of two sides: one side after the other, or the two in turn."""
    if not isinstance(block, Scalar) or block.entries or not 1 < block.count <= MOST_SCALARS:
        return
    name = block.name or "the numbers"
    if block.count > 2:
        yield f"{name} in reverse", _reversed(block)
    if block.count % 2:
        return
    # (0 1 | 2 3) as halves, (0 2 | 1 3) as neighbours; of two numbers both are the same.
    count = block.count // 2
    halves = Items(block.name, "items", ("first", "second"), (Scalar("", count),), _BOTH, where=block.where)
    if count == 1:
        yield f"both of {name} swapped", halves
    else:
        yield f"the halves of {name} swapped", halves
        yield f"every two neighbours of {name} swapped", replace(halves, major="entries")


def _reversed(block: Scalar) -> Items:
    """The numbers of which the first and the last swap, the second and the last but one, and so on.

    So are legs numbered that go round the body, 1 to 6, and rows of sensors from side to side.
    """
    numbers, ends = tuple(map(str, range(block.count))), mirrored_at_the_middle(block.count)
    return Items(block.name, "items", numbers, (Scalar("", 1),), ends, where=block.where)


def _is_as(one: Field, other: Field) -> bool:
    """Whether two blocks are the same up to their names, of which each needs one, and swap nothing themselves."""
    if isinstance(one, Items) or not one.name or not other.name or one.reflect or other.reflect:
        return False
    return "joints" not in one.to_dict() and replace(one, name=other.name) == other


def _as_sides(one: Field, other: Field) -> Items:
    """Two blocks as those of two sides; clocks of the sides are not shifted, since they swap."""
    each = _unshifted(replace(one, name="", where=""))
    return Items("", "items", (one.name, other.name), (each,), _BOTH, where=one.where)


def _unshifted(block: Field) -> Field:
    """The block with no clock in it that the mirror shifts."""
    if isinstance(block, Phase):
        return replace(block, shift="none")
    return block.of_parts(tuple(map(_unshifted, block.parts)))
