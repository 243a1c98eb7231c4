"""The curve that reports draw behind a network: error against cost of the lifters and forecasters."""

from __future__ import annotations

import numpy as np

from benchmarks.accuracy.plots import WIDTHS
from benchmarks.accuracy.summary import lines, read


def curve() -> tuple[tuple[float, float, float, float], ...]:
    """For every width: multiplications (median), and a tenth, half and nine tenths of the error."""
    known = [line for line in lines(read()).values() if line.flips and not line.is_score]
    points: list[tuple[float, float, float, float]] = []
    for way in WIDTHS:
        rows = [line for line in known if line.way == way and not line.network.startswith("one-sided")]
        cost = float(np.median([line.macs for line in rows]))
        low, middle, high = np.quantile([line.change for line in rows], [0.1, 0.5, 0.9])
        points.append((round(cost, 3), round(float(low), 3), round(float(middle), 3), round(float(high), 3)))
    return tuple(points)
