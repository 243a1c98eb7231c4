"""Pictures in the order in which the CPU convolves them: "b h w channel" in memory, whatever their shapes say.

The halves of a picture are added, shifted and joined before every convolution. In the order of torch, "b channel h w",
each of these steps and each convolution moves what it reads into another order first. Functions of every entry keep
the order, so from one convolution to the next nothing is moved.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chiralize.nn.maps import ChiralMap

_BY_CHANNELS = torch.channels_last


def by_channels(x: Tensor) -> Tensor:
    """The same picture "b channel h w" with its channels side by side in memory."""
    return x.contiguous(memory_format=_BY_CHANNELS)


def as_torch_has_it(x: Tensor) -> Tensor:
    """The same picture as torch's layers hand it on: what reads it may view it."""
    return x.contiguous()


def lay_out(twin: ChiralMap) -> None:
    """Let the weights lie in memory as the pictures do, so that no call brings them into that order."""
    for weight in (twin.weight_even, twin.weight_odd):
        weight.data = by_channels(weight.data)
