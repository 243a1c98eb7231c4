"""Maps between their cells: how far the answers of both views are apart when one of them is moved by part of a cell.

Everything is read off sums of products of columns, so that maps of many pictures are run through once and every shift
is tried afterwards. Between the cells the maps are taken by a windowed sinc of eight cells, which neither blurs nor
moves what is as smooth as two cells.

With rows a (answers) and b (turned ones), and M the matrix that moves a row by s ("cell cell", eight weights a row):

    sum (a - b Mᵀ)²  =  tr(aᵀa) - 2 tr(aᵀb Mᵀ) + tr(M bᵀb Mᵀ)

aᵀa, aᵀb and bᵀb are summed once; every s costs a few products of them. `alignment` looks for the best s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import floor

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
_REACH = 4
"""Cells on each side of the windowed sinc."""


def taps(cells: int, shift: float) -> tuple[npt.NDArray[np.int64], Array]:
    """What a row of cells moved to the right by `shift` is read from: indices and weights, "cell tap".

    Beyond a border the outermost cell goes on.

    >>> taps(4, 1.0)[0][2, taps(4, 1.0)[1][2].argmax()]
    np.int64(1)
    """
    # Cell i is read from position i - shift: from four cells on either side, weighted by Lanczos' windowed sinc.
    at = np.arange(cells) - shift
    first = np.floor(at).astype(np.int64)[:, None] + np.arange(1 - _REACH, _REACH + 1)
    away = at[:, None] - first
    weights = np.where(np.abs(away) < _REACH, np.sinc(away) * np.sinc(away / _REACH), 0.0)
    return first.clip(0, cells - 1), weights / weights.sum(1, keepdims=True)


def moved(rows: Array, shift: float) -> Array:
    """Rows "... cell" moved to the right by so many cells."""
    index, weights = taps(rows.shape[-1], shift)
    return (rows[..., index] * weights).sum(-1)


@dataclass(frozen=True)
class Products:
    """Sums of products of columns: of the answers, of both, of the turned ones; all "cell cell"."""

    plain: Array
    mixed: Array
    turned: Array

    @staticmethod
    def of(plain: Array, turned: Array) -> Products:
        """Of rows "sample row cell", each cell less its mean over the samples where there are some."""
        if len(plain) > 1:
            plain, turned = plain - plain.mean(0), turned - turned.mean(0)
        a, b = plain.reshape(-1, plain.shape[-1]), turned.reshape(-1, turned.shape[-1])  # "(sample row) cell"
        return Products(a.T @ a, a.T @ b, b.T @ b)

    def __add__(self, other: Products) -> Products:
        return Products(self.plain + other.plain, self.mixed + other.mixed, self.turned + other.turned)

    def __sub__(self, other: Products) -> Products:
        negated = replace(other, plain=-other.plain, mixed=-other.mixed, turned=-other.turned)
        return self + negated

    def energies(self, shift: float, border: int) -> tuple[float, float, float]:
        """Of the answers, of the turned ones moved by a shift, and of their product, without cells at the borders."""
        cells = len(self.plain)
        index, weights = taps(cells, shift)
        inner = slice(border, cells - border)
        index, weights, at = index[inner], weights[inner], np.arange(cells)[inner]
        # The diagonals of aᵀb Mᵀ and of M bᵀb Mᵀ, from the eight taps of each cell: pairs is "cell tap tap".
        mixed = (self.mixed[at[:, None], index] * weights).sum()
        pairs = self.turned[index[:, :, None], index[:, None, :]]
        moved_energy = np.einsum("ij,ik,ijk->", weights, weights, pairs)
        return float(self.plain[at, at].sum()), float(moved_energy), float(mixed)

    def likeness(self, shift: float, border: int) -> float:
        """Correlation of the answers with the turned ones, moved by a shift. 0 where one of them is 0 throughout.

        Noise loses energy between the cells, which would favour shifts by half a cell; so the energy of the turned
        ones is taken between those at whole cells.
        """
        plain, _, mixed = self.energies(shift, border)
        lower, share = floor(shift), shift - floor(shift)
        below, above = (self.energies(whole, border)[1] for whole in (lower, lower + 1))
        other = (1 - share) * below + share * above
        if plain > 0 and other > 0:
            return mixed / (plain * other) ** 0.5
        return 0.0

    def gap(self, shift: float, border: int) -> float:
        """RMS distance of the answers from the turned ones, moved by a shift, over the spread of the answers."""
        plain, other, mixed = self.energies(shift, border)
        if plain > 0:
            return (max(plain + other - 2 * mixed, 0.0) / plain) ** 0.5
        return 0.0

    def best(self, most: float, border: int) -> float:
        """The shift of up to `most` cells, to a thousandth, at which both are most alike."""
        # A grid of an eighth of a cell, then nine places about the best, in steps that are four times finer each time.
        step = 0.125
        coarse = np.arange(-most, most + step / 2, step)
        best = coarse[np.argmax([self.likeness(shift, border) for shift in coarse])]
        while step > 1e-3:
            near = best + step * np.linspace(-1, 1, 9)
            best = near[np.argmax([self.likeness(shift, border) for shift in near])]
            step /= 4
        return float(best)
