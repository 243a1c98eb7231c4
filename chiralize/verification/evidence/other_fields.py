"""Fields that are read as another kind than they are: in one tensor, or wherever the same block stands.

A block that is said to be a vector may really be an axial one, whose mirror has the opposite signs. Which blocks look
alike is known to `body.tensors.fields`; here each becomes an entry for `neighbours`, with words for it.
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
    """One block of a tensor as another, in the order in which they are likely, with words for it."""
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
    """The same where the other block is meant less often."""
    for tensor in tensors:
        for words, fields in rarely_other_fields(_fields(tensor), _body(resolved, tensor)):
            yield _changed(tensor, words, fields)


def others_everywhere(resolved: ResolvedSpec) -> Iterator[tuple[str, Entries]]:
    """A block that several tensors have as another one in all of them: what is read is mostly answered alike."""
    for block, places in _in_several(resolved):
        names = " and ".join(tensor.where for tensor, *_ in places)
        for words, other in all_lookalikes(block, _body(resolved, places[0][0])):
            entries: dict[tuple[str, int], TensorEntry] = {}
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
    return f"{words} of {tensor.where}", {(tensor.io, tensor.index): replace(tensor.entry, fields=fields)}


def _in_several(resolved: ResolvedSpec) -> list[tuple[Field, list[_Place]]]:
    """Blocks that are the same up to names and that more than one tensor has, each once, with their places."""
    alike: dict[Field, list[_Place]] = {}
    for tensor in (*resolved.input_tensors, *resolved.output_tensors):
        for path, block in single_blocks(_fields(tensor)):
            alike.setdefault(replace(block, name=""), []).append((tensor, path, block.name))
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
