"""Pictures in the order in which the CPU convolves them: "b h w channel" in memory, whatever their shapes say.

The halves of a picture are added, shifted and joined before every convolution. In the order of torch, "b channel h w",
each of these steps and each convolution moves what it reads into another order first. Functions of every entry keep
the order, so from one convolution to the next nothing is moved. Weights lie in that order too, or every call would move
them: a twentieth to a tenth of the time of a single picture. Files of tensors have them in torch's order again.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chiralize.nn.maps import ChiralMap

_WITH_A_BATCH = 4


def by_channels(x: Tensor) -> Tensor:
    """The same picture "b channel h w" with its channels side by side in memory; one without a batch as it is."""
    if x.ndim != _WITH_A_BATCH:
        return x
    return x.contiguous(memory_format=torch.channels_last)


def lay_out(twin: ChiralMap) -> None:
    """Let the weights "o i h w" lie in memory as "o h w i", as convolutions by channels read them."""
    for weight in (twin.weight_even, twin.weight_odd):
        weight.data = weight.data.contiguous(memory_format=torch.channels_last)


def as_torch_has_it(x: Tensor) -> Tensor:
    """The same picture as torch's layers hand it on: what reads it may view it."""
    return x.contiguous()
