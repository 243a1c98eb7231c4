"""Mirrors that go against names which T follows: no specification is mended by them.

A network that learned one actor answers better where the two sides of a crooked smile stay in their places, and one
whose joints came in another order where two joints of one leg are partners. In both cases the pairs are right by the
names of the joints, and the mirror that fits better tells of something else: of a habit, or of the order.

    T           mouthSmileLeft with mouthSmileRight       RL_thigh with RR_thigh      l_1 with r_1
    other       both in their places                      RL_thigh with RL_calf       l_1 with r_4
    is          against names, `unswapped`                against names, `misplaced`  not against sides

`fitting` notes it of every mirror that comes nearer than T, `judging` makes a finding of it, and `corrections` leaves
such mirrors out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from chiralize.body.skeleton.naming import side_in_pair
from chiralize.graph.mirror import NetworkMirror
from chiralize.symmetry.involution import SignedPermutation
from chiralize.verification.evidence.labels import NamedPartners, partners_by_label
from chiralize.verification.evidence.names import labelled_axes, parts_along
from chiralize.verification.evidence.records import AgainstNames

Place = tuple[str, int, str]
"""An entry: `input` or `output`, its position, and the label."""


def places_against_names(mirror: NetworkMirror) -> set[Place]:
    """The entries that a mirror leaves in their places, or takes to no entry of the other side, against their names."""
    places = set[Place]()
    for io, index, _, labels, axis in labelled_axes(mirror):
        for at, _ in _moved_against(labels, axis.action):
            places.add((io, index, labels[at]))
    return places


def against_names(mirror: NetworkMirror, known: Collection[Place]) -> AgainstNames:
    """What a mirror does against names, without the entries in `known`, which are those of T."""
    unswapped, misplaced = dict[str, None](), dict[str, None]()
    for io, index, position, labels, axis in labelled_axes(mirror):
        against = list(_moved_against(labels, axis.action))
        if not against:
            continue
        parts = parts_along(mirror, io, index, position)
        for at, partner in against:
            if (io, index, labels[at]) in known:
                continue
            to = int(axis.action.partner[at])
            if to == at:
                first, second = sorted((at, partner))
                unswapped[f"{parts[first]} and {parts[second]}"] = None
            else:
                first, second = sorted((at, to))
                misplaced[f"{parts[first]} with {parts[second]}"] = None
    return AgainstNames(tuple(unswapped), tuple(misplaced))


def _moved_against(labels: list[str], action: SignedPermutation) -> Iterator[tuple[int, int]]:
    """Entries along an axis that go against their names, and their partners by name.

    One that goes to another entry of the other side is none: points of eyes are numbered around each.
    """
    named = partners_by_label(labels, action)
    if named is None:
        return
    for at in np.flatnonzero(named.tells & (action.partner != named.partner)).tolist():
        to = int(action.partner[at])
        if to == at or not named.tells[to] or _side(labels, named, to) == _side(labels, named, at):
            yield at, int(named.partner[at])


def _side(labels: list[str], named: NamedPartners, at: int) -> str | None:
    """The side of an entry whose label tells its partner."""
    return side_in_pair(labels[at], labels[int(named.partner[at])])
