"""The part of the difference between both views that is the same for all inputs.

Views that differ by the noise of training have none: their differences cancel in the mean over many inputs, and a flip
average takes them out. A policy that turns to one side, or a lifter that saw people of one side, keeps it.

Example: 100 differences with an RMS of 0.5 (the gap) and a mean of 0.2. By chance alone their mean would be about
0.5 / sqrt(100) = 0.05. The lean is sqrt(0.2² - 2 (0.5² - 0.2²) / 99) = 0.19, and stands out.
"""

from __future__ import annotations

from math import isfinite, sqrt

LEANING = 0.12
"""How far both views are apart in the mean, in spreads of the answers, where they differ by more than noise
(decision 0049): 0.085 at most where the flip average is as good as the original, from 0.17 on where it is worse."""
LEANING_JOINT = 0.23
"""The same for the entries of one joint, in units of the spread of the whole output."""
LEANING_OF_FEW = 0.04
"""What one joint has to add to the lean of the whole output: its lean times the root of its share of the entries. So
much adds one of 33 joints at the bound above; entries of good lifters added 0.027 at most. One of 263 entries, which
hardly varied, leaned by 0.28 of its spread and added 0.018: the average erred less than the network, there as well."""


def beyond_chance(lean: float, gap: float, rows: int) -> float:
    """How far two views are apart in the mean over `rows` samples, less what chance leaves of differences without one.

    gap: RMS of the differences, in the unit of the lean.  Twice the expected square is taken off, so that few samples
    do not make a lean. A single sample has no lean that could be estimated.
    """
    if rows < 2 or not (isfinite(lean) and isfinite(gap)):
        return 0.0
    return sqrt(max(lean**2 - 2 * max(gap**2 - lean**2, 0.0) / (rows - 1), 0.0))


def needed_to_show(gap: float) -> float:
    """How many samples show the smallest lean that is one, among differences as large as the gap."""
    return 1 + 2 * (gap / LEANING) ** 2


def would_show(gap: float, rows: int) -> bool:
    """Whether so many samples could show the smallest lean that is one, among differences as large as the gap."""
    return rows >= needed_to_show(gap)
