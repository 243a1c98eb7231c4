"""Which units stay, in pairs or as their own? Backward elimination by what the readers lose.

Let G be the second moments of the units and A what a reader makes of them (W' W), P = G^-1. If unit q is dropped and
what read it is refitted on the others, it reads something else by A_qq / P_qq (the loss of the optimal brain surgeon).
Dropping several, D, and keeping L is a block step of Gaussian elimination:

    a_D = B a_L,  B = -P_DD^-1 P_DL        P <- P_LL + P_LD B        A <- [1; B]' A [1; B]

Of two units with G = [[1, .9], [.9, 1]], P is [[5.3, -4.7], [-4.7, 5.3]]: to drop one costs A_qq / 5.3, since the other
explains 0.81 of it.

Units of an averaged network have two features, even and odd, with moments of their own: a pair holds both, a fixed unit
the even one alone. With e even and o odd features a layer does about e^2 + o^2 multiplications, so that a feature
costs in proportion to those of its parity that are left; what loses least for its cost goes first. A space of 512 units
at ½ has 512 units again: 256 of them and 256 images, which are 256 even and 256 odd features. For the same e^2 + o^2
there could be 299 even and 204 odd ones: 204 pairs, and 95 units kept as their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from chiralize.errors.words import when
from chiralize.infer.records import Choice, Space
from chiralize.methods.reduce.lifting import HiddenMap, matched, pairs_and_fixed
from chiralize.methods.reduce.moments import Units
from chiralize.symmetry.involution import SignedPermutation

MULTIPLICATIONS = 2
"""The power of the number of features in which a mix of pairs and fixed points may cost as much as pairs."""
_SHARE = 0.05
"""Of the units that are left, how many go at a time. One by one nothing was gained."""
_RIDGE = 1e-3
"""Of the mean energy of the units, added to each: units that are copies of each other have no inverse."""
_PROMISE = 2 / 3
"""A mix is tried where its loss is at most this share of that of pairs."""
_ROW, _NEAR, _MORE = 8, 0.97, 1.005
"""Pairs that processors multiply at once: a product with 176 pairs takes 0.80 to 0.95 of the time of one with 181.
And the shares of a width within which such a number is looked for."""


class Features:
    """The features that are left, of one parity at one reading place. Its tensors are replaced, never written to.

    moments, metric: G and A, "unit unit", float64.  bending: sums of squares that an even feature is off by where the
    odd one is given up, since the mean of two activations is not the activation of the mean.
    """

    def __init__(self, moments: Tensor, metric: Tensor, bending: Tensor | None = None) -> None:
        ridge = _RIDGE * float(moments.diagonal().mean())
        damped = moments.clone()
        damped.diagonal().add_(ridge or 1.0)  # all 0 where nothing was seen, or both views are always the same
        self.inverse = _inverted(damped)
        self.metric = metric
        if bending is None:
            self.bending = torch.zeros(len(metric), dtype=metric.dtype)
        else:
            self.bending = bending

    def bent(self) -> Tensor:
        """What giving up the odd feature of a unit costs its even one, if nothing makes up for it."""
        return self.metric.diagonal().clamp_min(0) * self.bending

    def losses(self) -> Tensor:
        """What dropping each unit costs by itself."""
        return (self.metric.diagonal() / self.inverse.diagonal()).clamp_min(0)

    def drop(self, left: Tensor, gone: Tensor) -> float:
        """Drop the units at the positions `gone`, keep those at `left`; what that costs.

        In the letters above: to_left is P_DL, solved P_DD^-1 [P_DL, A_DD], back B. The loss is the trace of
        P_DD^-1 A_DD, which for one unit is A_qq / P_qq.
        """
        to_left, metric = self.inverse[gone][:, left], self.metric[gone]
        rest, inner = metric[:, left], metric[:, gone]
        solved = torch.linalg.solve(self.inverse[gone][:, gone], torch.cat([to_left, inner], 1))
        back = -solved[:, : len(left)]
        self.bending = self.bending[left]
        # both are symmetric, and products added in place take half of the time that sums of matrices take
        self.inverse = _at(self.inverse, left).addmm_(to_left.T, back)
        self.metric = _at(self.metric, left).addmm_(rest.T, back).addmm_(back.T, rest + inner @ back)
        return float(solved[:, len(left) :].diagonal().sum())


def _inverted(moments: Tensor) -> Tensor:
    """Their inverse; by Cholesky, which takes half of the time, unless rounding of few digits has put them below 0."""
    lower, failed = torch.linalg.cholesky_ex(moments)
    if failed:
        return torch.linalg.inv(moments)
    return torch.cholesky_inverse(lower)


def _at(matrix: Tensor, positions: Tensor) -> Tensor:
    """A copy of some rows and the same columns."""
    return matrix.index_select(0, positions).index_select(1, positions)


@dataclass(frozen=True)
class Mix:
    """Units kept in pairs and units kept for their even feature alone, ascending.  loss: what all others cost."""

    pairs: list[int]
    fixed: list[int]
    loss: float


def eliminate(even: Sequence[Features], odd: Sequence[Features], count: int) -> Mix:
    """The `count` units that are kept in pairs: a twentieth of them goes at a time.

    even, odd: at every place that the units are read at; losses are summed over them.
    """
    sides = _Side(even), _Side(odd)
    loss = 0.0
    while len(sides[0].units) > count:
        # a unit goes with both features, so that both sides keep the same units in the same order
        order = (sides[0].losses() + sides[1].losses()).argsort(stable=True)
        gone = order[: min(_batch(len(order)), len(order) - count)]
        loss += sum(side.drop(gone) for side in sides)
    return Mix(sides[0].units.tolist(), [], loss)


def eliminate_features(even: Sequence[Features], odd: Sequence[Features], limit: float, power: int) -> Mix:
    """As `eliminate`, but units may lose their odd feature alone, until e^power + o^power is at most `limit`.

    power: 2 counts multiplications, 1 counts features.

    A pair has both features, a fixed unit its even one. So the odd features that are left are of units in pairs, and
    every unit with an odd feature has its even one still.
    """
    sides = _Side(even), _Side(odd)
    loss = 0.0
    while (spare := sum(len(side.units) ** power for side in sides) - limit) > 0:
        # what one feature less saves: e^power - (e - 1)^power is about power e^(power - 1)
        prices = [power * max(len(side.units), 1) ** (power - 1) for side in sides]
        gone = _cheapest(*sides, prices, spare)
        loss += sum(side.drop(positions) for side, positions in zip(sides, gone, strict=True))
    # The bending of units that end as fixed ones counts in full once: at each step only their losses were added.
    pairs = sides[1].units.tolist()
    fixed = torch.tensor([unit not in set(pairs) for unit in sides[0].units.tolist()], dtype=torch.bool)
    return Mix(pairs, sides[0].units[fixed].tolist(), loss + float(sides[0].bent()[fixed].sum()))


class _Side:
    """The features of one parity at all places. units: those that are left, ascending."""

    def __init__(self, places: Sequence[Features]) -> None:
        self.places = places
        self.units = torch.arange(len(places[0].metric))

    def losses(self) -> Tensor:
        """What it costs to drop each feature, at all places together."""
        return torch.stack([features.losses() for features in self.places]).sum(0)

    def bent(self) -> Tensor:
        """What it costs to average each feature over both views before its activation, at all places together."""
        return torch.stack([features.bent() for features in self.places]).sum(0)

    def drop(self, gone: Tensor) -> float:
        """Drop the features at these positions; returns what that costs."""
        if not len(gone):
            return 0.0
        stays = torch.ones(len(self.units), dtype=torch.bool)
        stays[gone] = False
        left = stays.nonzero()[:, 0]
        self.units = self.units[left]
        return sum(features.drop(left, gone) for features in self.places)


def _batch(count: int) -> int:
    """How many of so many units go at a time. One by one nothing was gained."""
    return max(int(count * _SHARE), 1)


def _cheapest(even: _Side, odd: _Side, prices: Sequence[float], spare: float) -> tuple[Tensor, Tensor]:
    """Positions of the even and the odd features that go next: a unit's odd one, both, or the even one left alone.

    prices: what a feature of either parity costs.  spare: how much has to be saved.

    ratio: loss per multiplication saved, by even feature. Of a unit in a pair it is that of the better of two ways: to
    drop both features, or the odd one alone, which leaves a fixed unit and its bending. To drop the even one alone is
    none, since no unit stands for an odd feature by itself.
    """
    # 1. For every odd feature: to drop the unit, or to drop the odd feature alone, each per multiplication saved.
    position = torch.searchsorted(even.units, odd.units)  # of the even feature of every pair
    odd_alone, ratio = odd.losses(), even.losses() / prices[0]
    joint = (odd_alone + even.losses()[position]) / sum(prices)
    odd_alone = (odd_alone + even.bent()[position]) / prices[1]
    whole = joint < odd_alone
    ratio[position] = torch.minimum(joint, odd_alone)
    # 2. The cheapest units, by their better way, until enough is saved. Losses are not updated within one batch.
    odd_at = dict(zip(position.tolist(), range(len(position)), strict=True))
    gone: tuple[list[int], list[int]] = [], []
    for unit in ratio.argsort(stable=True)[: _batch(len(ratio))].tolist():
        if spare <= 0:  # the last batch is cut short: no more than is needed goes
            break
        at = odd_at.get(unit)
        if at is not None:
            gone[1].append(at)
            spare -= prices[1]
        if at is None or (whole[at] and spare > 0):  # where the odd one was enough, the unit stays as a fixed one
            gone[0].append(unit)
            spare -= prices[0]
    return torch.tensor(gone[0], dtype=torch.int64), torch.tensor(gone[1], dtype=torch.int64)


# ---- for every space -------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Design:
    """What becomes of every hidden space, and the choices with their reasons for the report."""

    maps: tuple[HiddenMap, ...]
    choices: tuple[Choice, ...]


def designs(
    spaces: Sequence[Space],
    units: Mapping[int, Sequence[Units]],
    width: float,
    settled: Mapping[int, tuple[HiddenMap, str]],
    mixing: Mapping[int, int],
) -> list[Design]:
    """`width` of the units of each space, every one with its mirror image; and, where that promises clearly less loss
    in some space, more of its units for the same cost, some of them kept for their even part alone.

    settled: maps that are known already, and why.  mixing: spaces whose units may be kept for their even part alone,
    and which cost counts there.
    """
    # Two ways side by side, pairs alone and mixed: a space with one option takes it in both.
    ways: tuple[list[tuple[HiddenMap, Choice]], list[tuple[HiddenMap, Choice]]] = [], []
    for space in spaces:
        if space.key in settled:
            hidden_map, reason = settled[space.key]
            options = [(hidden_map, Choice(space, hidden_map.actions[space.key], reason))]
        else:
            options = [_of_mix(space, mix) for mix in _mixes(space, units[space.key], width, mixing.get(space.key))]
        ways[0].append(options[0])
        ways[1].append(options[-1])
    every = [Design(tuple(dict.fromkeys(m for m, _ in way)), tuple(choice for _, choice in way)) for way in ways]
    # the second way only where a space differs: without one it would be the same network again
    differs = any(first is not second for (first, _), (second, _) in zip(*ways, strict=True))
    return every if differs else every[:1]


def kept_whole(space: Space, action: SignedPermutation) -> tuple[HiddenMap, str]:
    """A space that cannot be cut: all of its units, matched with each other."""
    return matched(space.key, action), "matched: it cannot be reduced"


def new_size(size: int, width: float) -> int:
    """How many units take the place of so many at a width, which counts pairs; in whole rows, where some are near.

    Of 256 units at 0.707 there are 352 (176 pairs), not 362. As many as the original has, and all of both views, stay.
    """
    new = max(round(2 * width * size), 2)
    in_rows = 2 * _ROW * int(_MORE * new / 2 / _ROW)
    is_near = _NEAR * new <= in_rows < 2 * size
    return in_rows if is_near and new not in (size, 2 * size) else new


def _of_mix(space: Space, mix: Mix) -> tuple[HiddenMap, Choice]:
    """The map of the units that are kept, and the choice with its reason for the report."""
    hidden_map = pairs_and_fixed(space.key, space.size, mix.pairs, mix.fixed)
    as_their_own = when(mix.fixed, f", and {len(mix.fixed)} as their own")
    reason = f"{len(mix.pairs)} of {space.size} units kept, each with its mirror image{as_their_own}"
    return hidden_map, Choice(space, hidden_map.actions[space.key], reason)


def _mixes(space: Space, places: Sequence[Units], width: float, mixing: int | None) -> list[Mix]:
    """The units whose removal changes most what reads them: in pairs, and mixed where that promises clearly less loss.

    An odd number of new units has one fixed point.
    """
    new = new_size(space.size, width)
    even = [Features(units.even, units.metric, units.bending) for units in places]
    odd = [Features(units.odd, units.metric) for units in places]
    pairs = eliminate(list(map(copy, even)), list(map(copy, odd)), new // 2)
    fixed = sorted(set(range(space.size)) - set(pairs.pairs))[: new % 2]
    ways = [Mix(pairs.pairs, fixed, pairs.loss)]
    if mixing is not None:  # pairs cost e^m + o^m with e = o = new / 2
        mix = eliminate_features(even, odd, 2 * (new / 2) ** mixing, mixing)
        ways += [mix] if mix.fixed and mix.loss < _PROMISE * pairs.loss else []
    return ways
