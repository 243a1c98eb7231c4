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

    parts: for every block, its columns against itself and all behind it, "block rest".
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.parts = [
            torch.zeros(min(_COLUMNS, size - start), size - start, dtype=torch.float64)
            for start in range(0, size, _COLUMNS)
        ]

    def add(self, rows: Tensor) -> None:
        """Take samples in, "sample entry": products in their own precision, sums in float64."""
        for part in self.parts:
            start = self.size - part.shape[1]
            part += rows[:, start : start + len(part)].T @ rows[:, start:]

    def whole(self) -> Tensor:
        """All sums, "entry entry", the other half filled in."""
        sums = torch.empty(self.size, self.size, dtype=torch.float64)
        for part in self.parts:
            start = self.size - part.shape[1]
            stop = start + len(part)
            sums[start:stop, start:] = part
            sums[stop:, start:stop] = part[:, len(part) :].T
        return sums
