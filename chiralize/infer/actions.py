"""Actions between values that the mirror exchanges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chiralize.errors import NotAnInvolutionError
from chiralize.infer.solver.terms import Conflict
from chiralize.infer.taking import Taken
from chiralize.symmetry.involution import IntArray, SignedPermutation
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, known_axis

_MANY_LISTS = "two branches take the same entries in different orders: no involution exchanges them"


def closed(action: SignedPermutation, entries: Sequence[int]) -> bool:
    return action.restrict(entries) is not None


def between(action: SignedPermutation, entries: Sequence[int], theirs: Sequence[int]) -> SignedPermutation:
    """R of value(T x) = R partner(x): entry i of ours is the mirror image of that entry of theirs."""
    places: dict[int, list[int]] = {}
    for place, entry in enumerate(theirs):
        places.setdefault(entry, []).append(place)
    partner = [places[int(action.partner[entry])].pop(0) for entry in entries]
    return involution(np.array(partner), action.sign[np.asarray(entries)])


def involution(partner: IntArray, sign: IntArray) -> SignedPermutation:
    try:
        return SignedPermutation(partner, sign)
    except NotAnInvolutionError:
        raise Conflict(_MANY_LISTS) from None


def part(rep: SymbolicRepresentation, found: Taken, action: SignedPermutation) -> SymbolicRepresentation:
    if found.single:
        axes = rep.axes[: found.dim] + rep.axes[found.dim + 1 :]
        return SymbolicRepresentation(axes, rep.sign * int(action.sign[0]))
    axis: Axis = known_axis(action)
    return rep.with_axis(found.dim, axis)


def exchange(parts: Sequence[SignedPermutation], order: Sequence[int]) -> SignedPermutation:
    """A direct sum whose parts change places: part i of T x is part order[i] of x, acted on by parts[i]."""
    starts = np.cumsum([0] + [part.size for part in parts])
    partner = np.concatenate([part.partner + starts[place] for part, place in zip(parts, order, strict=True)])
    return involution(partner, np.concatenate([part.sign for part in parts]))


def places(names: Sequence[str], images: Sequence[str]) -> list[int] | None:
    """The place of every image among the names, copies in order; None where one is not among them."""
    order: list[int] = []
    for at, (name, image) in enumerate(zip(names, images, strict=True)):
        where = [other for other, own in enumerate(names) if own == image]
        rank = names[:at].count(name)
        if rank >= len(where):
            return None
        order.append(where[rank])
    return order
