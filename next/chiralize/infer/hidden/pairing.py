"""Which involution fits best, by how well every two units fit as each other's mirror image?

In goes how well unit i fits as the mirror image of unit j, for all i and j; out comes which units are partners, which
are negated with it, and which are their own partners. With the scores

         0    1    2
    0   .1   .9    0        best with fixed points:   (0 1), 2 stays     0.9 + 0.9 + 0.5 = 2.3
    1   .9   .1    0        where signs are allowed, |score| counts, and a pair of negative score is negated
    2    0    0   .5

This is a matching of largest weight in a graph whose edges are all pairs and all single units. An assignment says which
unit goes to which, each used once (exactly, by scipy); its cycles are cut into pairs; and units of cycles that do not
divide into pairs exchange partners with others as long as that helps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chiralize.errors import NonFiniteError, UsageError
from chiralize.symmetry.involution import SignedPermutation

Array = npt.NDArray[np.floating]
Integers = npt.NDArray[np.int64]
Truths = npt.NDArray[np.bool_]
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
    partner = _improved(*_assigned(total, fixed_points), total, fixed_points)
    chosen = signed[np.arange(len(total)), partner]
    sign = np.ones(len(total), np.int64) if sign_free else np.where(chosen < 0, -1, 1)
    return SignedPermutation(partner, sign)


def _symmetric(array: Array) -> Array:
    return (array + array.T) / 2


# ---- the best assignment, in pairs -----------------------------------------------------------------------------------
def _assigned(total: Array, fixed_points: bool) -> tuple[Integers, Truths]:
    """The partners in the best assignment, and the units that have another one than it says: those of cut cycles.

    Without fixed points what is left over is assigned again, until at most one unit is.
    """
    from scipy.optimize import linear_sum_assignment  # a third of a second, which most commands need not spend

    # Lower than what all other entries of an assignment could make up for, so that no unit is assigned to itself.
    never = -4.0 * len(total) * (float(np.abs(total).max(initial=0.0)) + 1.0)
    partner, loose, left = np.arange(len(total)), np.zeros(len(total), bool), np.arange(len(total))
    is_first = True
    while is_first or (not fixed_points and len(left) > 1):
        part = total[np.ix_(left, left)]
        if not fixed_points:
            np.fill_diagonal(part, never)
        for cycle in _cycles(linear_sum_assignment(part, maximize=True)[1]):
            units = left[_paired(np.array(cycle), part)]
            partner[units[::2]], partner[units[1::2]] = units[1::2], units[::2]
            loose[left[cycle]] = not is_first or partner[left[cycle]] == left[cycle]
        left, is_first = left[partner[left] == left], False
    return partner, loose


def _cycles(successor: Integers) -> Iterator[list[int]]:
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


def _paired(cycle: Integers, total: Array) -> Integers:
    """The units of a cycle, partners side by side.

    Every second edge of an even cycle has half of its score, counted twice all of it: nothing is lost. Of an odd cycle
    the unit stays by itself that this costs least.
    """
    if len(cycle) % 2 == 0:
        return cycle
    rests = [np.roll(cycle, -unit)[1:] for unit in range(len(cycle))]
    scores = [
        total[unit, unit] + 2 * total[rest[::2], rest[1::2]].sum() for unit, rest in zip(cycle, rests, strict=True)
    ]
    return rests[int(np.argmax(scores))]


# ---- pairs that exchange members -------------------------------------------------------------------------------------
def _improved(partner: Integers, loose: Truths, total: Array, fixed_points: bool) -> Integers:
    """Pairs of two units, and of those that they leave behind, as long as the total grows by it.

    loose: units from which an exchange may start. A pair of the best assignment scores as well as any could, so that
    every exchange that helps has another one in it.  fixed_points: those left behind may stay without a partner, and
    pairs may part.
    """
    units = np.arange(len(total))
    fixed = np.diagonal(total).astype(np.float64)
    for _ in range(_SWEEPS):
        rows = np.flatnonzero(loose)
        # Per unit: the score of its pair (or of itself), and what its partner would score by itself.
        single = partner == units
        cost = np.where(single, fixed, 2 * total[units, partner])
        left = np.where(single, 0.0, fixed[partner])
        # "row unit": what those who are left behind score, each by itself or paired with the other one.
        apart = left[rows, None] + left
        rest = np.where(~single[rows, None] & ~single, 2 * total[np.ix_(partner[rows], partner)], apart)
        if fixed_points:
            rest = np.maximum(rest, apart)
        gain = 2 * total[rows] + rest - cost[rows, None] - cost
        # Partners are paired already. The unit itself stands for parting from its partner.
        gain[np.arange(len(rows)), partner[rows]] = -np.inf
        gain[np.arange(len(rows)), rows] = (fixed + left - cost)[rows] if fixed_points else -np.inf
        # Two that are left behind and fit equally well both ways are paired where fixed points are not wanted.
        changed = _exchanged(partner, rows, gain, fixed_points & (rest == apart))
        if not changed:
            break
        loose[list(changed)] = True
    return partner


def _exchanged(partner: Integers, rows: Integers, gain: Array, parted: Truths) -> set[int]:
    """Carry out the best exchanges that do not touch each other, in place; returns the units that take part.

    parted: those who are left behind stay without a partner. Both "row unit".
    """
    # Rounding could exchange the same units to and fro for ever.
    least = 1e-9 * (1 + np.abs(gain[np.isfinite(gain)]).max(initial=0.0))
    first, second = np.nonzero(gain > least)
    order = np.argsort(-gain[first, second])
    used: set[int] = set()
    for row, j in zip(first[order].tolist(), second[order].tolist(), strict=True):
        i = int(rows[row])
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
        if are_paired and not parted[row, j]:
            partner[a], partner[b] = b, a
    return used
