"""Which involution fits best, by how well every two units fit as each other's mirror image?

In goes how well unit i fits as the mirror image of unit j, for all i and j; out comes which units are partners, which
are negated with it, and which are their own partners. With the scores

         0    1    2
    0   .1   .9    0        best with fixed points:   (0 1), 2 stays     0.9 + 0.9 + 0.5 = 2.3
    1   .9   .1    0        where signs are allowed, |score| counts, and a pair of negative score is negated
    2    0    0   .5

This is a matching of largest weight in a graph whose edges are all pairs and all single units. An assignment says which
unit goes to which, each used once (exactly, by scipy); its cycles are cut into pairs; and pairs exchange members as
long as that helps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chiralize.errors import NonFiniteError, UsageError
from chiralize.symmetry.involution import SignedPermutation

Array = npt.NDArray[np.floating]
_MOST_UNITS = 4096
"""An assignment of so many takes 3 seconds and a gigabyte; both grow eightfold and fourfold with every doubling."""
_SWEEPS = 200
"""At most so many rounds of exchanges; ten are usual, and each makes the total larger."""


@dataclass(frozen=True)
class Score:
    """How well unit i fits as the mirror image of unit j, "unit unit".

    signed: changes its sign where the pair is negated.  plain: does not.
    """

    signed: Array
    plain: Array

    @staticmethod
    def zero(size: int) -> Score:
        """No evidence for any pair yet. Raises UsageError for more units than can be paired."""
        if size > _MOST_UNITS:
            facts = f"a hidden space of {size} units, of which at most {_MOST_UNITS} are paired by their weights"
            raise UsageError("hidden.pairing", facts, "impose their pairs (hidden.pairing: half)")
        return Score(np.zeros((size, size)), np.zeros((size, size)))

    def __add__(self, other: Score) -> Score:
        return Score(self.signed + other.signed, self.plain + other.plain)


def best_involution(score: Score, sign_free: bool, fixed_points: bool = True) -> SignedPermutation:
    """An involution with a large total score.

    sign_free: no entry may be negated.  fixed_points: units may be their own mirror images (else an odd one out is).
    Raises NonFiniteError where the scores overflow.
    """
    # Of a pair only the sum of both scores counts. Where signs are free the better one is taken, hence |score|.
    signed = _symmetric(score.signed)
    total = signed if sign_free else np.abs(signed)
    if score.plain.any():
        total = total + _symmetric(score.plain)
    if not np.isfinite(total).all():
        facts = "their scores are not finite: second moments of the calibration, or of weights, overflow"
        raise NonFiniteError("pairs of units", facts, "drop the samples, or the weights, that are far off")
    units = np.arange(len(total))
    partner = units.copy()
    for i, j in _assigned_pairs(total) if fixed_points else _perfect_pairs(total):
        partner[i], partner[j] = j, i
    # The assignment was the best one before its longer cycles were cut; exchanges make up for some of that.
    _exchange(partner, total, fixed_points)
    chosen = signed[units, partner]
    sign = np.ones(len(total), np.int64) if sign_free else np.where(chosen < 0, -1, 1)
    return SignedPermutation(partner, sign)


def _symmetric(array: Array) -> Array:
    """(A + A') / 2."""
    return (array + array.T) / 2


def _assigned_pairs(total: Array) -> list[tuple[int, int]]:
    """Pairs of the best assignment: its cycles, each cut into its best pairs; a cycle of one unit makes none."""
    from scipy.optimize import linear_sum_assignment  # a third of a second, which most commands need not spend

    rows, columns = linear_sum_assignment(total, maximize=True)
    return [pair for cycle in _cycles(columns[np.argsort(rows)]) for pair in _cut(cycle, total)]


def _perfect_pairs(total: Array) -> list[tuple[int, int]]:
    """Pairs for all units (but the last of an odd number): what an assignment leaves over is assigned again."""
    left = np.arange(len(total))
    # Lower than what all other entries of an assignment could make up for, so that no unit is assigned to itself.
    never = -4.0 * len(total) * (float(np.abs(total).max(initial=0.0)) + 1.0)
    pairs: list[tuple[int, int]] = []
    # A cycle of three units gives one pair and leaves one unit over.
    while len(left) > 1:
        part = total[np.ix_(left, left)].copy()
        np.fill_diagonal(part, never)
        assigned = _assigned_pairs(part)
        pairs += [(int(left[i]), int(left[j])) for i, j in assigned]
        left = np.delete(left, [i for pair in assigned for i in pair])
    return pairs


def _exchange(partner: npt.NDArray[np.int64], total: Array, fixed_points: bool) -> None:
    """Pair two units anew, and those they leave behind with each other, as long as the total grows. In place.

    fixed_points: those left behind may stay without a partner, and pairs may part.
    """
    units = np.arange(len(total))
    fixed = np.diagonal(total).astype(np.float64)
    for _ in range(_SWEEPS):
        # Per unit: the score of its pair (or of itself), and what its partner would score by itself.
        unpaired = partner == units
        cost = np.where(unpaired, fixed, 2 * total[units, partner])
        left = np.where(unpaired, 0.0, fixed[partner])
        # "unit unit": what those who are left behind score, each by itself or paired with the other one.
        apart = left[:, None] + left
        both = ~unpaired[:, None] & ~unpaired
        rest = np.where(both, 2 * total[np.ix_(partner, partner)], apart)
        if fixed_points:
            rest = np.maximum(rest, apart)
        gain = 2 * total + rest - cost[:, None] - cost
        # The unit itself stands for parting from its partner. Partners are paired already.
        np.fill_diagonal(gain, fixed + left - cost if fixed_points else -np.inf)
        gain[units[~unpaired], partner[~unpaired]] = -np.inf
        # Two that are left behind and fit equally well both ways are paired where fixed points are not wanted.
        if not _apply_best(partner, gain, fixed_points & (rest == apart)):
            return


def _apply_best(partner: npt.NDArray[np.int64], gain: Array, parted: npt.NDArray[np.bool_]) -> bool:
    """Carry out the best exchanges that do not touch each other; False where there is none.

    parted: those who are left behind stay without a partner, "unit unit".
    """
    # Rounding could exchange the same units to and fro for ever.
    least = 1e-9 * (1 + np.abs(gain[np.isfinite(gain)]).max(initial=0.0))
    first, second = np.nonzero(gain > least)
    order = np.argsort(-gain[first, second])
    used: set[int] = set()
    for i, j in zip(first[order].tolist(), second[order].tolist(), strict=True):
        a, b = int(partner[i]), int(partner[j])
        if used & {i, j, a, b}:
            continue
        used |= {i, j, a, b}
        are_paired = i != a and j != b
        # Both pairs part, i and j are paired, and so are a and b unless they stay by themselves. With i = j a pair
        # parts.
        partner[[i, a]] = i, a
        partner[[j, b]] = j, b
        partner[i], partner[j] = j, i
        if are_paired and not parted[i, j]:
            partner[a], partner[b] = b, a
    return bool(used)


def _cycles(successor: npt.NDArray[np.int64]) -> Iterator[list[int]]:
    """The cycles of a permutation that are longer than one, each as its units in their order."""
    seen: set[int] = set()
    for start in range(len(successor)):
        cycle: list[int] = []
        unit = start
        while unit not in seen:
            seen.add(unit)
            cycle.append(unit)
            unit = int(successor[unit])
        if len(cycle) > 1:
            yield cycle


def _cut(cycle: Sequence[int], total: Array) -> list[tuple[int, int]]:
    """Disjoint neighbours on a cycle with the largest gain over leaving both where they are."""
    if len(cycle) == 2:
        return [(cycle[0], cycle[1])]
    # Edge k joins cycle[k] to the next unit; the last one closes the cycle. No two chosen edges may share a unit:
    # either the last edge is not chosen, or it is, and then neither the first nor the last but one.
    gain = [2 * total[a, b] - total[a, a] - total[b, b] for a, b in zip(cycle, [*cycle[1:], cycle[0]], strict=True)]
    closed = _best_path(gain[:-1])
    with_last = [edge + 1 for edge in _best_path(gain[1:-2])] + [len(cycle) - 1]
    best = max((closed, with_last), key=lambda edges: sum(gain[edge] for edge in edges))
    return [(cycle[edge], cycle[(edge + 1) % len(cycle)]) for edge in best]


def _best_path(gain: Sequence[float]) -> list[int]:
    """Edges of a path, no two of them adjacent, with the largest total gain."""
    # best[k + 1]: of the first k edges. The last edge is chosen beside the best of all but its neighbour, or left out.
    best: list[tuple[float, list[int]]] = [(0.0, []), (0.0, [])]
    for edge, value in enumerate(gain):
        taken = (best[-2][0] + value, [*best[-2][1], edge])
        best.append(max(best[-1], taken, key=lambda item: item[0]))
    return best[-1][1]
