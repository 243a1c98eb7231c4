"""From values of a changed graph to those of the old one, and where such a map cannot go on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from chiralize.graph.model import Node


class Stuck(Exception):  # noqa: N818 - a signal within this folder
    """An op that the change of some tensors cannot pass.  sources: those tensors.  at: the op, None for a result.

    shift, scales: the largest shift, the smallest and the largest scale among the maps of what it reads. Reports
    show them.
    """

    def __init__(self, sources: frozenset[str], at: Node | None, maps: Sequence[Map] = ()) -> None:
        super().__init__(at)
        self.sources, self.at = sources, at
        shifts = [reading.shift for reading in maps if reading.shift.numel()]
        scales = [reading.scale for reading in maps if reading.scale.numel()]
        self.shift = max((float(shift.abs().max()) for shift in shifts), default=0.0)
        least = min((float(scale.min()) for scale in scales), default=1.0)
        most = max((float(scale.max()) for scale in scales), default=1.0)
        self.scales = least, most


@dataclass(frozen=True)
class Map:
    """From a new value to the old one, entry by entry: old = scale * new + shift (float64, in the value's shape).

    scaled_by, shifted_by: the tensors whose change made the scale and the shift.
    weighted: a weight was multiplied in, so that a bias that is added behind it may take the shift up.
    """

    scale: Tensor
    shift: Tensor
    scaled_by: frozenset[str] = frozenset()
    shifted_by: frozenset[str] = frozenset()
    weighted: bool = False

    @property
    def sources(self) -> frozenset[str]:
        """The tensors whose change made it other than the identity."""
        return self.scaled_by | self.shifted_by

    @property
    def is_scaled(self) -> bool:
        """Whether any scale is other than 1."""
        return bool((self.scale != 1).any())

    @property
    def is_shifted(self) -> bool:
        """Whether any shift is other than 0."""
        return bool((self.shift != 0).any())


def causes(maps: Sequence[Map]) -> tuple[frozenset[str], frozenset[str], bool]:
    """(`scaled_by`, `shifted_by`, `weighted`) of a value that depends on several others.

    It counts as weighted where every shift in it came through a weight; unshifted values do not matter.
    """
    scaled_by = union(reading.scaled_by for reading in maps)
    shifted_by = union(reading.shifted_by for reading in maps)
    return scaled_by, shifted_by, all(reading.weighted or not reading.is_shifted for reading in maps)


def union(names: Iterable[frozenset[str]]) -> frozenset[str]:
    """All of the names."""
    return frozenset().union(*names)
