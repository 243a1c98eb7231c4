"""How samples of one input are spread further than they are, or drawn where they never move.

    x' = m + f (x - m'),   m': mean of the samples, m: what it becomes, f: 1 or more, entry by entry

What never moves is drawn from N(m, s) in its place, by itself, for every sample. Where m, s and f come from is told in
`remembered` (moments that a network keeps) and `unmoved` (what its answers react to).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_WIDER = 1.1
"""By which factor an entry was spread further in training, for samples to be spread at all."""
_CLEARLY, _HALF = 1.5, 0.5
"""By which factor, and what share of the entries, for samples to be called narrow."""
_ROUND = 1e-3
"""By how much the variance of a flag may be above m (1 - m), by rounding."""


@dataclass(frozen=True)
class Spreading:
    """How samples of one input are spread.

    given, remembered: mean of every entry in the samples, and in training; factor: by which distances from it grow.
    drawn: the spread of entries that are drawn, 0 of the others.
    is_guessed: nothing is remembered, and what never moves is drawn as far as it may have moved.
    All have the axes of a sample, of size one where the network keeps one number for a whole axis (frames).
    """

    given: Tensor
    remembered: Tensor
    factor: Tensor
    drawn: Tensor
    is_guessed: bool = False

    @property
    def is_needed(self) -> bool:
        """Whether anything was spread further in training than in the samples."""
        return float(self.factor.max()) > _WIDER or bool(self.drawn.any())

    @property
    def is_clear(self) -> bool:
        """Whether most entries were spread clearly further in training than in the samples."""
        return float(((self.factor > _CLEARLY) | (self.drawn > 0)).double().mean()) > _HALF

    def of(self, samples: Tensor) -> Tensor:
        """The samples, "sample entry...", spread, but for entries that are drawn."""
        return self.remembered.to(samples) + (samples - self.given.to(samples)) * self.factor.to(samples)

    def with_drawn(self, samples: Tensor, generator: torch.Generator) -> Tensor:
        """The samples with entries that hardly move drawn anew."""
        if not self.drawn.any():
            return samples
        noise = torch.randn(len(samples), *self.drawn.shape, generator=generator, dtype=torch.float64)
        drawn = self.remembered + self.drawn * noise
        # Nothing within 0..1 is spread further than flags of the same mean, whose variance is m (1 - m).
        is_share = self.drawn.square() <= (1 + _ROUND) * self.remembered * (1 - self.remembered)
        drawn = torch.where(is_share & (self.given >= 0) & (self.given <= 1), drawn.clamp(0, 1), drawn)
        return torch.where(self.drawn.to(samples.device) > 0, drawn.to(samples), samples)


def words_of(by_input: Mapping[int, Spreading]) -> str:
    """What becomes of samples, in words; "" where nothing does."""
    if not by_input:
        return ""
    if all(spreading.is_guessed for spreading in by_input.values()):
        return "with what never moves in them drawn"
    return "spread as far as it remembers of its training"
