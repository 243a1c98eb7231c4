"""Whether numbers look drawn from a known distribution: the test of Kolmogorov and Smirnov."""

from __future__ import annotations

import torch


def distance(expected: torch.Tensor) -> float:
    """sqrt(n) times the largest distance between the share of values below each and the share that was expected.

    expected: the distribution function at the sorted values, "value", float64.  Values that are drawn from it exceed
    1.6 once in a hundred times, 2.4 once in 50,000.
    """
    count = len(expected)
    shares = torch.arange(count + 1, dtype=torch.float64) / count
    above, below = (shares[1:] - expected).abs().max(), (expected - shares[:-1]).abs().max()
    return float(torch.maximum(above, below)) * count**0.5
