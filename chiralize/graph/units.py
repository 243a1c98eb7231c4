"""Outputs whose entries are of several units, such as speeds beside angles: each unit counts in its own spread.

In one spread of them all the largest unit decides: a forecast of 25 features in pixels, square pixels and radians had a
rho of 0.6 with seven of its angles mirrored wrongly, which then were 0 throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_CONSTANT = 1e-24
"""Share of the square of its size that is no variance, but rounding."""
_LEAST = 1e-4
"""The same beside other units: what varies by less than a hundredth of its size counts as varying by that."""


@dataclass(frozen=True)
class Units:
    """Which entries of an output have one unit.

    axis: of the output, which the entries lie along.  groups: of every entry, a number that those of its unit share.
    Without them the whole output has one unit, and what would be a vector "entry" is a number.
    """

    axis: int = 0
    groups: tuple[int, ...] = ()

    def within(self, more: int) -> Units:
        """The same for an output with so many more axes in front."""
        return Units(self.axis + more, self.groups) if self.groups else self

    def summed(self, values: Tensor) -> Tensor:
        """The sum over all axes but that of the entries: "entry"."""
        if not self.groups:
            return values.sum()
        return values.movedim(self.axis, 0).reshape(len(self.groups), -1).sum(1)

    def squared_spread(self, variance: Tensor, energy: Tensor) -> Tensor:
        """Variance of what has one unit, of every entry: "entry".

        variance, energy: mean squares of every entry about its mean, and about 0. Something constant has no spread:
        there it is its energy.
        """
        if not self.groups:
            return torch.where(variance > _CONSTANT * energy, variance, energy)
        variance, energy = self._pooled(variance), self._pooled(energy)
        return torch.where(variance > _CONSTANT * energy, variance.maximum(_LEAST * energy), energy)

    def shaped(self, entries: Tensor, dims: int) -> Tensor:
        """A vector "entry" that can be multiplied with an output of so many axes."""
        if not self.groups:
            return entries
        sizes = [1] * dims
        sizes[self.axis] = len(self.groups)
        return entries.view(sizes)

    def _pooled(self, values: Tensor) -> Tensor:
        """The mean of each unit, for every entry."""
        groups = torch.tensor(self.groups, device=values.device)
        sums = torch.zeros_like(values).index_add_(0, groups, values)
        counts = torch.zeros_like(values).index_add_(0, groups, torch.ones_like(values))
        return (sums / counts.clamp_min(1))[groups]


def relative(squares: Tensor, squared_spread: Tensor) -> float:
    """The root of the mean of squares in shares of squared spreads, "entry".

    A square of 0 is a share of 0, and any other one beside a spread of 0 is infinite.

    >>> relative(torch.tensor([1.0, 400.0]), torch.tensor([4.0, 1600.0]))
    0.5
    """
    shares = torch.where(squares == 0, torch.zeros_like(squares), squares / squared_spread)
    mean = float(shares.mean())
    return mean**0.5 if mean == mean else float("inf")
