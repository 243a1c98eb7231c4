"""From scores between units to the best involution, and where the units of a space sit in a tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from chiralize.involution import SignedPermutation
from chiralize.symbolic import Abs, Assignment, Axis, Known, Sum, Term, Var, axis_size

Array = npt.NDArray[np.floating]
_SWEEPS = 200


@dataclass(frozen=True)
class Score:
    """How well unit i fits as the mirror image of unit j, "unit unit".

    signed: changes its sign where the pair is negated.  plain: does not.
    """

    signed: Array
    plain: Array

    @staticmethod
    def zero(size: int) -> Score:
        return Score(np.zeros((size, size)), np.zeros((size, size)))

    def __add__(self, other: Score) -> Score:
        return Score(self.signed + other.signed, self.plain + other.plain)


def best_involution(score: Score, sign_free: bool, fixed_points: bool = True) -> SignedPermutation:
    """An involution with a large total score: an assignment whose cycles are cut into their best pairs, then exchanges.

    sign_free: no entry may be negated.  fixed_points: units may be their own mirror images (else an odd one out does).
    """
    signed = (score.signed + score.signed.T) / 2
    total = (signed if sign_free else np.abs(signed)) + (score.plain + score.plain.T) / 2
    pairs = _assigned_pairs(total) if fixed_points else _perfect_pairs(total)
    partner = np.arange(len(total))
    for i, j in pairs:
        partner[i], partner[j] = j, i
    _exchange(partner, total, fixed_points)
    chosen = signed[np.arange(len(total)), partner]
    sign = np.ones(len(total), np.int64) if sign_free else np.where(chosen < 0, -1, 1)
    return SignedPermutation(partner, sign)


def _assigned_pairs(total: Array) -> list[tuple[int, int]]:
    rows, columns = linear_sum_assignment(total, maximize=True)
    return [pair for cycle in _cycles(columns[np.argsort(rows)]) for pair in _cut(cycle, total)]


def _perfect_pairs(total: Array) -> list[tuple[int, int]]:
    """Pairs for all units (but the last of an odd number): what an assignment leaves over is assigned again."""
    left = np.arange(len(total))
    never = -4.0 * len(total) * (float(np.abs(total).max(initial=0.0)) + 1.0)
    pairs: list[tuple[int, int]] = []
    while len(left) > 1:
        part = total[np.ix_(left, left)].copy()
        np.fill_diagonal(part, never)
        found = _assigned_pairs(part)
        pairs += [(int(left[i]), int(left[j])) for i, j in found]
        left = np.delete(left, [i for pair in found for i in pair])
    return pairs


def _exchange(partner: npt.NDArray[np.int64], total: Array, fixed_points: bool) -> None:
    """Pair two units anew, and those they leave behind with each other, as long as the total grows. In place.

    fixed_points: those left behind may stay alone, and pairs may part.
    """
    own = np.diagonal(total)
    for _ in range(_SWEEPS):
        places = np.arange(len(total))
        alone = partner == places
        cost = np.where(alone, own, 2 * total[places, partner])
        left = np.where(alone, 0.0, own[partner])
        apart = left[:, None] + left[None, :]
        both = ~alone[:, None] & ~alone[None, :]
        rest = np.where(both, 2 * total[np.ix_(partner, partner)], apart)
        if fixed_points:
            rest = np.maximum(rest, apart)
        gain = 2 * total + rest - cost[:, None] - cost[None, :]
        gain[places, places] = (own + left - cost) if fixed_points else -np.inf
        gain[places[~alone], partner[~alone]] = -np.inf
        if not _apply_best(partner, gain, rest == apart, alone):
            return


def _apply_best(
    partner: npt.NDArray[np.int64], gain: Array, parted: npt.NDArray[np.bool_], alone: npt.NDArray[np.bool_]
) -> bool:
    """Carry out the best exchanges that do not touch each other; False where there is none."""
    first, second = np.nonzero(np.triu(gain > 1e-9 * (1 + np.abs(gain[np.isfinite(gain)]).max(initial=0.0))))
    used: set[int] = set()
    for place in np.argsort(-gain[first, second]):
        i, j = int(first[place]), int(second[place])
        a, b = int(partner[i]), int(partner[j])
        if used & {i, j, a, b}:
            continue
        used |= {i, j, a, b}
        keep_apart = bool(parted[i, j]) or alone[i] or alone[j]
        partner[[i, a]] = i, a
        partner[[j, b]] = j, b
        partner[i], partner[j] = j, i
        if not keep_apart:
            partner[a], partner[b] = b, a
    return bool(used)


def _cycles(successor: npt.NDArray[np.int64]) -> Iterator[list[int]]:
    seen: set[int] = set()
    for start in range(len(successor)):
        cycle: list[int] = []
        place = start
        while place not in seen:
            seen.add(place)
            cycle.append(place)
            place = int(successor[place])
        if len(cycle) > 1:
            yield cycle


def _cut(cycle: Sequence[int], total: Array) -> list[tuple[int, int]]:
    """Disjoint neighbours on a cycle with the largest gain over leaving both where they are."""
    if len(cycle) == 2:
        return [(cycle[0], cycle[1])]
    gain = [2 * total[a, b] - total[a, a] - total[b, b] for a, b in zip(cycle, [*cycle[1:], cycle[0]], strict=True)]
    closed = _best_path(gain[:-1])
    opened = _best_path(gain[1:-2])
    with_last = [place + 1 for place in opened] + [len(cycle) - 1]
    best = max((closed, with_last), key=lambda edges: sum(gain[edge] for edge in edges))
    return [(cycle[edge], cycle[(edge + 1) % len(cycle)]) for edge in best]


def _best_path(gain: Sequence[float]) -> list[int]:
    """Edges of a path, no two of them adjacent, with the largest total gain."""
    best: list[tuple[float, list[int]]] = [(0.0, []), (0.0, [])]
    for edge, value in enumerate(gain):
        taken = (best[-2][0] + value, [*best[-2][1], edge])
        best.append(max(best[-1], taken, key=lambda item: item[0]))
    return best[-1][1]


# ---- where the units of a space sit ------------------------------------------------------------------------------
@dataclass(frozen=True)
class Block:
    """A stretch of an axis that is (before x units x after); absolute where signs are dropped there."""

    start: int
    before: SignedPermutation
    units: int
    after: SignedPermutation
    absolute: bool

    @property
    def stop(self) -> int:
        return self.start + self.before.size * self.units * self.after.size


def blocks(axis: Axis, key: int, known: Assignment, start: int = 0) -> list[Block] | None:
    """Every stretch of an axis that carries the space; None where something else there is not known yet."""
    if len(axis) == 1 and isinstance(axis[0], Sum):
        found: list[Block] = []
        for part in axis[0].parts:
            inner = blocks(part, key, known, start)
            if inner is None:
                return None
            found += inner
            start += axis_size(part)
        return found
    places = [place for place, term in enumerate(axis) if isinstance(term, (Var, Abs)) and _key(term) == key]
    if not places:
        return []
    if len(places) > 1:
        return None
    place = places[0]
    sides = [_known_product(axis[:place], known), _known_product(axis[place + 1 :], known)]
    before, after = sides
    if before is None or after is None:
        return None
    return [Block(start, before, axis[place].size, after, isinstance(axis[place], Abs))]


def _key(term: Var | Abs) -> int:
    return term.id if isinstance(term, Var) else term.var.id


def _known_product(terms: Sequence[Term], known: Assignment) -> SignedPermutation | None:
    result = SignedPermutation.identity(1)
    for term in terms:
        match term:
            case Known(action):
                result = result.kronecker(action)
            case Var(id=key) if key in known:
                result = result.kronecker(known[key])
            case Abs(var) if var.id in known:
                result = result.kronecker(abs(known[var.id]))
            case _:
                return None
    return result
