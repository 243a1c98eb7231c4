"""How far a result is from the flip average joint by joint: a mean over all joints hides the one that suffers.

    gap_j = RMS(f(x) - T f(T x)) / s over the entries of joint j, drift_j likewise, s the spread of the whole output
    rho_j = drift_j / max(gap_j / 2, gap / 4, 0.01)

A joint on which both views agree far better than on the others is held to half of what the whole output is held to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite, sqrt

import torch

from chiralize import sharing
from chiralize.representation import TensorRepresentation
from chiralize.verdicts import JointDrift

FLOOR = 0.01
MOST_ENTRIES = 4096
"""Beyond so many entries that the mirror moves (heatmaps, meshes) nobody reads a list of them."""


class JointSums:
    """Sums of squares of one output, over all axes but those that the mirror acts on.

    representation: T on it.  name: of the joint (or the quantity) that an entry belongs to.
    """

    def __init__(self, representation: TensorRepresentation, name: Callable[[tuple[int, ...]], str]) -> None:
        self.axes = [place for place, axis in enumerate(representation.axes) if not axis.is_trivial]
        sizes = tuple(representation.axes[place].size for place in self.axes)
        self.is_told = 1 < torch.Size(sizes).numel() <= MOST_ENTRIES
        self.count = 0
        self.sums = torch.zeros(2, *sizes, dtype=torch.float64) if self.is_told else torch.zeros(2)
        self._name, self._ndim = name, len(representation.axes)

    def add(self, gap: torch.Tensor, drift: torch.Tensor) -> None:
        """The squared differences of some samples, each in the shape of the output; complex numbers as two."""
        if not self.is_told:
            return
        others = [place for place in range(gap.ndim) if place not in self.axes]
        self.count += gap.numel() // self.sums[0].numel()
        self.sums += torch.stack([value.sum(others) if others else value for value in (gap, drift)])

    def take_others(self) -> None:
        """Add the sums of all other processes."""
        count = torch.tensor([float(self.count)], dtype=torch.float64)
        sharing.add_up([count, self.sums])
        self.count = round(float(count))

    def result(self, scale: float, whole_gap: float) -> tuple[JointDrift, ...]:
        """The figures of every joint, in their order; none where there is one alone.

        scale: spread of the whole output.  whole_gap: of the whole output.
        """
        if not self.is_told or not self.count or not scale:
            return ()
        members: dict[str, list[tuple[float, float]]] = {}
        for entry in torch.cartesian_prod(*map(torch.arange, self.sums.shape[1:])).reshape(-1, len(self.axes)).tolist():
            place = [0] * self._ndim
            for axis, at in zip(self.axes, entry, strict=True):
                place[axis] = at
            gap, drift = self.sums[(slice(None), *entry)].tolist()
            members.setdefault(self._name(tuple(place)), []).append((gap, drift))
        return tuple(self._figures(name, own, scale, whole_gap) for name, own in members.items() if len(members) > 1)

    def _figures(self, name: str, own: Sequence[tuple[float, float]], scale: float, whole_gap: float) -> JointDrift:
        gap, drift = (sqrt(sum(column) / self.count) for column in zip(*own, strict=True))
        size = sqrt(len(own)) * scale
        rho = (drift / size) / max(gap / size / 2, whole_gap / 4, FLOOR) if isfinite(drift) else float("inf")
        return JointDrift(name, gap / size, drift / size, rho, drift)
