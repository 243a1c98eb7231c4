"""Equivariant least squares: the weight that fits targets best among those that commute with the mirror.

    min  sum |W x + b - t|^2 + strength |W D|^2      over W = T_out W T_in,  b = T_out b

`layers` says what the samples are: `Moments` takes them in, batch by batch, and `fit` gives the weight, its bias and
the error left. In the isotypic basis such a W is block-diagonal, so the even and the odd coordinates are two
independent problems of about half the size, and only the even one has a bias. Two features that the mirror swaps, and
two targets likewise:

    W = [[a, b], [b, a]]        even: (a + b) on (x1 + x2) / sqrt 2        odd: (a - b) on (x1 - x2) / sqrt 2

Samples enter through their second moments alone, which are summed batch by batch: memory does not grow with their
number. D holds the features' own spreads, which makes the strength of the ridge a pure number.

A feature is known to a few digits of its level, not of its spread: what rounding may have put there is added to its
moments, or a weight would make an answer of the last digits of one that hardly moves (a slow wave of a table of time
steps). Its level is that of the inputs at hand, or the one at which the trained weight makes its share of the targets,
T / |W|, if that is more: a LeakyReLU that is off on all inputs at hand hardly moves, and an answer made of it would be
thousands of times too large once it is on. A feature whose spread is below its rounding (the odd one of a unit that
the mirror leaves alone) is no direction: its weight stays what it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.isotypic import IsotypicBasis

STRENGTHS = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Of the ridge, in units of the features' spreads; the held-out samples decide. notes/reduction: 1e-3 is usual."""
_UNTESTED = 1e-5
"""The strength where no samples are held out."""
_ROWS = 1024
"""Samples that are taken to float64 at a time."""
_ROUNDED, _COARSE = 64, 1e-3
"""A feature is known to so many eps of its level, but to this share of it at least; of half types to one eps."""
_MEANT = 1e-3
"""The same of the level that a feature is meant to have: answers may become 1 / (2 * 1e-3) times too large."""
_LEAST_READ = 0.1
"""Of the root mean square of trained weights, what each counts as at least."""


class _Part:
    """Moments of one isotypic part. The last feature is the constant 1 where there is a bias."""

    def __init__(self, features: int, targets: int, bias: bool) -> None:
        self.bias = bias
        size = features + bias
        self.features = torch.zeros(size, size, dtype=torch.float64)
        self.products = torch.zeros(size, targets, dtype=torch.float64)
        self.energy = torch.zeros((), dtype=torch.float64)
        self.count = features

    def add(self, x: Tensor, t: Tensor) -> None:
        """Take samples in: x is "sample feature", t is "sample target", both in coordinates of this part."""
        if self.bias:
            x = torch.cat([x, x.new_ones(len(x), 1)], 1)
        self.features.addmm_(x.T, x)
        self.products.addmm_(x.T, t)
        self.energy += t.square().sum()

    def merge(self, other: _Part) -> None:
        """Add the sums of another set of samples."""
        self.features += other.features
        self.products += other.products
        self.energy += other.energy

    def error(self, solution: Tensor) -> float:
        """sum |W x - t|^2 for a solution "feature target"."""
        fitted = torch.einsum("fo,fg,go->", solution, self.features, solution)
        return max(float(fitted - 2 * (solution * self.products).sum() + self.energy), 0.0)


