"""Convolutions over frames (1d) or frames and joints (2d): the mirror acts on channels, alike at every tap.

A kernel "out in k" is k equivariant maps of the channels, so it has blocks as a linear layer has, each with the
kernel's axes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from chiralize.nn.maps import ChiralMap
from chiralize.symmetry.representation import Representation

Sizes = int | str | tuple[int, ...]


class _Conv(ChiralMap):
    """The base of both convolutions. Settings are those of the torch layer, without groups."""

    layer: Any
    convolution: Any
    axes: int

    def __init__(
        self,
        rep_in: Representation,
        rep_out: Representation,
        kernel_size: int | tuple[int, ...],
        stride: Sizes = 1,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        **factory: Any,
    ) -> None:
        kernel = (kernel_size,) * self.axes if isinstance(kernel_size, int) else tuple(kernel_size)
        super().__init__(rep_in, rep_out, kernel, bias, factory)
        self.in_channels, self.out_channels, self.kernel_size, self.groups = rep_in.size, rep_out.size, kernel, 1
        self.settings = {"stride": stride, "padding": padding, "dilation": dilation, "padding_mode": padding_mode}
        # A layer of torch without memory brings the settings into one form.
        shape: Any = self.layer(1, 1, kernel, bias=False, device="meta", **self.settings)
        self.stride, self.padding, self.dilation = shape.stride, shape.padding, shape.dilation
        # torch's own padding adds zeros alone; other modes pad beforehand.
        self.around = [] if padding_mode == "zeros" else around_of(shape)

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of x."""
        padding = self.padding
        if self.around:
            x, padding = F.pad(x, self.around, self.settings["padding_mode"]), (0,) * self.axes
        others = {"stride": self.stride, "padding": padding, "dilation": self.dilation}
        return self.map(x, -1 - self.axes, partial(self.convolution, **others))

    def folded(self) -> Any:
        """torch's convolution with the dense weights."""
        bias = self.bias_even is not None
        sizes = self.in_channels, self.out_channels, self.kernel
        return self.folded_into(self.layer(*sizes, bias=bias, **self.settings, **self.factory))


class Conv1d(_Conv):
    """Convolution over frames: at every tap k an equivariant map of the channels, T_out W_k T_in = W_k.

    x: "batch channel frame", channels under rep_in.  Returns "batch channel frame" under rep_out.  Settings as
    `torch.nn.Conv1d`; it has no groups: a grouped map has no blocks to gain from.
    """

    layer = nn.Conv1d
    convolution = staticmethod(F.conv1d)
    axes = 1


class Conv2d(_Conv):
    """Convolution over two axes that the mirror leaves alone; the same as `Conv1d` otherwise.

    For pictures, of which the mirror reverses one axis, see `ReversedConv2d`.
    """

    layer = nn.Conv2d
    convolution = staticmethod(F.conv2d)
    axes = 2


def around_of(layer: Any) -> list[int]:
    """What a convolution of torch adds at the ends of every axis, as `F.pad` takes it: the last axis comes first."""
    sizes, dilation, padding = layer.kernel_size, layer.dilation, layer.padding
    around: list[int] = []
    for axis in reversed(range(len(sizes))):
        if padding == "same":  # d (k - 1) in all, the odd one behind
            total = dilation[axis] * (sizes[axis] - 1)
            around += [total // 2, total - total // 2]
        else:
            around += [0 if padding == "valid" else padding[axis]] * 2
    return around
