"""Convolutions over frames (1d) or frames and joints (2d); the mirror acts on channels, alike at every tap.

A kernel "out in k" is k equivariant maps of the channels, so it has blocks as a linear layer has, each with the
kernel's axes. Three ways to the same numbers: op by op (`ChiralMap.map`), as one step (`_convolution`) for many
weights, and as a product of matrices where windows do not overlap.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiralize.nn._affine import is_trained, of_windows
from chiralize.nn._convolution import Convolved, in_blocks, padded_around
from chiralize.nn._eager import is_eager, takes_one_step, takes_products
from chiralize.nn._product import affine
from chiralize.nn.maps import ChiralMap
from chiralize.nn.reversed_conv import ReversedConv2d
from chiralize.symmetry.representation import Representation

_MANY = 1 << 19
"""Weights of a block from which a convolution in one step is faster than op by op."""


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
        stride: int | tuple[int, ...] = 1,
        padding: int | str | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if isinstance(kernel_size, int):
            kernel = (kernel_size,) * self.axes
        else:
            kernel = tuple(kernel_size)
        super().__init__(rep_in, rep_out, kernel, bias, {"device": device, "dtype": dtype})
        self.in_channels, self.out_channels, self.kernel_size, self.groups = rep_in.size, rep_out.size, kernel, 1

        self.settings = {"stride": stride, "padding": padding, "dilation": dilation, "padding_mode": padding_mode}
        torch_layer: Any = self.layer(1, 1, kernel, bias=False, device="meta", **self.settings)  # it knows how to pad
        self.stride, self.padding, self.dilation = torch_layer.stride, torch_layer.padding, torch_layer.dilation
        self.around = padded_around(torch_layer)

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of x, in one step where that is faster."""
        padding = self.padding
        if self.around:
            x = F.pad(x, self.around, self.settings["padding_mode"])
        if self.around or padding == "valid":
            padding = (0,) * self.axes
        if self._is_one_step(x, padding):
            # Convolutions over frames are run over two axes, of which the first has size 1.
            one = [1] * (2 - self.axes)
            settings = [*one, *self.stride], [*[0] * len(one), *padding], [*one, *self.dilation]
            even, odd, bias = self.weight_even, self.weight_odd, self.bias_even
            step = Convolved.apply if is_trained(x, even, odd, bias=bias) else in_blocks
            return step(x, even, odd, bias, self.into.scale, settings)
        others = {"stride": self.stride, "padding": padding, "dilation": self.dilation}
        return self.map(x, -1 - self.axes, partial(self.convolution, **others))

    def _is_one_step(self, x: Tensor, padding: Any) -> bool:
        """Whether a batch on the CPU is convolved between pairs in halves, by enough weights for it to matter."""
        fits = x.ndim == self.axes + 2 and x.shape[1] == self.in_channels and not isinstance(padding, str)
        return self.in_halves and fits and self.weight_even.numel() >= _MANY and is_eager(x)

    def folded(self) -> Any:
        """torch's convolution with the dense weights."""
        sizes = self.rep_in.size, self.rep_out.size, self.kernel
        bias = self.bias_even is not None
        return self._folded_into(self.layer(*sizes, bias=bias, **self.settings, **self._factory))


