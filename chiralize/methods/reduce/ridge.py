"""Equivariant least squares: the weight that fits targets best among those that commute with the mirror.

    min  sum |W x + b - t|^2 + strength |W D|^2      over W = T_out W T_in,  b = T_out b

`tasks` calls it: `Moments` takes samples in, batch by batch, and `fit` gives the weight, its bias and the error left.
In the isotypic basis such a W is block-diagonal, so the even and the odd coordinates are two independent problems of
about half the size, and only the even one has a bias. Two features that the mirror swaps, and two targets likewise:

    W = [[a, b], [b, a]]        even: (a + b) on (x1 + x2) / sqrt 2        odd: (a - b) on (x1 - x2) / sqrt 2

Samples enter through their second moments alone, which are summed batch by batch: memory does not grow with their
number, and sums of several processes can be added.
D holds the features' own spreads, which makes the strength of the ridge a pure number. Features are known to a few
digits of their level, not of their spread: what rounding adds to them is added to their moments, or a weight would
make an answer of the last digits of one that hardly moves (a slow wave of a table of time steps). A feature whose
spread is below that (the odd one of a unit that the mirror leaves alone) is no direction: its weight stays what it was.

Rounding goes through a weight as W eps L, L the features' levels (root mean squares). The weight of a trained layer
makes of them about the level T of what it writes; large weights that cancel make more, and lose digits:

    |W L| <= 16 |T|,    or twice what the trained weight makes, where that is more; even and odd features each.

Where the best fit goes beyond, features are taken to be known to fewer digits, until it does not. The level of a
feature is that of the inputs at hand, or what it was meant to have, if that is more: the one at which the trained
weight makes its share of T (1 / n of the energy). A LeakyReLU that is off on all inputs at hand hardly moves; an answer
made of it would be thousands of times too large once it is on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chiralize.methods.reduce.gram import add_products
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.isotypic import IsotypicBasis

STRENGTHS = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_UNTESTED = 1e-5
_ROWS = 1024  # samples that are taken to float64 at a time
_ROUNDED, _COARSE = 64, 1e-3
"""A feature is known to so many eps of its level (its own, and what earlier layers made of theirs), but to this share
of it at least; of half types to one eps."""
_MOST_ENLARGED, _MORE_ENLARGED = 16.0, 2.0
_FIRST_UNKNOWN, _MORE_UNKNOWN = 1e-4, 4.0
"""Share of its level that a feature is known to, where a fit enlarges rounding too much: at first, and times this."""
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
        self.rounding = torch.zeros(features, dtype=torch.float64)

    @property
    def energies(self) -> Tensor:
        """Sums of the features' squares."""
        return self.features.diagonal()[: len(self.rounding)]

    def add(self, x: Tensor, t: Tensor, rounded: float) -> None:
        """Take samples in: x is "sample feature", t is "sample target", both in coordinates of this part.

        rounded: share of its level that a feature is known to.
        """
        self.rounding += (rounded * x).square().sum(0)
        if self.bias:
            x = torch.cat([x, x.new_ones(len(x), 1)], 1)
        add_products(self.features, x)
        self.products.addmm_(x.T, t)
        self.energy += t.square().sum()

    def tensors(self) -> list[Tensor]:
        """Every sum, to be added to those of other processes in place."""
        return [self.features, self.products, self.energy, self.rounding]

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
        self.count = torch.zeros((), dtype=torch.float64)
        self.even = _Part(features.even, targets.even, bias)
        self.odd = _Part(features.odd, targets.odd, False)

    def add(self, features: Tensor, targets: Tensor) -> None:
        """Take samples in: "sample feature" and "sample target"."""
        eps = torch.finfo(features.dtype).eps
        # 7.6e-6 in single precision. In float16 64 eps would be 6 % of a level, more than most features vary by.
        rounded = min(_ROUNDED * eps, max(_COARSE, eps))
        for rows, wanted in zip(features.split(_ROWS), targets.split(_ROWS), strict=True):
            x, t = self.bases[0].split(rows.double()), self.bases[1].split(wanted.double())
            self.even.add(x[0], t[0], rounded)
            self.odd.add(x[1], t[1], rounded)
        self.count += len(features)

    def levels(self) -> tuple[Tensor, Tensor]:
        """Energies about 0 of the entries that even and odd features are made of: both of a pair have the pair's mean.

        Of a pair with x1 = 3 and x2 = 4 even and odd energies are 24.5 and 0.5. Both are given as 12.5, (9 + 16) / 2.

        The difference of two entries that are equal but for rounding is no signal, however exactly it is 1e-8.
        """
        return self._of_pairs(self.even.energies, self.odd.energies)

    def roundings(self) -> tuple[Tensor, Tensor]:
        """Energies that rounding may have put into even and odd features.

        It is all that there is of features which are nothing beside the others, within eps: units whose weights have
        decayed to 1e-39 in training. A fit would make answers of them, with weights of 1e39.
        """
        even, odd = self._of_pairs(self.even.rounding, self.odd.rounding)
        # the largest feature's rounding without the factor 64, squared: what one eps of the largest level is
        nothing = torch.cat([even, odd]).amax() / _ROUNDED**2 if len(even) + len(odd) else even.sum()
        return _all_of_little(self.even, even, nothing), _all_of_little(self.odd, odd, nothing)

    def _of_pairs(self, even: Tensor, odd: Tensor) -> tuple[Tensor, Tensor]:
        """Figures "even" and "odd" with those of a pair replaced by their mean in both; fixed entries keep theirs."""
        pairs = len(self.bases[0].first)
        both = (even[:pairs] + odd[:pairs]) / 2
        return torch.cat([both, even[pairs:]]), torch.cat([both, odd[pairs:]])

    def tensors(self) -> list[Tensor]:
        """Every sum, to be added to those of other processes in place."""
        return [self.count, *self.even.tensors(), *self.odd.tensors()]

    def merge(self, other: Moments) -> None:
        """Add the sums of another set of samples."""
        for ours, theirs in zip(self.tensors(), other.tensors(), strict=True):
            ours += theirs


