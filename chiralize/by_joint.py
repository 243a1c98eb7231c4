"""How far a result is from the flip average joint by joint: a mean over all joints hides the one that suffers.

    gap_j = RMS(f(x) - T f(T x)) / s over the entries of joint j, drift_j likewise, s the spread of the whole output
    rho_j = drift_j / max(gap_j / 2, gap / 4, 0.01)

A joint on which both views agree far better than on the others is held to half of what the whole output is held to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import isfinite, sqrt

import torch

from chiralize import sharing
from chiralize.representation import TensorRepresentation
from chiralize.verdicts import JointDrift

Place = tuple[int, ...]
FLOOR = 0.01
MOST_ENTRIES = 4096
"""Beyond so many entries that the mirror moves (heatmaps, meshes) nobody reads a list of them."""


def members(representation: TensorRepresentation, name: Callable[[tuple[int, ...]], str]) -> dict[str, list[Place]]:
    """Entries of a tensor by the joint that they belong to, as indices along the axes that the mirror acts on.

    name: of the joint of an entry, which is given along all axes (0 along those that the mirror leaves alone).
    """
    axes = _moved(representation)
    found: dict[str, list[Place]] = {}
    for entry in product(*(range(representation.axes[place].size) for place in axes)):
        whole = [0] * len(representation.axes)
        for axis, at in zip(axes, entry, strict=True):
            whole[axis] = at
        found.setdefault(name(tuple(whole)), []).append(entry)
    return found


def _moved(representation: TensorRepresentation) -> list[int]:
    """The axes that the mirror acts on."""
    return [place for place, axis in enumerate(representation.axes) if not axis.is_trivial]


class JointSums:
    """Sums of squares of one output, over all axes but those that the mirror acts on.

    representation: T on it.  name: of the joint (or the quantity) that an entry belongs to.
    """

    def __init__(self, representation: TensorRepresentation, name: Callable[[tuple[int, ...]], str]) -> None:
        self.axes = _moved(representation)
        sizes = tuple(representation.axes[place].size for place in self.axes)
        self.is_told = 1 < torch.Size(sizes).numel() <= MOST_ENTRIES
        self.count = 0
        self.sums = torch.zeros(2, *sizes, dtype=torch.float64) if self.is_told else torch.zeros(2)
        self._representation, self._name = representation, name

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
        found = members(self._representation, self._name)
        return tuple(self._figures(name, own, scale, whole_gap) for name, own in found.items() if len(found) > 1)

    def _figures(self, name: str, entries: Sequence[Place], scale: float, whole_gap: float) -> JointDrift:
        values = torch.stack([self.sums[(slice(None), *entry)] for entry in entries])
        gap, drift = (values.sum(0) / self.count).sqrt().tolist()
        size = sqrt(len(entries)) * scale
        rho = (drift / size) / max(gap / size / 2, whole_gap / 4, FLOOR) if isfinite(drift) else float("inf")
        return JointDrift(name, gap / size, drift / size, rho, drift)
