"""Pictures in the order in which the CPU convolves them: "b h w channel" in memory, whatever their shapes say.

The halves of a picture are added, shifted and joined before every convolution. In the order of torch, "b channel h w",
each of these steps and each convolution moves what it reads into another order first. Functions of every entry keep
the order, so from one convolution to the next nothing is moved. Weights keep torch's order: what flattens or saves
parameters wants them contiguous, and to move them in every call costs a few percent of single pictures alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

_WITH_A_BATCH = 4


def by_channels(x: Tensor) -> Tensor:
    """The same picture "b channel h w" with its channels side by side in memory; one without a batch as it is."""
    if x.ndim != _WITH_A_BATCH:
        return x
    return x.contiguous(memory_format=torch.channels_last)


def as_torch_has_it(x: Tensor) -> Tensor:
    """The same picture as torch's layers hand it on: what reads it may view it."""
    return x.contiguous()