def _all_of_little(part: _Part, rounding: Tensor, nothing: Tensor) -> Tensor:
    """The roundings of a part's features, of those with at most this energy all of it."""
    return torch.where(part.energies <= nothing, torch.maximum(part.energies, rounding), rounding)


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
    trained: the weight that tells how much rounding may be enlarged, the prior where none is given.
    `seen` takes the held-out samples in.
    """
    starts, scales = _split(seen, prior), _split(seen, prior if trained is None else trained)
    # 1. The strength of the ridge, even and odd apart: fitted on `seen` alone, judged on `held`. It is in units of the
    # features' spreads, so the choice holds for the larger set of samples as well.
    strengths: list[float] = []
    left = energy = 0.0
    parts = zip((seen.even, seen.odd), (held.even, held.odd), starts, seen.roundings(), strict=True)
    for part, test, start, rounding in parts:
        ways = [(test.error(solution), strength) for strength, solution in _path(part, start, rounding, STRENGTHS)]
        error, strength = min(ways) if float(test.energy) else (0.0, _UNTESTED)
        left, energy = left + error, energy + float(test.energy)
        strengths.append(strength)
    # 2. All samples together, and how much a weight may enlarge rounding: |W L|^2 <= most.
    seen.merge(held)
    written = float(seen.even.energy + seen.odd.energy)
    levels = [_in_use(level, weight, written) for level, weight in zip(seen.levels(), scales, strict=True)]
    trained_to = sum(_enlarged(weight, level) for weight, level in zip(scales, levels, strict=True))
    most = max(_MOST_ENLARGED**2 * written, _MORE_ENLARGED**2 * trained_to)
    # 3. The weight itself. The bound is that of both parts together, though each part is held to all of it.
    parts = zip((seen.even, seen.odd), starts, strengths, seen.roundings(), levels, strict=True)
    even, odd = (
        _within_its_scale(part, start, strength, rounding, level, most)
        for part, start, strength, rounding, level in parts
    )
    if not float(held.count):  # a single batch, none of which is held out
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
    top = features.join(even.T, zeros(len(even.T), features.action.odd), 1)
    bottom = features.join(zeros(len(odd.T), features.action.even), odd.T, 1)
    return targets.join(top, bottom, 0), bias


def _within_its_scale(
    part: _Part, start: Tensor, strength: float, rounding: Tensor, levels: Tensor, most: float
) -> Tensor:
    """The solution "feature target" with this strength, of features known to so few digits that |W L|^2 <= most.

    levels: energies of what the features are made of.  Returns the start where that is never reached.
    """
    # Rounding is on the diagonal of the normal equations: the more of it, the smaller the weights, down to the start.
    unknown = _FIRST_UNKNOWN
    while unknown < 1 / _FIRST_UNKNOWN:
        solution = _with_strength(part, start, rounding, strength)
        if _enlarged(solution, levels) <= most:
            return solution
        rounding = torch.maximum(rounding, unknown**2 * levels)
        unknown *= _MORE_UNKNOWN
    return start


def _in_use(levels: Tensor, trained: Tensor, written: float) -> Tensor:
    """The energies that features have here, or those at which the trained weight "feature target" makes its share.

    written: energy of the targets.  With n features of weights w the share of each is written / n, so that its level
    is meant to be written / (n w^2). Features that it hardly reads count as read a tenth of its root mean square.
    """
    read = trained[: len(levels)].square().sum(1)
    if not read.any():  # nothing trained is known, or all of it is 0
        return levels
    shares = written / len(read) / read.clamp_min(_LEAST_READ**2 * read.mean())
    return torch.maximum(levels, shares)


def _enlarged(solution: Tensor, levels: Tensor) -> float:
    """|W L|^2 of a solution "feature target"."""
    return float((solution[: len(levels)].square() * levels[:, None]).sum())


def _path(part: _Part, start: Tensor, rounding: Tensor, strengths: Sequence[float]) -> Iterator[tuple[float, Tensor]]:
    """(strength, solution "feature target") for every strength, from one eigendecomposition.

    rounding: energy that it may have put into every feature; of those that have no more than that, weights stay.
    """
    problem = _Scaled.of(part, start, rounding)
    values, vectors = torch.linalg.eigh(problem.inner)
    turned = vectors.T @ problem.cross
    # (V diag(v) V' + s 1)^-1 c = V (V' c / (v + s)): each strength costs one product. Rounding may make a v negative.
    for strength in strengths:
        yield strength, problem.solution(start, vectors @ (turned / (values.clamp_min(0) + strength)[:, None]))


def _with_strength(part: _Part, start: Tensor, rounding: Tensor, strength: float) -> Tensor:
    """The solution "feature target" for one strength, from a Cholesky factor, which takes less than eigenvalues do."""
    problem = _Scaled.of(part, start, rounding)
    lower, failed = torch.linalg.cholesky_ex(problem.inner + strength * torch.eye(len(rounding), dtype=torch.float64))
    if failed:  # rounding has put it below 0 by more than the strength
        return next(_path(part, start, rounding, [strength]))[1]
    return problem.solution(start, torch.cholesky_solve(problem.cross, lower))


@dataclass(frozen=True)
class _Scaled:
    """The normal equations of one part about the means, every feature in units of its spread.

    inner: of features, "feature feature".  cross: with what the start leaves of the targets, "feature target".
    scale: 1 / spread, 0 of features that are no signal.  mean, offset: of features and of what is left.
    """

    inner: Tensor
    cross: Tensor
    scale: Tensor
    mean: Tensor
    offset: Tensor
    has_bias: bool

    @staticmethod
    def of(part: _Part, start: Tensor, rounding: Tensor) -> _Scaled:
        """rounding: energy that it may have put into every feature."""
        size = len(rounding)
        gram, products = part.features, part.products - part.features @ start  # sums of x x', and of x (t - W_0 x)'
        inner, cross = gram[:size, :size], products[:size]
        mean, offset = gram.new_zeros(size), products.new_zeros(products.shape[1])
        count = float(gram[-1, -1]) if part.bias else 0.0  # the constant feature's energy is the number of samples
        if count:  # a bias takes the means up, so that the weight is fitted to what is about them
            mean, offset = gram[-1, :size] / count, products[-1] / count
            inner, cross = inner - count * torch.outer(mean, mean), cross - count * torch.outer(mean, offset)
        is_signal = inner.diagonal() > rounding
        inner = inner + torch.diag(rounding)
        scale = torch.where(is_signal, inner.diagonal().clamp_min(0).rsqrt(), torch.zeros_like(rounding))
        return _Scaled(scale[:, None] * inner * scale, scale[:, None] * cross, scale, mean, offset, part.bias)

    def solution(self, start: Tensor, scaled: Tensor) -> Tensor:
        """The start, changed by a solution in these units; with the bias that goes with it."""
        change = self.scale[:, None] * scaled
        solution = start.clone()
        solution[: len(change)] += change
        if self.has_bias:
            solution[-1] += self.offset - self.mean @ change
        return solution
