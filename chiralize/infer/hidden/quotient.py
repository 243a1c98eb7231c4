"""Pairs of hidden units that do not disturb mirrors which the network commutes with already.

A choice for a space has to commute with what the other mirrors do there. Such choices are involutions of their orbits
(`symmetry.orbits`): of two orbits the better way to take one to the other is scored, and the search for pairs goes on
among orbits of one kind as it does among units.

A quadruped has two mirrors, left/right and front/back. If units 0 and 1 are left/right partners, and 2 and 3 are, then
front/back may take 0 to 2 and 1 to 3, or 0 to 3 and 1 to 2: two ways between the orbits {0, 1} and {2, 3}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from chiralize.infer.hidden.pairing import Array, Score, best_involution, symmetric
from chiralize.infer.records import RepMap, Space
from chiralize.symmetry.involution import IntArray, SignedPermutation
from chiralize.symmetry.orbits import Kind, Orbits

Keep = Callable[[Space, RepMap], Sequence[SignedPermutation]]
"""What the mirrors that are to be kept do on a hidden space."""


def nothing(space: Space, repmap: RepMap) -> Sequence[SignedPermutation]:
    """There is no other mirror."""
    return ()


def best_commuting(
    score: Score, sign_free: bool, fixed_points: bool, mirrors: Sequence[SignedPermutation]
) -> SignedPermutation:
    """As `best_involution`, among those that commute with the mirrors (which commute with each other).

    Raises NonFiniteError where the scores overflow.
    """
    if not mirrors:
        return best_involution(score, sign_free, fixed_points)
    orbits = Orbits(len(score.signed), mirrors)
    signed, plain = symmetric(score.signed), symmetric(score.plain)
    chosen: list[tuple[Kind, SignedPermutation, IntArray]] = []
    # An orbit can only go to one of its kind, so each kind is a search of its own.
    for kind in orbits.kinds:
        # Ways that need no signs, "way orbit orbit".
        possible = np.stack([orbits.is_sign_free(kind, way) for way in kind.ways])
        if not sign_free:
            possible[:] = True
        of_orbits, ways = _better_ways(orbits.folded(kind, signed), _unsigned(orbits, kind, plain), sign_free, possible)
        # A pair without a possible way scores lowest, but the search may be left with no better one.
        action = _without(best_involution(of_orbits, sign_free, fixed_points), np.asarray(possible.any(0)))
        best = ways[np.arange(action.size), action.partner]
        chosen.append((kind, action, np.array(kind.ways)[best]))
    return orbits.unfolded(chosen)


def _without(action: SignedPermutation, possible: npt.NDArray[np.bool_]) -> SignedPermutation:
    """An involution without the pairs that are not possible, whose members stay at their place."""
    units = np.arange(action.size)
    partner = np.where(possible[units, action.partner], action.partner, units)
    return SignedPermutation(partner, action.sign)


def imposed_on_orbits(
    size: int, mirrors: Sequence[SignedPermutation], impose: Callable[[int], SignedPermutation]
) -> SignedPermutation:
    """A layout that is imposed on the orbits of each kind. impose: the layout for so many."""
    orbits = Orbits(size, mirrors)
    chosen: list[tuple[Kind, SignedPermutation, IntArray]] = []
    for kind in orbits.kinds:
        # Way 0 is the identity: the base of an orbit goes to the base of its partner.
        chosen.append((kind, impose(len(kind.bases)), np.zeros(len(kind.bases), np.int64)))
    return orbits.unfolded(chosen)


def _unsigned(orbits: Orbits, kind: Kind, scores: Array) -> list[Array]:
    """Scores that do not depend on signs, folded to orbits: for every way, the sum over all elements of the group."""
    folded: list[Array] = []
    for way in kind.ways:
        total = np.zeros((len(kind.bases),) * 2)
        # Elements are sets of mirrors as bits, so the one after the other is their XOR. B takes h u to h g v.
        for element in kind.ways:
            rows, columns = orbits.partner[element, kind.bases], orbits.partner[element ^ way, kind.bases]
            total += scores[np.ix_(rows, columns)]
        folded.append(total)
    return folded


def _better_ways(
    signed: Sequence[Array], plain: Sequence[Array], sign_free: bool, possible: npt.NDArray[np.bool_]
) -> tuple[Score, IntArray]:
    """The score of every two orbits in the better way, and the position of that way.

    possible: whether a way needs no signs, "way orbit orbit". Where no way does, the score is lower than any other.
    """
    of_pairs = np.stack(signed)
    total = (of_pairs if sign_free else np.abs(of_pairs)) + np.stack(plain)
    # Below what any number of possible pairs could make up for.
    worst = -4.0 * len(of_pairs[0]) * (float(np.abs(total).max(initial=0.0)) + 1.0)
    of_pairs = np.where(possible, of_pairs, worst)
    best = np.argmax(np.where(possible, total, worst), 0)
    pick = best[None]
    of_signed = np.take_along_axis(of_pairs, pick, 0)[0]
    of_plain = np.take_along_axis(np.stack(plain), pick, 0)[0]
    return Score(of_signed, of_plain), best
