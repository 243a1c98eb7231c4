"""Actions between values that the mirror exchanges.

For value(T x) = R partner(x), R is a signed permutation from the entries of the one to those of the other. The order of
the entries may differ: with joints 1, 2 exchanged with 4, 5, T takes x[[1, 2]] to x[[5, 4]] by the R that exchanges
both entries. Only an R that is an involution is allowed, since the partner's partner is the value itself, by the same
R. `Partners` uses these functions to describe what is taken out of an axis, and what is joined again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chiralize.errors import NotAnInvolutionError
from chiralize.infer.products import without_axis
from chiralize.infer.solver.terms import Conflict
from chiralize.infer.taking import Taken
from chiralize.symmetry.involution import IntArray, SignedPermutation
from chiralize.symmetry.symbolic import SymbolicRepresentation, known_axis

_MANY_LISTS = "two branches take the same entries in different orders: no involution exchanges them"


def closed(action: SignedPermutation, entries: Sequence[int]) -> bool:
    """Whether the mirror takes the entries to each other."""
    return action.restrict(entries) is not None


def between(action: SignedPermutation, entries: Sequence[int], theirs: Sequence[int]) -> SignedPermutation:
    """R of value(T x) = R partner(x): entry i of ours is the mirror image of that entry of theirs."""
    positions: dict[int, list[int]] = {}
    # An entry may be taken several times: copies correspond in their order.
    for position, entry in enumerate(theirs):
        positions.setdefault(entry, []).append(position)
    partner = [positions[int(action.partner[entry])].pop(0) for entry in entries]
    return involution(np.array(partner), action.sign[np.asarray(entries)])


def involution(partner: IntArray, sign: IntArray) -> SignedPermutation:
    """The involution of these partners and signs. Raises Conflict where it is none."""
    try:
        return SignedPermutation(partner, sign)
    except NotAnInvolutionError:
        raise Conflict(_MANY_LISTS) from None


def part(rep: SymbolicRepresentation, taken: Taken, action: SignedPermutation) -> SymbolicRepresentation:
    """The representation of entries taken out of a tensor, on which the mirror acts by `action`."""
    if taken.single:
        rest = without_axis(rep, taken.dim)
        return SymbolicRepresentation(rest.axes, rest.sign * int(action.sign[0]))
    return rep.with_axis(taken.dim, known_axis(action))


def exchange(parts: Sequence[SignedPermutation], order: Sequence[int]) -> SignedPermutation:
    """A direct sum whose parts change places: part i of T x is part order[i] of x, acted on by parts[i]."""
    # Entry k of part i goes to where part order[i] begins, and there to the partner of k.
    starts = np.cumsum([0] + [part.size for part in parts])
    partners = [part.partner + starts[index] for part, index in zip(parts, order, strict=True)]
    return involution(np.concatenate(partners), np.concatenate([part.sign for part in parts]))


def positions_of(images: Sequence[str], names: Sequence[str]) -> list[int] | None:
    """The position of every image among the names, copies in order; None where one is not among them."""
    order: list[int] = []
    for number, (name, image) in enumerate(zip(names, images, strict=True)):
        positions = [position for position, candidate in enumerate(names) if candidate == image]
        # The second a of (a, b, a, b) goes to the second b.
        rank = names[:number].count(name)
        if rank >= len(positions):
            return None
        order.append(positions[rank])
    return order
