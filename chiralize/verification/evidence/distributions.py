"""Whether numbers look drawn from a known distribution, and independently of each other.

`noise` asks it of inputs, `training` of weights. Both tests give a figure that does not depend on how many numbers
there are, so that one bound does for all.
"""

from __future__ import annotations

from math import sqrt

import torch

_ROWS = 256


def distance(expected: torch.Tensor) -> float:
    """sqrt(n) times the largest distance between the share of values below each and the share that was expected.

    The test of Kolmogorov and Smirnov.  expected: the distribution function at the sorted values, "value", float64.
    Values that are drawn from it exceed 1.6 once in a hundred times, 2.4 once in 50,000.
    """
    # The share of values below steps up at every value: both sides of each step are looked at.
    count = len(expected)
    shares = torch.arange(count + 1, dtype=torch.float64) / count
    above, below = (shares[1:] - expected).abs().max(), (expected - shares[:-1]).abs().max()
    return float(torch.maximum(above, below)) * count**0.5


def dependence(matrix: torch.Tensor) -> float:
    """How far the singular values of a matrix are from those of independent entries, in standard deviations.

    matrix: "row column", float64.  Above 0 some directions are longer than chance makes them, as where training added
    to them; below 0 all are more alike than chance leaves them, as in what was orthogonal and has been moved a little.
    John's statistic of sphericity, whose distribution is that of chi squared; its cube root is nearly normal, from two
    rows on.  0 for a single row, which tells nothing, and where all entries are 0.  Of many rows the first 256 count.
    """
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    matrix = matrix[:_ROWS]
    rows, columns = matrix.shape
    gram = matrix @ matrix.T
    trace = float(gram.trace())
    if rows < 2 or trace == 0.0:
        return 0.0
    # The variance of the eigenvalues of the Gram matrix in squares of their mean: 0 where all are alike. Times
    # columns rows / 2 it is chi squared with so many degrees of freedom; Wilson and Hilferty's cube root of that.
    spread = rows * float(gram.square().sum()) / trace**2 - 1
    freedom = rows * (rows + 1) / 2 - 1
    statistic = columns * rows / 2 * max(spread, 0.0)
    step = 2 / (9 * freedom)
    return ((statistic / freedom) ** (1 / 3) - (1 - step)) / sqrt(step)
