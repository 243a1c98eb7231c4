"""Entries of a tensor by the joint, or the quantity, that they belong to."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

from chiralize.symmetry.representation import TensorRepresentation

Place = tuple[int | slice, ...]


MOST_ENTRIES = 4096
"""Beyond so many entries that the mirror moves (heatmaps, meshes) nobody reads a list of them."""


def members(representation: TensorRepresentation, name: Callable[[tuple[int, ...]], str]) -> dict[str, list[Place]]:
    """Entries of a tensor by the joint that they belong to, as indices of it, with all there is along an axis that the
    mirror leaves alone.

    name: of the joint of an entry (0 along those axes).
    """
    everywhere = (slice(None),)
    axes = [everywhere if axis.is_trivial else range(axis.size) for axis in representation.axes]
    found: dict[str, list[Place]] = {}
    for place in product(*axes):
        entry = tuple(0 if isinstance(at, slice) else at for at in place)
        found.setdefault(name(entry), []).append(place)
    return found
