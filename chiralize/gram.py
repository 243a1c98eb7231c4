"""Second moments, summed batch by batch."""

from __future__ import annotations

from torch import Tensor

_COLUMNS = 256


def add_products(sums: Tensor, rows: Tensor) -> None:
    """sums += rows' rows, "entry entry" from "sample entry": of every pair of blocks of columns the product is made
    once, which is little more than half of the work."""
    size = rows.shape[1]
    for start in range(0, size, _COLUMNS):
        stop = min(start + _COLUMNS, size)
        products = rows[:, start:stop].T @ rows[:, start:]
        sums[start:stop, start:] += products
        sums[stop:, start:stop] += products[:, stop - start :].T
