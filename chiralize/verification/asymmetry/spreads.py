"""How far the answers to mirrored inputs spread beside those to the inputs as they are.

What is fitted by least squares or by likelihood answers nearer to the mean where it knows less: a network that knows
one side better spreads its answers to that side further. One whose two sides differ by noise (too few samples, too few
steps) does not; to it, the two kinds of inputs are alike. Each unit of an output counts in shares of its own spread.

    ratio = spread of f(T x) / spread of f(x)       error of its logarithm: by the jackknife over blocks of samples

Example: the ratio is 0.95 of all samples, and 0.94 to 0.96 without any one of 64 blocks. Then the error says how far it
is from 1 by chance. `outputs` and `drift_sums` add answers up here.
"""

from __future__ import annotations

from math import exp, inf, log, sqrt
from typing import Any

import torch

from chiralize.graph.mirror import ONE_UNIT
from chiralize.graph.units import Units
from chiralize.verification.asymmetry.records import Spread

_BLOCKS, _OF_A_CALL = 64, 8
"""Blocks at most, an even number; and parts that one call is cut into, so that few calls make several blocks."""
_LEAST = 1e-12
"""Share of the larger variance below which a variance counts as 0."""


class Spreads:
    """Running sums of both, by blocks of samples that follow each other: neighbouring frames are hardly two samples.

    units: of the answers as `add` takes them.
    """

    def __init__(self, units: Units = ONE_UNIT) -> None:
        self.units = units
        self.first: torch.Tensor | None = None
        self.size = 1  # of a block that is full
        self.rows: list[int] = []
        self.totals: list[torch.Tensor] = []
        self.squares: list[torch.Tensor] = []

    def add(self, plain: torch.Tensor, turned: torch.Tensor) -> None:
        """Take f(x) (plain) and f(T x) (turned) in, each "sample ..."."""
        both = torch.stack([plain, turned])  # "view sample entry..."
        if self.first is None:
            self.first = both[:, :1].clone()
        for block in (both - self.first).chunk(_OF_A_CALL, 1):
            if not self.rows or self.rows[-1] >= self.size:
                self._open(block)
            self.rows[-1] += block.shape[1]
            self.totals[-1] += block.sum(1)
            self.squares[-1] += self._summed(block.square(), self.units)

    def _open(self, like: torch.Tensor) -> None:
        """Begin a new block. Where there are many, add neighbouring ones up first: half as many, twice as large."""
        if len(self.rows) == _BLOCKS:
            self.rows, self.totals, self.squares = map(_in_pairs, (self.rows, self.totals, self.squares))
            self.size = max(self.rows)
        self.rows.append(0)
        self.totals.append(torch.zeros_like(like[:, 0]))
        self.squares.append(torch.zeros_like(self._summed(like, self.units)))

    def _summed(self, views: torch.Tensor, units: Units) -> torch.Tensor:
        """Sums of both views, "view", or "view entry" where there are several units."""
        return torch.stack([units.summed(view) for view in views])

    def result(self) -> Spread | None:
        """The ratio and its standard error, by leaving out block after block; None without a spread."""
        # Over all blocks: samples, "view entry..." and "view", or "view entry" where there are several units.
        rows, totals, squares = sum(self.rows), torch.stack(self.totals).sum(0), torch.stack(self.squares).sum(0)
        ratio = self._log_ratio(rows, totals, squares)
        if ratio is None:
            return None
        # The jackknife: the ratio without each of n blocks in turn. The squared error of the whole is (n - 1) / n times
        # the sum of squared distances of these from their mean.
        others = list[float]()
        for count, total, square in zip(self.rows, self.totals, self.squares, strict=True):
            other = self._log_ratio(rows - count, totals - total, squares - square)
            if other is not None:
                others.append(other)
        count = len(others)
        if count < max(len(self.rows), 2):  # one block, or one that holds all of the spread: nothing is known of chance
            return Spread(exp(ratio), inf)
        mean = sum(others) / count
        return Spread(exp(ratio), sqrt((count - 1) / count * sum((other - mean) ** 2 for other in others)))

    def _log_ratio(self, rows: int, totals: torch.Tensor, squares: torch.Tensor) -> float | None:
        """ln of the spread of the answers to mirrored inputs over that of the others; None where neither spreads."""
        if not rows or self.first is None:
            return None
        variances = squares - self._summed(totals.square(), self.units.within(-1)) / rows
        if self.units.groups:  # each unit in shares of its spread, both views together, so that they can be added up
            energy = rows * self._summed(self.first.square(), self.units)
            spread = self.units.squared_spread(variances.sum(0), energy.sum(0))
            variances = (variances / torch.where(spread > 0, spread, torch.ones_like(spread))).sum(1)
        plain, turned = variances.tolist()
        # One view that does not spread at all is no reason for an infinite ratio: it counts as 1e-12 of the other.
        plain, turned = max(plain, _LEAST * turned), max(turned, _LEAST * plain)
        if plain > 0:
            return log(turned / plain) / 2
        return None


def _in_pairs(values: list[Any]) -> list[Any]:
    """The sums of neighbouring values."""
    return [first + second for first, second in zip(values[::2], values[1::2], strict=True)]
