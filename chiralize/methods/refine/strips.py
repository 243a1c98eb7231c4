"""Strips of pictures, as wide as these and lower: what most of training is done on.

What a network costs grows with the area of its pictures, and so does what a picture teaches it of small windows. The
mirror that reverses widths takes a strip to a strip, at the same height. The original is asked about the strip as it
is, so nothing is assumed about what it does at borders. Whole pictures follow, for what only they show.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch

from chiralize.errors import ChiralizeError
from chiralize.graph.running import Arguments, Call
from chiralize.methods.refine.imitation import Distance
from chiralize.problem.data.cutting import tensors

_MULTIPLE = 32
"""Rows that most networks on pictures take for one in their lowest maps."""
_HALF = 2
_MAP = 4
"""Axes of a map: "sample channel h w"."""


@dataclass(frozen=True)
class Strips:
    """pictures: positions of inputs "sample channel h w".  rows: of a strip."""

    pictures: Collection[int]
    rows: int

    def drawn(self, call: Call, generator: torch.Generator) -> Call:
        """The call with strips of its pictures in their place, all from one random height on."""
        arguments = Arguments.of(*call)
        parts = list(arguments.tensors)
        heights = [parts[position].shape[2] for position in self.pictures]
        start = int(torch.randint(min(heights) - self.rows + 1, (), generator=generator))
        for position in self.pictures:
            parts[position] = parts[position].narrow(2, start, self.rows)
        return arguments.filled(parts)


def strips_of(distance: Distance, call: Call, pictures: Collection[int]) -> Strips | None:
    """Strips of half the height or a little more, where the original and the result take them; else None.

    They have to answer with maps in which heights are as much lower. call: an example.
    """
    heights = {tensors(call)[position].shape[2] for position in pictures}
    if len(heights) != 1:
        return None
    (height,) = heights
    half = height // _HALF
    for rows in (half, -(-half // _MULTIPLE) * _MULTIPLE):
        strips = Strips(pictures, rows)
        if 0 < rows < height and _are_taken(distance, call, strips, height):
            return strips
    return None


def _are_taken(distance: Distance, call: Call, strips: Strips, height: int) -> bool:
    """Whether answers to strips are strips of maps."""
    part = strips.drawn(call, torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            whole, lower = distance.aim(call), distance.aim(part)
            if distance.answers(part).shape != distance.targets(part).shape:
                return False
    except (RuntimeError, ChiralizeError):
        return False
    return all(_is_lower(whole[at], lower[at], strips.rows, height) for at in distance.outputs)


def _is_lower(whole: torch.Tensor, lower: torch.Tensor, rows: int, height: int) -> bool:
    if whole.ndim < _MAP or lower.ndim != whole.ndim or lower.shape[-2] * height != whole.shape[-2] * rows:
        return False
    return (*lower.shape[:-2], lower.shape[-1]) == (*whole.shape[:-2], whole.shape[-1])
