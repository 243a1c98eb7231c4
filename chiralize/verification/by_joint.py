"""How far a result is from the flip average joint by joint: a mean over all joints hides the one that suffers.

    gap_j = RMS(f(x) - T f(T x)) / s over the entries of joint j, drift_j likewise, s the spread of the whole output
    rho_j = drift_j / max(gap_j / 2, gap / 4, 0.01)

A joint on which both views agree far better than on the others is held to half of what the whole output is held to.
Without gap / 4 a joint on which both views agree to 0.001, such as a hip at the origin, would be held to 0.01.

`drift_sums` adds the squares up, batch by batch; a report lists the joints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite, sqrt

import torch

from chiralize.body.tensors.joints import MOST_ENTRIES, Place, members
from chiralize.graph import processes
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.verification.asymmetry.lean import beyond_chance
from chiralize.verification.verdicts import JointDrift

FLOOR = 0.01


class JointSums:
    """Sums of squares of one output, over all axes but those that the mirror acts on.

    representation: T on it, "sample entry...".  name: of the joint (or the quantity) that an entry belongs to.

    sums: of the gap and of the drift, each with size 1 along axes that T leaves alone: for outputs "sample frame joint
    coordinate" it is 2 x 1 x 1 x joints x coordinates.  count: numbers that went into each of the sums.
    is_counted: False where T moves one entry or none, or more than anybody reads.
    """

    def __init__(self, representation: TensorRepresentation, name: Callable[[tuple[int, ...]], str]) -> None:
        sizes = representation.moved_sizes
        self.is_counted = 1 < torch.Size(sizes).numel() <= MOST_ENTRIES
        self.count = 0
        if self.is_counted:
            self.sums = torch.zeros(2, *sizes, dtype=torch.float64)
        else:
            self.sums = torch.zeros(2)
        self._summed = [axis for axis, size in enumerate(sizes) if size == 1]
        self._representation, self._name = representation, name

    def add(self, gap: torch.Tensor, drift: torch.Tensor) -> None:
        """The squared differences of some samples, each in the shape of the output; complex numbers as two."""
        if not self.is_counted:
            return
        self.count += gap.numel() // self.sums[0].numel()
        for total, squares in zip(self.sums, (gap, drift), strict=True):
            total += self._over_other_axes(squares)

    def take_others(self) -> None:
        """Add the sums of all other processes."""
        count = torch.tensor([float(self.count)], dtype=torch.float64)
        processes.add_up([count, self.sums])
        self.count = round(float(count))

    def result(self, scales: torch.Tensor, whole_gap: float, mean: torch.Tensor, rows: int) -> tuple[JointDrift, ...]:
        """The figures of every joint, in their order; none where there is one alone.

        scales: spread of the whole output, or of every unit, to be broadcast to "sample entry...".  whole_gap: of the
        whole output.  mean: of f(x) - T f(T x), "entry...".  rows: samples that it is the mean of.
        """
        if not self.is_counted or not self.count or not bool(scales.any()):
            return ()
        joints = members(self._representation, self._name)
        # Units along an axis that was summed over: one spread stands for all of its entries.
        for axis in self._summed:
            if scales.ndim > axis and scales.shape[axis] > 1:
                scales = scales.square().mean(axis, keepdim=True).sqrt()
        spreads = scales.expand(self.sums.shape[1:])  # of every entry, in the shape of one of the sums
        if len(joints) < 2:
            return ()
        # The lean by joint: the mean has no axis of samples, and gets one of size 1.
        squares = self._over_other_axes(mean.square()[None])
        times = mean.numel() // squares.numel()
        figures = list[JointDrift]()
        for name, entries in joints.items():
            gap, drift = _length(self.sums[0], entries, self.count), _length(self.sums[1], entries, self.count)
            # The spread of the vector that the entries of the joint make: sqrt(3) s for three coordinates of one unit.
            size = sqrt(sum(float(spreads[entry].square().mean()) for entry in entries)) or 1.0
            if isfinite(drift):
                rho = (drift / size) / max(gap / size / 2, whole_gap / 4, FLOOR)
            else:
                rho = float("inf")
            lean = beyond_chance(_length(squares, entries, times) / size, gap / size, rows)
            share = len(entries) / self.sums[0].numel()
            figures.append(JointDrift(name, gap / size, drift / size, rho, drift, lean, share))
        return tuple(figures)

    def _over_other_axes(self, squares: torch.Tensor) -> torch.Tensor:
        """The sums over all axes but those that the mirror acts on.

        squares: "sample entry...", and a last axis of two for the parts of complex numbers.
        """
        if squares.ndim > self.sums.ndim - 1:
            squares = squares.sum(-1)
        if self._summed:
            return squares.sum(self._summed, keepdim=True)
        return squares


def _length(sums: torch.Tensor, entries: Sequence[Place], count: int) -> float:
    """RMS length of the vector that some entries make. count: how often each of the sums was added to."""
    return sqrt(sum(float(sums[entry].sum()) for entry in entries) / count)
