"""Outputs of another kind than a specification says: scores for a pose, a pose for scores, scores that swap.

Example: an output of 4 contacts that is said to stay (`invariant`). Tried are a pose, each two entries swapped, the
pairs (0 1) (2 3) and the halves (0 2) (1 3), and other signs. They change outputs alone, so that none takes a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

from chiralize.body.tensors import ResolvedSpec
from chiralize.body.tensors.entries import Classes, TensorEntry
from chiralize.body.tensors.fields.plain import MOST_SCALARS, Scalar, other_signs_of
from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.verification.evidence.misread import Entries

MOST_CLASSES = 24
"""Classes without a partner, up to which every two of them are tried as a pair."""
_TWO_PAIRS = 4


def outputs_of_another_kind(resolved: ResolvedSpec) -> Iterator[tuple[str, Entries]]:
    """Every output read as another kind, with words for it."""
    for tensor in resolved.output_tensors:
        for words, entry in _other_entries(tensor):
            yield words, {("output", tensor.index): entry}


def _other_entries(tensor: ResolvedTensor) -> Iterator[tuple[str, TensorEntry]]:
    """The entries that one output could have instead, with words for each."""
    entry, where = tensor.entry, tensor.where
    if tensor.kind == "invariant":
        yield f"{where} as a pose", TensorEntry()
        yield from _scores_that_move(tensor)
    elif entry.kind in ("pose", "fields"):
        yield f"{where} unmoved by the mirror", TensorEntry(flag="invariant")
    elif entry.classes is not None and tensor.class_axis is not None:
        for words, classes in _other_classes(entry.classes, tensor.shape[tensor.class_axis]):
            yield f"{words} in {where}", replace(entry, classes=classes)


def _other_classes(classes: Classes, size: int) -> Iterator[tuple[str, Classes]]:
    """Classes without any swap, with one pair less, and, where they are few, with one pair more.

    Other partners are read off the answers (`repairing`), and off the names.
    """

    def named(pair: tuple[int, int]) -> str:
        """A pair of classes in words."""
        one, other = pair
        if classes.names:
            return f"the classes {classes.names[one]} and {classes.names[other]}"
        return f"the classes {one} and {other}"

    if classes.swap:
        yield "no classes swapped", replace(classes, swap=())
    for pair in classes.swap:
        rest = tuple(other for other in classes.swap if other != pair)
        yield f"{named(pair)} unswapped", replace(classes, swap=rest)
    # One pair more, of classes that have no partner yet.
    taken = {at for pair in classes.swap for at in pair}
    single = [at for at in range(size) if at not in taken]
    if len(single) <= MOST_CLASSES:
        for pair in combinations(single, 2):
            yield f"{named(pair)} swapped", replace(classes, swap=(*classes.swap, pair))


def _scores_that_move(tensor: ResolvedTensor) -> Iterator[tuple[str, TensorEntry]]:
    """Scores that are said to stay, few of them along the last axis: two of them swapped, or one negated.

    Where they are of several limbs, left ones and right ones lie in pairs or in halves. A layout of samples and numbers
    alone, such as `b s`, says no more than none does.
    """
    given = tensor.entry.layout
    if len(tensor.shape) < 2 or tensor.shape[-1] > MOST_SCALARS or (given is not None and len(tensor.shape) > 2):
        return
    if given is not None:
        tensor = replace(tensor, entry=replace(tensor.entry, layout=None))
    size, where = tensor.shape[-1], tensor.where
    for one, other in combinations(range(size), 2):
        pair = f"`classes: {{swap: [[{one}, {other}]]}}`"
        yield f"entries {one} and {other} of {where} swapped ({pair})", _swapping(tensor, ((one, other),))
    if size >= _TWO_PAIRS and size % 2 == 0:
        half = size // 2
        neighbours = tuple((at, at + 1) for at in range(0, size, 2))
        yield f"entries 0 and 1, 2 and 3, ... of {where} swapped (`classes`)", _swapping(tensor, neighbours)
        halves = tuple((at, half + at) for at in range(half))
        yield f"entries 0 and {half}, 1 and {half + 1}, ... of {where} swapped (`classes`)", _swapping(tensor, halves)
    for words, signs in other_signs_of(Scalar(f"output {tensor.index}", size)):
        fields = replace(tensor.entry, flag=None, fields=(signs,))
        yield f"{words} (`fields: [{{signs: {list(signs.signs)}}}]`)", fields


def _swapping(tensor: ResolvedTensor, pairs: tuple[tuple[int, int], ...]) -> TensorEntry:
    """The entry of scores of which these pairs are partners."""
    return replace(tensor.entry, flag=None, classes=Classes(swap=pairs))
