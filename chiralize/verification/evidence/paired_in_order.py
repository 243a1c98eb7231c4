"""Skeletons whose joints are paired as their order says, in place of the pairs that are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from chiralize.body.skeleton.regular_pairs import Pairs, regular_pairs
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.fields.partners import tells_side


def paired_in_order(body: Skeleton) -> Iterator[tuple[str, Callable[[Skeleton], Skeleton]]]:
    """Changes of a skeleton to each set of pairs that the order of its joints gives, other than those that it has.

    None where a joint's name tells a side: the names tell the pairs, too.
    """
    if any(tells_side(joint, body.joints) for joint in body.joints):
        return
    given = {frozenset(pair) for pair in body.pairs}
    for words, pairs in regular_pairs(body.joints):
        if {frozenset(pair) for pair in pairs} != given:
            yield words, partial(_with_pairs, names=body.joints, pairs=pairs)


def _with_pairs(body: Skeleton, names: tuple[str, ...], pairs: Pairs) -> Skeleton:
    """The skeleton with these pairs and no others, where it has the joints `names` in their order."""
    return replace(body, pairs=pairs) if body.joints == names else body
