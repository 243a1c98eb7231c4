"""Choosing which units to keep: backward elimination by what the readers lose.

Let G be the second moments of the units and A those of the gradients behind them, P = G^-1. If unit q is dropped and
what read it is refitted on the others, the outputs change by A_qq / P_qq (the loss of the optimal brain surgeon).
Dropping several, D, and keeping L is a block step of Gaussian elimination:

    a_D = B a_L,  B = -P_DD^-1 P_DL        P <- P_LL + P_LD B        A <- [1; B]' A [1; B]

`choosing` calls `eliminate` (pairs alone) or `eliminate_features` (a mixture) for one hidden space, with features for
every place that reads it. Of two units with G = [[1, .9], [.9, 1]], P is [[5.3, -4.7], [-4.7, 5.3]]: to drop one
costs A_qq / 5.3, since the other explains 0.81 of it.

Units of an averaged network have two features, even and odd, with moments of their own: a pair holds both, a fixed unit
the even one alone. With e even and o odd features a layer does about e^2 + o^2 multiplications, so that a feature
costs in proportion to those of its parity that are left; what loses least for its cost goes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_SHARE = 0.05
"""Of the units that are left, how many go at a time."""
_RIDGE = 1e-3
"""Of the mean energy of the units, added to each: units that are copies of each other have no inverse."""


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
    """How many of so many units go at a time. One by one nothing was gained (decision 0013)."""
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