class Conv1d(_Conv):
    """Convolution over frames: at every tap k an equivariant map of the channels, T_out W_k T_in = W_k.

    x: "batch channel frame", channels under rep_in.  Returns "batch channel frame"
    under rep_out.  Settings as `torch.nn.Conv1d`; it has no groups: a grouped map has no blocks to gain from.

    Where windows do not overlap, it is a product of matrices on the CPU, and on a GPU where there is much to multiply;
    its answer then lies in memory as "batch frame channel".
    """

    layer = nn.Conv1d
    convolution = staticmethod(F.conv1d)
    axes = 1

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of x, as a product of matrices where its windows allow that."""
        if self._takes_products(x):
            return self._by_products(x)
        return super().forward(x)

    def _takes_products(self, x: Tensor) -> bool:
        """Whether x is convolved by products: one tensor for each window, and no window over another."""
        (kernel,) = self.kernel
        if x.ndim != 3 or not takes_products(x) or x.dtype != self.weight_even.dtype:
            return False
        # With one tap only where the channels of a frame lie side by side already.
        return (kernel > 1 or x.stride(1) == 1) and windows_are_apart(self, x.shape[-1])

    def _by_products(self, x: Tensor) -> Tensor:
        """The convolution as two products, "batch channel frame" in and out, by views on both sides."""
        # "batch channel frame" to "batch frame channel", and back behind the product.
        x = x.transpose(1, 2)
        windows = x.unflatten(1, (-1, self.kernel[0]))
        if self._is_of_many(windows):
            # Many windows lie in the order of their frames, and weights are brought into it.
            even, odd = (weight.transpose(1, 2).flatten(1) for weight in (self.weight_even, self.weight_odd))
            return of_windows(windows, even, odd, self.bias_even, self.into.scale).transpose(1, 2)
        apply = partial(_scaled, kernel=self.kernel[0], scale=self.into.scale)
        return self.map(x, -1, apply, scaled=False).transpose(1, 2)

    def _is_of_many(self, windows: Tensor) -> bool:
        """Whether there are more windows, "batch window tap channel", than channels to answer, and no gradients."""
        many = self.in_halves and windows.shape[0] * windows.shape[1] >= len(self.weight_even)
        return many and not torch.is_grad_enabled() and takes_one_step(windows)


class Conv2d(_Conv):
    """Convolution over two axes that the mirror leaves alone; the same as `Conv1d` otherwise.

    mirror: the axis of "h w" that the mirror reverses, as it does the width of pictures; then it is a `ReversedConv2d`.
    """

    layer = nn.Conv2d
    convolution = staticmethod(F.conv2d)
    axes = 2

    def __new__(cls, *settings: Any, mirror: str | None = None, **named: Any) -> Any:
        """The layer for an axis that is reversed, where there is one."""
        if mirror is None:
            return super().__new__(cls)
        return ReversedConv2d(*settings, mirror=mirror, **named)

    def __init__(self, *settings: Any, mirror: None = None, **named: Any) -> None:
        super().__init__(*settings, **named)


def windows_are_apart(layer: Conv1d, frames: Any) -> bool:
    """Whether the windows of a convolution over so many frames share none and leave none out."""
    (kernel,) = layer.kernel
    whole = kernel == 1 or (isinstance(frames, int) and frames % kernel == 0 and layer.dilation == (1,))
    return whole and layer.stride == (kernel,) and layer.padding in ((0,), "valid")


def over_windows(x: Tensor, weight: Tensor, bias: Tensor | None, kernel: int) -> Tensor:
    """Such a convolution as a product: "b (window kernel) i" to "b window o", weight "o i kernel"."""
    if kernel > 1:
        x = x.unflatten(1, (-1, kernel)).flatten(2)
    return F.linear(x, weight.transpose(1, 2).flatten(1), bias)


def _scaled(x: Tensor, weight: Tensor, bias: Tensor | None, kernel: int, scale: float) -> Tensor:
    """scale * `over_windows` + bias: the product multiplies by the scale as it goes, which costs no pass over x.

    Inputs and weights lie in different orders; the smaller is moved.
    """
    x = x.unflatten(1, (-1, kernel))
    if x.shape[0] * x.shape[1] < len(weight):
        x = x.transpose(2, 3)
    else:
        weight = weight.transpose(1, 2)
    return affine(x.flatten(2).flatten(0, 1), weight.flatten(1), bias, scale).unflatten(0, x.shape[:2])


def in_order(weight: Tensor) -> Tensor:
    """A weight "o i kernel" that lies in memory as "o kernel i", so that `over_windows` reads it as it lies."""
    return weight.transpose(1, 2).contiguous().transpose(1, 2)
