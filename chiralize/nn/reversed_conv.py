"""Convolutions over two axes of which the mirror reverses one, in blocks (`along.py`).

What pictures need: T exchanges channels and reverses the width. The layers take their taps along the reversed axis
for channels, so the map inside has a kernel along the other axis alone: of a kernel (3, 5) with mirror="w" a map of
5 times as many channels with a kernel (3, 1). Weights of torch's shape go in and out (`spread`, `gathered`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiralize.errors import RepresentationSizeError
from chiralize.nn._convolution import convolved, order_of, padded_around
from chiralize.nn._eager import is_eager
from chiralize.nn.along import Along, Answers, Windows, reversal
from chiralize.nn.butterfly import ROOT
from chiralize.nn.maps import ChiralMap
from chiralize.symmetry.representation import Representation, TensorRepresentation

_FROM_THE_END = {"h": 2, "w": 1}
_CHANNELS = -3
_Sizes = int | str | Sequence[int]


@dataclass(frozen=True)
class Kernel:
    """Settings of a convolution over "h w", a number for each axis, and the one that the mirror reverses."""

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    mirror: str

    @property
    def along(self) -> Along:
        """The windows along the reversed axis."""
        at = -_FROM_THE_END[self.mirror]
        return Along(-at, self.size[at], self.stride[at], self.dilation[at], self.padding[at])

    @property
    def across(self) -> tuple[int, ...]:
        """Sizes of the kernel whose taps along the reversed axis are channels."""
        return self._beside(self.size, 1)

    @property
    def of_map(self) -> dict[str, Any]:
        """Settings of the convolution along the other axis alone."""
        settings = {"stride": self._beside(self.stride, 1), "padding": self._beside(self.padding, 0)}
        return {**settings, "dilation": self._beside(self.dilation, 1)}

    def _beside(self, values: Sequence[int], value: int) -> tuple[int, ...]:
        """Settings with another value for the reversed axis: it has no windows of its own any more."""
        changed = list(values)
        changed[-_FROM_THE_END[self.mirror]] = value
        return tuple(changed)

    def spread(self, weight: Tensor, axis: int) -> Tensor:
        """The dense weight of one whose `axis` has an entry for every tap and channel.

        "out (tap in) h 1" to "out in h w" for mirror="w" and axis 1.
        """
        apart = weight.squeeze(-self.along.axis).unflatten(axis, (self.along.taps, -1))
        return apart.movedim(axis, -self.along.axis)

    def gathered(self, weight: Tensor, axis: int) -> Tensor:
        """The way back from `spread`."""
        taps = weight.movedim(-self.along.axis, axis).flatten(axis, axis + 1)
        return taps.unsqueeze(-self.along.axis)

    def representation(self, *sides: Representation) -> TensorRepresentation:
        """How T acts on the dense weight between two axes of channels."""
        kernel = [Representation.trivial(size) for size in self.size]
        kernel[-self.along.axis] = reversal(self.along.taps)
        return TensorRepresentation((*sides, *kernel))


def _kernel_of(layer: Any, mirror: str) -> Kernel:
    """The settings of a torch layer. Raises RepresentationSizeError where it pads unequally at both ends."""
    padding = layer.padding
    if isinstance(padding, str):
        right, left, below, above = _padding_at_ends(layer)
        if (right, below) != (left, above):
            facts = f"padding 'same' adds unequally at both ends for a kernel of {tuple(layer.kernel_size)}"
            raise RepresentationSizeError("chiralize.nn", facts, "take kernels of odd sizes")
        padding = (above, left)
    if mirror not in _FROM_THE_END:
        raise RepresentationSizeError("chiralize.nn", f'mirror={mirror!r} is no axis of "b c h w"', "give h or w")
    return Kernel(layer.kernel_size, layer.stride, padding, layer.dilation, mirror)


def _padding_at_ends(layer: Any) -> tuple[int, int, int, int]:
    """Zeros (right, left, below, above) where a layer pads by a word."""
    if layer.padding == "valid":
        return 0, 0, 0, 0
    # torch keeps the amounts as `F.pad` takes them: the last axis first.
    left, right, above, below = layer._reversed_padding_repeated_twice
    return right, left, below, above


class Reversed(ChiralMap):
    """The base of both. The map's kernel has the other axis alone."""

    groups = 1
    windows: Kernel
    channels_in: Representation
    channels_out: Representation

    def apply_block(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """One block on its coordinates, "batch coordinate h w"."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """How T acts on the channels, and the axis that it reverses."""
        sides = f"{self.channels_in.summary()} -> {self.channels_out.summary()}"
        return (
            f"{sides}, kernel_size={self.windows.size}, bias={self.bias_even is not None}, mirror={self.windows.mirror}"
        )


class ReversedConv2d(Reversed):
    """Convolution over two axes of which the mirror reverses one: what `Conv2d(..., mirror="w")` makes.

    x: "batch channel h w", channels under rep_in; windows have to read the reversed axis alike from both ends.
    Returns "batch channel h w" under rep_out. Settings as `torch.nn.Conv2d`, without groups.
    Raises RepresentationSizeError for an axis of another size.
    """

    read = "reader"

    def __init__(
        self,
        rep_in: Representation,
        rep_out: Representation,
        kernel_size: _Sizes,
        stride: _Sizes = 1,
        padding: _Sizes = 0,
        dilation: _Sizes = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        mirror: str = "w",
    ) -> None:
        # As torch's layer takes them, to make one from later (`folded`).
        settings: dict[str, Any] = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
        settings |= {"dilation": dilation, "padding_mode": padding_mode}
        # A layer without memory, which checks the settings and brings them into pairs.
        torch_layer = nn.Conv2d(1, 1, bias=False, device="meta", **settings)
        windows = _kernel_of(torch_layer, mirror)
        # The map's input is "(tap channel)", on which T reverses the taps and moves the channels.
        taps = reversal(windows.along.taps)
        super().__init__(taps * rep_in, rep_out, windows.across, bias, {"device": device, "dtype": dtype})
        self.windows, self.settings, self.channels_in, self.channels_out = windows, settings, rep_in, rep_out
        self.around = padded_around(torch_layer)
        # Modes other than zeros pad x beforehand (reflection commutes with the reversal); the windows then add
        # nothing.
        if self.around:
            self.windows = replace(windows, padding=(0, 0))
        self.reader = Windows(rep_in, self.windows.along, device)
        self.into = self.reader.taps
        self.in_channels, self.out_channels, self.kernel_size = rep_in.size, rep_out.size, windows.size

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of x."""
        if self.around:
            x = F.pad(x, self.around, self.settings["padding_mode"])
        if self._is_written(x):
            return self._by_writing(x)
        return self.map(x, _CHANNELS, self.apply_block)

    def _is_written(self, x: Tensor) -> bool:
        """Whether a batch on the CPU is convolved between pairs in halves, and nothing is to be differentiated."""
        into, out = self.reader.axis, self.out
        # Views [firsts, seconds] on both sides, a batch of pictures, and neither gradients nor tracing: only then may
        # results be written in place.
        halves = into.in_halves and out.in_halves and into.runs == out.runs == 1 and x.ndim == 4
        return halves and x.shape[1] == self.in_channels and not torch.is_grad_enabled() and is_eager(x)

    def _by_writing(self, x: Tensor) -> Tensor:
        """The same in fewer passes: coordinates and answers are written where they belong, and weights scaled."""
        along, of_map, even, odd = self.windows.along, self.windows.of_map, self.weight_even, self.weight_odd
        along.check(x.shape[-along.axis])
        settings = list(of_map["stride"]), list(of_map["padding"]), list(of_map["dilation"])
        # There are taps / 2 coordinates of a kind for every entry of x, one for each window: fewer with a stride.
        order = order_of(x.numel() * along.taps // 2 // along.stride, even)
        x_even, x_odd = self.reader.written(x, order)
        y_even = convolved(x_even, even, self.bias_even, self.into.scale, settings)
        y_odd = convolved(x_odd, odd, None, self.into.scale, settings)
        batch, half, *sizes = y_even.shape
        # A tensor of one channel or one place is contiguous in both orders; it counts as torch's own.
        by_channels = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
        order = torch.channels_last if by_channels else torch.contiguous_format  # what reads the answer may view it
        y = torch.empty(batch, 2 * half, *sizes, dtype=x.dtype, memory_format=order)
        # `join` of plain pairs in halves: [e + o, e - o].
        torch.add(y_even, y_odd, out=y.narrow(1, 0, half))
        torch.sub(y_even, y_odd, out=y.narrow(1, half, half))
        return y

    def apply_block(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """One block on its coordinates, "batch coordinate h w" with an entry for every window."""
        return F.conv2d(x, weight, bias, **self.windows.of_map)

    def dense(self) -> dict[str, Tensor]:
        """The dense weight, and the bias where there is one."""
        weights = super().dense()
        return {**weights, "weight": self.windows.spread(weights["weight"], 1)}

    def _from_dense(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The two blocks of "out in h w", and of the bias."""
        if "weight" in values:
            values = {**values, "weight": self.windows.gathered(values["weight"], 1)}
        return super()._from_dense(values)

    def dense_representations(self) -> Mapping[str, TensorRepresentation]:
        """How T acts on each of them."""
        weight = self.windows.representation(self.channels_out, self.channels_in)
        return {**super().dense_representations(), "weight": weight}

    def folded(self) -> nn.Conv2d:
        """torch's convolution with the dense weights."""
        channels, bias = (self.in_channels, self.out_channels), self.bias_even is not None
        return self._folded_into(nn.Conv2d(*channels, bias=bias, **self.settings, **self._factory))


class ConvTranspose2d(Reversed):
    """Transposed convolution over two axes of which the mirror reverses one: `ConvTranspose2d(..., mirror="w")`.

    x: "batch channel h w", channels under rep_in. Returns "batch channel h w" under rep_out. A window has to fill whole
    strides along the reversed axis: (d (k - 1) + 1) mod s = 0, as 4 entries with a stride of 2 do.
    Raises RepresentationSizeError for other windows.
    """

    written = "writer.axis"

    def __init__(
        self,
        rep_in: Representation,
        rep_out: Representation,
        kernel_size: _Sizes,
        stride: _Sizes = 1,
        padding: _Sizes = 0,
        dilation: _Sizes = 1,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        mirror: str = "w",
    ) -> None:
        settings: dict[str, Any] = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
        settings |= {"dilation": dilation}
        windows = _kernel_of(nn.ConvTranspose2d(1, 1, bias=False, device="meta", **settings), mirror)
        if not windows.along.fills:
            facts = f"windows of {windows.along.taps} entries do not fill whole strides of {windows.along.stride}"
            raise RepresentationSizeError("chiralize.nn", facts, "take a kernel that is a multiple of the stride")
        # The map answers "(tap channel)", without a bias: that is added once, behind the sum of the windows.
        taps = reversal(windows.along.taps)
        super().__init__(rep_in, taps * rep_out, windows.across, False, {"device": device, "dtype": dtype})
        self.windows, self.settings, self.channels_in, self.channels_out = windows, settings, rep_in, rep_out
        # The base made a butterfly of taps and channels in their natural order; `writer` has them in the order of its
        # parts.
        self.writer = Answers(rep_out, windows.along, device)
        self.out = self.writer.taps
        del self.bias_even
        self._hold("bias_even", torch.empty(rep_out.even, device=device, dtype=dtype) if bias else None)
        self.in_channels, self.out_channels, self.kernel_size = rep_in.size, rep_out.size, windows.size
        self.reset_parameters()

    @staticmethod
    def fits(layer: nn.ConvTranspose2d, mirror: str) -> bool:
        """Whether windows of a torch layer fill whole strides along an axis."""
        return _kernel_of(layer, mirror).along.fills

    @property
    def fan(self) -> int:
        """As torch counts: the entries of the kernel and the channels of the answer."""
        return self.rep_out.size * prod(self.kernel)

    def reset_parameters(self) -> None:
        """Draw weights and bias as the dense layer does by default."""
        # The base would scale it by the pairs of all taps; it has an entry per channel.
        bias, self.bias_even = self.bias_even, None
        super().reset_parameters()
        self.bias_even = bias
        if bias is not None:
            bound = self.fan**-0.5
            with torch.no_grad():
                bias.uniform_(-bound, bound)
                # A fixed entry's coordinate is its bias over sqrt 2.
                bias[self.writer.axis.pairs :] /= ROOT

    def forward(self, x: Tensor) -> Tensor:
        """The transposed convolution of x."""
        even, odd = self.parts(x, _CHANNELS, self.apply_block, None)
        return self.writer.axis.whole(self.halves(even, odd, self.bias_even), _CHANNELS)

    def halves(self, even: Tensor, odd: Tensor, bias: Tensor | None) -> list[Tensor]:
        """The answer's channels taken apart, every window added up, and the bias."""
        parts = self.writer.halves(even, odd, _CHANNELS)
        if bias is None:
            return parts
        axis = self.writer.axis
        of_pairs = axis.to_parts(bias, bias.new_zeros(axis.odd), 0)
        return [part + term.view(-1, 1, 1) for part, term in zip(parts, of_pairs, strict=True)]

    def apply_block(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """One block on its coordinates: an answer for every window."""
        return F.conv_transpose2d(x, weight.transpose(0, 1), bias, **self.windows.of_map)

    @property
    def bias(self) -> Tensor | None:
        """The dense bias "out"."""
        if self.bias_even is None:
            return None
        return self.writer.axis.join(self.bias_even, self.bias_even.new_zeros(self.writer.axis.odd), 0)

    def dense(self) -> dict[str, Tensor]:
        """The dense weight, and the bias where there is one."""
        weights = super().dense()
        return {**weights, "weight": self.windows.spread(weights["weight"].transpose(0, 1), 1)}

    def _from_dense(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The two blocks of torch's "in out h w", and of the bias."""
        blocks: dict[str, Tensor] = {}
        if "weight" in values:
            taps = self.windows.gathered(values["weight"], 1).transpose(0, 1)
            blocks = super()._from_dense({"weight": taps})
        if "bias" in values:
            blocks["bias_even"] = self.writer.axis.split(values["bias"], 0)[0]
        return blocks

    def dense_representations(self) -> Mapping[str, TensorRepresentation]:
        """How T acts on each of them."""
        reps = {"weight": self.windows.representation(self.channels_in, self.channels_out)}
        if self.bias_even is None:
            return reps
        return {**reps, "bias": TensorRepresentation((self.channels_out,))}

    def folded(self) -> nn.ConvTranspose2d:
        """torch's layer with the dense weights."""
        channels, bias = (self.in_channels, self.out_channels), self.bias_even is not None
        return self._folded_into(nn.ConvTranspose2d(*channels, bias=bias, **self.settings, **self._factory))
