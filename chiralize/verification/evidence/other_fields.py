"""Fields that are read as another kind than they are: in one tensor, or wherever the same block stands.

A block that is said to be a vector may really be an axial one, whose mirror has the opposite signs. Which blocks look
alike is known to `body.tensors.fields`; here each becomes an entry for `neighbours`, with words for it.

Every function yields pairs (words, entries). The entries replace those of the specification; all other tensors stay as
they are read. Of input 0 with the fields [{vector: v}, {scalar: 2, name: gains}] one of them is

    "v as an axial vector of input 0"    {("input", 0): the same entry with [{axial: v}, {scalar: 2, name: gains}]}

`neighbours` makes a specification of each, which is a mirror that the network may fit better than the one given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import ResolvedSpec
from chiralize.body.tensors.entries import TensorEntry
from chiralize.body.tensors.fields import (
    Field,
    all_lookalikes,
    exchanged_fields,
    other_fields,
    rarely_other_fields,
    reordered_fields,
    single_blocks,
    with_block,
)
from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.verification.evidence.misread import Entries

_Place = tuple[ResolvedTensor, tuple[int, ...], str]
"""A tensor, the way to a block in it, and the name of the block."""


def other_fields_of(tensor: ResolvedTensor) -> Iterator[tuple[str, Entries]]:
    """One block of a tensor as another of its `lookalikes`, from the first block to the last, with words for it."""
    for words, fields in other_fields(_fields(tensor)):
        yield _changed(tensor, words, fields)


def exchanged_fields_of(tensors: Sequence[ResolvedTensor]) -> Iterator[tuple[str, Entries]]:
    """More numbers of one tensor that change places."""
    for tensor in tensors:
        for words, fields in exchanged_fields(_fields(tensor)):
            yield _changed(tensor, words, fields)


def reordered_fields_of(tensors: Sequence[ResolvedTensor]) -> Iterator[tuple[str, Entries]]:
    """Two blocks of one tensor in the other order, as code often concatenates them."""
    for tensor in tensors:
        for words, fields in reordered_fields(_fields(tensor)):
            yield _changed(tensor, words, fields)


def rarely_other_fields_of(resolved: ResolvedSpec, tensors: Sequence[ResolvedTensor]) -> Iterator[tuple[str, Entries]]:
    """One block of a tensor as another that is meant less often, such as a vector with one other sign."""
    for tensor in tensors:
        for words, fields in rarely_other_fields(_fields(tensor), _body(resolved, tensor)):
            yield _changed(tensor, words, fields)


def others_everywhere(resolved: ResolvedSpec) -> Iterator[tuple[str, Entries]]:
    """A block that several tensors have as another one in all of them: what is read is mostly answered alike.

    A network that reads a velocity and answers the next one has the same mistake in both. With only one of the two
    changed, the other would still be wrong.
    """
    for block, places in _in_several(resolved):
        names = " and ".join(tensor.where for tensor, *_ in places)
        for words, other in all_lookalikes(block, _body(resolved, places[0][0])):
            entries: dict[tuple[str, int], TensorEntry] = {}
            # No tensor has the block twice (`_in_several`), so that no entry here replaces an earlier one.
            for tensor, path, _ in places:
                fields = with_block(_fields(tensor), path, other)
                entries[tensor.io, tensor.index] = replace(tensor.entry, fields=fields)
            yield f"{words} of {names}", entries


def _fields(tensor: ResolvedTensor) -> tuple[Field, ...]:
    """The blocks of a tensor; none of one that is not described by blocks."""
    return tensor.entry.fields or ()


def _body(resolved: ResolvedSpec, tensor: ResolvedTensor) -> Skeleton:
    """The skeleton of a tensor: its own, or that of the specification."""
    return tensor.entry.override.skeleton or resolved.spec.skeleton


def _changed(tensor: ResolvedTensor, words: str, fields: tuple[Field, ...]) -> tuple[str, Entries]:
    """What the functions above yield for a tensor with other fields."""
    return f"{words} of {tensor.where}", {(tensor.io, tensor.index): replace(tensor.entry, fields=fields)}


def _in_several(resolved: ResolvedSpec) -> list[tuple[Field, list[_Place]]]:
    """Blocks that are the same up to names and that more than one tensor has, each once, with their places.

    Input 0 with {vector: v}, output 0 with {vector: w}: one block, named v as in the first of its places, with both.
    Where input 0 has {vector: v} and {vector: w}, and output 0 {vector: w}, only the two w go together.
    """
    # All blocks that differ by name at most, with the way to each in its tensor.
    alike: dict[Field, list[_Place]] = {}
    for tensor in (*resolved.input_tensors, *resolved.output_tensors):
        for path, block in single_blocks(_fields(tensor)):
            alike.setdefault(replace(block, name=""), []).append((tensor, path, block.name))
    # Of these, groups with one place in a tensor, and more than one tensor.
    several: list[tuple[Field, list[_Place]]] = []
    for block, places in alike.items():
        by_name: dict[str, list[_Place]] = {}
        for one in places:
            by_name.setdefault(one[-1], []).append(one)
        # A tensor with two such blocks does not say which of them is that of another tensor: then names do.
        for group in [places] if _is_once_each(places) else by_name.values():
            if len(group) > 1 and _is_once_each(group):
                several.append((replace(block, name=group[0][-1]), group))
    return several


def _is_once_each(places: Sequence[_Place]) -> bool:
    """Whether no tensor has two of these blocks."""
    return len({(tensor.io, tensor.index) for tensor, *_ in places}) == len(places)