class Moments:
    """Second moments of features and targets, even and odd apart.

    features, targets: how the mirror acts on a row of either.  bias: the even part has one.
    """

    def __init__(self, features: SignedPermutation, targets: SignedPermutation, bias: bool) -> None:
        self.bases = IsotypicBasis(features), IsotypicBasis(targets)
        self.count = 0
        self.known_to = 0.0
        self.even = _Part(features.even, targets.even, bias)
        self.odd = _Part(features.odd, targets.odd, False)

    def add(self, features: Tensor, targets: Tensor) -> None:
        """Take samples in: "sample feature" and "sample target"."""
        eps = torch.finfo(features.dtype).eps
        # 7.6e-6 in single precision. In float16 64 eps would be 6 % of a level, more than most features vary by.
        self.known_to = max(self.known_to, min(_ROUNDED * eps, max(_COARSE, eps)))
        for rows, wanted in zip(features.split(_ROWS), targets.split(_ROWS), strict=True):
            x, t = self.bases[0].split(rows.double()), self.bases[1].split(wanted.double())
            self.even.add(x[0], t[0])
            self.odd.add(x[1], t[1])
        self.count += len(features)

    def merge(self, other: Moments) -> None:
        """Add the sums of another set of samples."""
        self.count, self.known_to = self.count + other.count, max(self.known_to, other.known_to)
        self.even.merge(other.even)
        self.odd.merge(other.odd)

    def roundings(self, trained: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Energies that rounding may have put into even and odd features.  trained: weights "feature target" of both.

        Of a pair with x1 = 3 and x2 = 4 even and odd energies are 24.5 and 0.5. Both have a level of 12.5, their mean:
        the difference of two entries that are equal but for rounding is no signal, however exactly it is 1e-8.
        """
        written = self.even.energy + self.odd.energy
        even, odd = (part.features.diagonal()[: part.count] for part in (self.even, self.odd))
        pairs = len(self.bases[0].first)
        both = (even[:pairs] + odd[:pairs]) / 2
        levels = torch.cat([both, even[pairs:]]), torch.cat([both, odd[pairs:]])
        # What is one eps of the largest level is nothing: units whose weights have decayed to 1e-39 in training.
        largest = torch.cat(levels).amax() if len(even) + len(odd) else written.new_zeros(())
        nothing = largest * (self.known_to / _ROUNDED) ** 2
        roundings: list[Tensor] = []
        for level, energy, weight in zip(levels, (even, odd), trained, strict=True):
            meant = _MEANT**2 * _meant(weight[: len(level)], written)
            known = torch.maximum(self.known_to**2 * level, meant)
            roundings.append(torch.where(energy <= nothing, torch.maximum(energy, known), known))
        return roundings[0], roundings[1]


def _meant(weight: Tensor, written: Tensor) -> Tensor:
    """The energies at which a trained weight "feature target" makes its share of what is written; 0 where it is 0.

    With n features of weights w the share of each is written / n, so that its level is meant to be written / (n w^2).
    """
    read = weight.square().sum(1)
    if not read.any():
        return torch.zeros_like(read)
    return written / len(read) / read.clamp_min(_LEAST_READ**2 * read.mean())


@dataclass(frozen=True)
class Fit:
    """weight: "target feature".  bias: "target" or None.  error: left over of the targets' energy about 0, as a ratio,
    on held-out samples, or on all where none are held out.  strength: of the ridge, even and odd."""

    weight: Tensor
    bias: Tensor | None
    error: float
    strength: tuple[float, float]


def fit(seen: Moments, held: Moments, prior: Tensor | None = None, trained: Tensor | None = None) -> Fit:
    """The best equivariant weight on all samples, with the strength that does best on `held` when fitted on `seen`.

    prior: weight "target feature" that the ridge pulls towards in place of 0; it must commute with the mirror.
    trained: the weight that tells the levels of features, the prior where none is given.
    `seen` takes the held-out samples in.
    """
    starts, scales = _split(seen, prior), _split(seen, prior if trained is None else trained)
    # 1. The strength of the ridge, even and odd apart: fitted on `seen` alone, judged on `held`. It is in units of the
    # features' spreads, so the choice holds for the larger set of samples as well.
    strengths: list[float] = []
    left = energy = 0.0
    parts = zip((seen.even, seen.odd), (held.even, held.odd), starts, seen.roundings(scales), strict=True)
    for part, test, start, rounding in parts:
        ways = [(test.error(solution), strength) for strength, solution in _path(part, start, rounding, STRENGTHS)]
        error, strength = min(ways) if float(test.energy) else (0.0, _UNTESTED)
        left, energy = left + error, energy + float(test.energy)
        strengths.append(strength)
    # 2. The weight itself, of all samples together.
    seen.merge(held)
    solved = zip((seen.even, seen.odd), starts, seen.roundings(scales), strengths, strict=True)
    even, odd = (next(_path(part, start, rounding, [strength]))[1] for part, start, rounding, strength in solved)
    if not held.count:  # a single batch, none of which is held out
        left, energy = seen.even.error(even) + seen.odd.error(odd), float(seen.even.energy + seen.odd.energy)
    weight, bias = _joined(seen, even, odd)
    return Fit(weight, bias, left / energy if energy else 0.0, (strengths[0], strengths[1]))


def _split(moments: Moments, prior: Tensor | None) -> tuple[Tensor, Tensor]:
    """The prior in the isotypic basis, "feature target" for even and odd, 0 in the place of the bias."""
    features, targets = moments.bases
    if prior is None:
        even = torch.zeros(features.action.even, targets.action.even, dtype=torch.float64)
        odd = torch.zeros(features.action.odd, targets.action.odd, dtype=torch.float64)
    else:
        rows = targets.split(prior.double(), 0)
        # A prior that commutes has nothing in the blocks even-odd and odd-even, the other halves of these splits.
        even, odd = features.split(rows[0], 1)[0].T, features.split(rows[1], 1)[1].T
    if moments.even.bias:
        even = torch.cat([even, even.new_zeros(1, even.shape[1])])
    return even, odd


def _joined(moments: Moments, even: Tensor, odd: Tensor) -> tuple[Tensor, Tensor | None]:
    """The inverse of `_split`: the weight "target feature" and the bias "target", None where the fit has none."""
    features, targets = moments.bases
    bias = None
    if moments.even.bias:
        bias = targets.join(even[-1], even.new_zeros(targets.action.odd), 0)  # b = T b: no odd coordinates
        even = even[:-1]
    zeros = even.new_zeros
    top = features.join(even.T, zeros(even.shape[1], features.action.odd), 1)
    bottom = features.join(zeros(odd.shape[1], features.action.even), odd.T, 1)
    return targets.join(top, bottom, 0), bias


def _path(part: _Part, start: Tensor, rounding: Tensor, strengths: Sequence[float]) -> Iterator[tuple[float, Tensor]]:
    """(strength, solution "feature target") for every strength, from one eigendecomposition.

    rounding: energy that it may have put into every feature; of those that have no more than that, weights stay.
    """
    # 1. The normal equations about the means, with what the start leaves of the targets: a bias takes the means up.
    size = part.count
    gram, products = part.features, part.products - part.features @ start  # sums of x x', and of x (t - W_0 x)'
    inner, cross = gram[:size, :size], products[:size]
    mean, offset = gram.new_zeros(size), products.new_zeros(products.shape[1])
    count = float(gram[-1, -1]) if part.bias else 0.0  # the constant feature's energy is the number of samples
    if count:
        mean, offset = gram[-1, :size] / count, products[-1] / count
        inner, cross = inner - count * torch.outer(mean, mean), cross - count * torch.outer(mean, offset)
    # 2. Every feature in units of its spread; 0 of those that are no signal.
    is_signal = inner.diagonal() > rounding
    inner = inner + torch.diag(rounding)
    scale = torch.where(is_signal, inner.diagonal().clamp_min(0).rsqrt(), torch.zeros_like(rounding))
    values, vectors = torch.linalg.eigh(scale[:, None] * inner * scale)
    turned = vectors.T @ (scale[:, None] * cross)
    # 3. (V diag(v) V' + s 1)^-1 c = V (V' c / (v + s)): each strength costs one product. v may be rounded below 0.
    for strength in strengths:
        change = scale[:, None] * (vectors @ (turned / (values.clamp_min(0) + strength)[:, None]))
        solution = start.clone()
        solution[:size] += change
        if part.bias:
            solution[-1] += offset - mean @ change
        yield strength, solution
