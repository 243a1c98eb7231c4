"""How far apart are both views of a network, and how far is a result from their average, entry by entry?

    d = f(x) - T f(T x)      TTA = (f(x) + T f(T x)) / 2      e = g(x) - TTA      s: the spread of f's answers
    gap = RMS(d) / s         lean = RMS(mean d) / s           drift = RMS(e) / s       rho = drift / max(gap / 2, 0.01)

f is the original, g the result. rho compares with gap / 2, which is how far f itself is from its average: at rho = 1
the result has moved as far from the average as the original was. The least of 0.01 keeps rho finite for networks
that commute already. Of a joint

    gap_j = RMS(d) / s over its entries      rho_j = drift_j / max(gap_j / 2, gap / 4, 0.01)

A joint on which both views agree far better than on the others is held to half of what the whole output is held to.
Without gap / 4 a joint on which both views agree to 0.001, such as a hip at the origin, would be held to 0.01.

Example: one entry, answers f(x) = 1, 3 and T f(T x) = 1, 1. Its mean is 2, s = 1, gap = RMS(0, 2) / s = 1.41. The flip
averages are 1, 2. A result that answers 1, 2.5 has drift = RMS(0, 0.5) / s = 0.35, and rho = 0.35 / (1.41 / 2) = 0.5.

Every figure follows from means and mean squares of single entries, so that one class of sums serves them all. No answer
is held: a run over thousands of inputs takes the memory of one batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import inf, isfinite, sqrt
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from chiralize.symmetry.action import wide
from chiralize.verification.verdicts import FLOOR, Gap

if TYPE_CHECKING:
    from chiralize.problem.mirror import NetworkMirror

MOST_ENTRIES = 4096
"""Beyond so many entries that the mirror moves (heatmaps, meshes) nobody reads a list of them."""
_CONSTANT = 1e-24
"""Share of the square of its size that is no variance, but rounding."""
_LEAST = 1e-4
"""The same beside other units: what varies by less than a hundredth of its size counts as varying by that."""
_NO_VARIANCE = 1e-12
"""Share of a sum of squares below which a variance, a difference of such sums, is none."""
_ROUNDED = 4
"""eps that rounding moves an answer by."""


@dataclass
class Moments:
    """Mean and mean square of every entry of some values, "entry...", which are added batch by batch.

    about: the first sample. It is taken off before squaring, so that the variance of answers of 1000 ± 0.01 is no
    difference of two large sums.
    """

    rows: int = 0
    about: Tensor = field(default_factory=lambda: torch.zeros(()))
    total: Tensor = field(default_factory=lambda: torch.zeros(()))
    squares: Tensor = field(default_factory=lambda: torch.zeros(()))

    def add(self, values: Tensor) -> None:
        """Take "sample entry..." in, in float64."""
        if not self.rows:
            self.about = values[0].clone()
            self.total, self.squares = torch.zeros_like(self.about), torch.zeros_like(self.about)
        values = values - self.about
        self.rows += len(values)
        self.total += values.sum(0)
        self.squares += values.square().sum(0)

    @property
    def mean(self) -> Tensor:
        """The mean of every entry."""
        return self.about + self.total / self.rows

    @property
    def variance(self) -> Tensor:
        """The mean square of every entry about its mean."""
        return (self.squares / self.rows - (self.total / self.rows).square()).clamp_min(0.0)

    @property
    def mean_square(self) -> Tensor:
        """The mean square of every entry about 0."""
        return self.squares / self.rows + self.about * (2 * self.total / self.rows + self.about)


class Sums:
    """Running sums of one output of an original f in both views, and of a result g.

    index: of the output.  groups: of every entry along its last axis a number that entries of one unit share; empty
    where the whole output has one.
    """

    def __init__(self, mirror: NetworkMirror, index: int, groups: Sequence[int] = ()) -> None:
        self.mirror, self.index, self.groups = mirror, index, tuple(groups)
        self.plain, self.apart, self.off = Moments(), Moments(), Moments()
        self.before, self.after = _Share(), _Share()
        self.has_result = False

    def add(self, plain: Tensor, turned: Tensor, result: Tensor | None = None) -> None:
        """Take f(x), f(T x) and g(x) of one call in; without g, f is what is judged for its odd share."""
        eps = torch.finfo(plain.dtype).eps
        first, image = (wide(answer.detach().cpu()) for answer in (plain, turned))
        back = self.mirror.turned_output(self.index, image)
        average = (first + back) / 2
        self.has_result = result is not None
        other = wide(result.detach().cpu()) if result is not None else first
        self.plain.add(self._rows(first))
        self.apart.add(self._rows(first - back))
        if result is not None:
            self.off.add(self._rows(other - average))
        # The odd share of g is held against that of the flip average, not of f, which holds what is merely asymmetric.
        for share, answer in ((self.before, average), (self.after, other)):
            odd = (answer - self.mirror.turned_output(self.index, answer)) / 2
            share.add(self._rows(answer), self._rows(odd), eps)

    def _rows(self, answer: Tensor) -> Tensor:
        """An answer as "sample entry...", every complex number as two real ones on an axis of its own."""
        rows = self.mirror.in_rows(answer)
        return torch.view_as_real(rows.resolve_conj()) if rows.is_complex() else rows

    def figures(self) -> Gap:
        """The figures of the output, and of every joint, class or block of it."""
        scale = self._scale()
        whole = self._figures(f"output {self.index}", torch.ones_like(scale, dtype=torch.bool), scale, None)
        parts = [self._figures(name, chosen, scale, whole.gap) for name, chosen in self._parts(scale).items()]
        shift = max((part.shift for part in parts), default=whole.shift)
        return replace(whole, shift=shift, odd=(self.before.value, self.after.value), parts=tuple(parts))

    def _scale(self) -> Tensor:
        """The spread of the unit of every entry; of something constant, its size."""
        variance, energy = self.plain.variance, self.plain.mean_square
        scale = torch.zeros_like(variance)
        for members in self._units(variance):
            spread, size = variance[members].mean(), energy[members].mean()
            if self.groups:
                spread = spread.maximum(_LEAST * size)
            scale[members] = torch.where(spread > _CONSTANT * size, spread, size).sqrt()
        return scale

    def _units(self, like: Tensor) -> Iterator[Tensor]:
        """The entries of every unit, as masks."""
        if not self.groups:
            yield torch.ones_like(like, dtype=torch.bool)
            return
        groups = torch.tensor(self.groups)
        for group in groups.unique():
            yield (groups == group).expand(like.shape)

    def _figures(self, name: str, chosen: Tensor, scale: Tensor, whole_gap: float | None) -> Gap:
        """The figures of some entries. whole_gap: of the output that they are a part of."""
        unit = scale[chosen]
        numbers = 1 if whole_gap is None else self._numbers(chosen)  # of one joint in one frame, as x, y and z

        def length(squares: Tensor, by_unit: bool) -> float:
            """RMS over the entries of the vectors that they make, in spreads of such a vector or as it is."""
            values = squares[chosen]
            if not by_unit:
                return sqrt(float(values.mean()) * numbers)
            if whole_gap is not None:  # of a part the length of its vectors counts, in that of their spread
                values, squares = values.mean(), unit.square().mean()
            else:
                squares = unit.square()
            shares = torch.where(values == 0, 0.0, values / squares)
            return sqrt(float(shares.mean())) if bool(shares.isfinite().all()) else inf

        gap = length(self.apart.mean_square, True)
        lean = beyond_chance(length(self.apart.mean.square(), True), gap, self.apart.rows)
        figures = Gap(name, gap, lean, length(self.apart.mean_square, False), share=float(chosen.double().mean()))
        if not self.has_result:
            return figures
        drift = length(self.off.mean_square, True)
        least = max(gap / 2, FLOOR, (whole_gap or 0.0) / 4)
        rho = drift / least if isfinite(drift) and isfinite(gap) else inf
        return replace(figures, drift=drift, rho=rho, shift=length(self.off.mean_square, False))

    def _numbers(self, chosen: Tensor) -> int:
        """How many numbers of a part lie in one frame: entries that the mirror tells apart."""
        sizes = self._moved_sizes()
        still = torch.Size(chosen.shape[: len(sizes)]).numel() // max(torch.Size(sizes).numel(), 1)
        return max(int(chosen.sum()) // max(still, 1), 1)

    def _moved_sizes(self) -> tuple[int, ...]:
        """The sizes of one sample of the output, 1 along axes that the mirror leaves alone."""
        sizes = self.mirror.outputs[self.index].moved_sizes
        return tuple(sizes) if self.mirror.is_single else tuple(sizes[1:])

    def _parts(self, scale: Tensor) -> dict[str, Tensor]:
        """The entries of every joint, class or block, as masks; none where the mirror tells none or too many apart."""
        sizes = self._moved_sizes()
        if not 1 < torch.Size(sizes).numel() <= MOST_ENTRIES or not bool(scale.any()):
            return {}
        masks: dict[str, Tensor] = {}
        for entry in product(*map(range, sizes)):
            name = self.mirror.part("output", self.index, entry if self.mirror.is_single else (0, *entry))
            where = tuple(slice(None) if size == 1 else at for at, size in zip(entry, sizes, strict=True))
            masks.setdefault(name, torch.zeros(scale.shape, dtype=torch.bool))[where] = True
        return masks if len(masks) > 1 else {}


class _Share:
    """Running variance of an output and of its odd part.

    An output that differs from its first value by rounding alone has no variance.
    """

    def __init__(self) -> None:
        self.whole, self.odd, self.noise = Moments(), Moments(), 0.0

    def add(self, answer: Tensor, odd: Tensor, eps: float) -> None:
        """Take an output and (y - T y) / 2 of it in, "sample entry..." in float64. eps: of the type they came in."""
        self.whole.add(answer)
        self.odd.add(odd)
        self.noise += float((_ROUNDED * eps * answer).square().sum())

    @property
    def value(self) -> float:
        """Variance of the odd part in that of the output; 0 for an output that does not vary."""
        if not self.whole.rows:
            return 0.0
        rows, whole = self.whole.rows, float(self.whole.variance.sum())
        least = max(_NO_VARIANCE * float(self.whole.squares.sum()), self.noise) / rows
        return float(self.odd.variance.sum()) / whole if isfinite(whole) and whole > least else 0.0


def beyond_chance(lean: float, gap: float, rows: int) -> float:
    """How far two views are apart in the mean over `rows` samples, less what chance leaves of differences without one.

    gap: RMS of the differences, in the unit of the lean.  Twice the expected square is taken off, so that few samples
    do not make a lean. A single sample has no lean that could be estimated.

    Example: 100 differences with an RMS of 0.5 (the gap) and a mean of 0.2. By chance alone their mean would be about
    0.5 / sqrt(100) = 0.05. The lean is sqrt(0.2² - 2 (0.5² - 0.2²) / 99) = 0.19, and stands out.
    """
    if rows < 2 or not (isfinite(lean) and isfinite(gap)):
        return 0.0
    return sqrt(max(lean**2 - 2 * max(gap**2 - lean**2, 0.0) / (rows - 1), 0.0))
