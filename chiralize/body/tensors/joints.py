"""Entries of a tensor by the joint, or the quantity, that they belong to.

For "b t j d", on which T leaves b and t alone, the left ear (joint 1, dims x, y) has two places: (:, :, 1, 0) and
(:, :, 1, 1). Gaps and leans are added up over them, joint by joint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

from chiralize.symmetry.representation import Representation, TensorRepresentation

Place = tuple[int | slice, ...]
"""An index of a tensor: one entry, or with slices a row of them."""
MOST_ENTRIES = 4096
"""Beyond so many entries that the mirror moves (heatmaps, meshes) nobody reads a list of them."""


def members(representation: TensorRepresentation, name: Callable[[tuple[int, ...]], str]) -> dict[str, list[Place]]:
    """Entries of a tensor by the joint that they belong to, as indices of it, with all there is along an axis that the
    mirror leaves alone.

    name: of the joint of an entry (0 along those axes).
    """
    by_joint: dict[str, list[Place]] = {}
    for index in product(*map(_along, representation.axes)):
        entry = tuple(map(_first, index))
        by_joint.setdefault(name(entry), []).append(index)
    return by_joint


def _along(axis: Representation) -> Sequence[int | slice]:
    """Every position along an axis; all of them at once where the mirror leaves the axis alone."""
    if axis.is_trivial:
        return (slice(None),)
    return range(axis.size)


def _first(position: int | slice) -> int:
    """The position, 0 for a whole axis."""
    if isinstance(position, slice):
        return 0
    return position
