"""Second moments X' X, "entry entry", summed batch by batch from rows X, "sample entry".

They are symmetric, so that of blocks of columns (a, b) and (b, a) one product is enough. Of 600 columns:

    [0:256] x [0:600]      [256:512] x [256:600]      [512:600] x [512:600]

`ridge` sums into a whole matrix with `add_products`; `moments`, which has four sums for every place that reads a hidden
space, keeps these three blocks (`Gram`).
"""

from __future__ import annotations

import torch
from torch import Tensor

_COLUMNS = 256
"""Of a block. Up to so many units there is one block, and nothing is saved."""
_ROWS = 64
"""Samples that are multiplied at once. A network of one sample a call brings one row at a time, and each product would
go through all sums: of 512 units that took a third of the measuring."""


def add_products(sums: Tensor, rows: Tensor) -> None:
    """sums += rows' rows, "entry entry" from "sample entry": of every pair of blocks of columns the product is made
    once, which is little more than half of the work."""
    size = rows.shape[1]
    for start in range(0, size, _COLUMNS):
        stop = min(start + _COLUMNS, size)
        products = rows[:, start:stop].T @ rows[:, start:]
        # the columns of the block itself are in both triangles, and are added once
        sums[start:stop, start:] += products
        sums[stop:, start:stop] += products[:, stop - start :].T


class Gram:
    """The same sums where memory is short: of every pair of blocks of columns, one half is held.

    Few rows are held until there are enough to multiply.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._waiting, self._count = list[Tensor](), 0
        self._parts = [
            torch.zeros(min(_COLUMNS, size - start), size - start, dtype=torch.float64)
            for start in range(0, size, _COLUMNS)
        ]

    @property
    def parts(self) -> list[Tensor]:
        """For every block, its columns against itself and all behind it, "block rest", of all samples so far."""
        if self._waiting:
            self._multiply()
        return self._parts

    def _multiply(self) -> None:
        """Add the products of the rows that wait."""
        rows = self._waiting[0] if len(self._waiting) == 1 else torch.cat(self._waiting)
        self._waiting, self._count = [], 0
        for part in self._parts:
            start = self.size - part.shape[1]
            part += rows[:, start : start + len(part)].T @ rows[:, start:]

    def add(self, rows: Tensor) -> None:
        """Take samples in, "sample entry": products in their own precision, sums in float64."""
        self._waiting.append(rows)
        self._count += len(rows)
        if self._count >= _ROWS:
            self._multiply()

    def whole(self) -> Tensor:
        """All sums, "entry entry", the other half filled in."""
        sums = torch.empty(self.size, self.size, dtype=torch.float64)
        for part in self.parts:
            start = self.size - part.shape[1]
            stop = start + len(part)
            sums[start:stop, start:] = part
            sums[stop:, start:stop] = part[:, len(part) :].T
        return sums
