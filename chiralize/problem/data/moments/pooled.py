"""Mean and spread of the entries of an input, over samples and the axes along which they are taken together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from chiralize.graph import processes


def pooled_moments(values: Iterable[Tensor], sizes: Sequence[int], pooled: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Mean and spread (float64, on the CPU, of these sizes) of the values of all processes.

    values: batches, "sample entry...".  sizes: of one sample, 1 along the axes that are taken together.
    pooled: the axes of a batch that are, 0 among them. A process may have no values.
    """
    count, total, square = (torch.zeros(shape, dtype=torch.float64) for shape in ((1,), tuple(sizes), tuple(sizes)))
    for batch in values:
        numbers = batch.detach().double().cpu()
        count += numbers.numel() / total.numel()
        total += numbers.sum(list(pooled), keepdim=True)[0]
        square += numbers.square().sum(list(pooled), keepdim=True)[0]
    processes.add_up([count, total, square])
    mean = total / count
    # The variance is a difference of two large numbers where the mean is far from 0: rounding may take it below 0.
    return mean, (square / count - mean.square()).clamp_min(0).sqrt()
