"""Convolutions over pictures, of which the mirror reverses one axis: the taps along it are channels.

    y(n) = sum over taps j of  W_j x(s n + d j - p),      T_out W_j T_in = W_{k - 1 - j}

The taps of a convolution are k times as many channels, of which a kernel without that axis takes a linear map. T
exchanges tap j of a channel with tap k - 1 - j of its partner, and the blocks are those of any linear map: for a pair
(u, v) the even numbers u_j + v_{k-1-j} and the odd ones u_j - v_{k-1-j}. Half of the numbers, half of the products. A
row (a b c d) under a kernel of 3 with padding 1 is read as three channels:

    tap 0    0 a b c          of the reversed row (d c b a)    tap 2    c b a 0
    tap 1    a b c d                                           tap 1    d c b a
    tap 2    b c d 0                                           tap 0    0 d c b
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiralize.errors import RepresentationSizeError
from chiralize.nn.basis import HALF, Butterfly
from chiralize.nn.conv import Sizes, around_of
from chiralize.nn.maps import ChiralMap
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation

_CHANNELS = -3


def reversal(size: int) -> Representation:
    """The mirror that takes entry i of an axis to entry size - 1 - i."""
    pairs = [(entry, size - 1 - entry) for entry in range(size // 2)]
    return Representation.of(SignedPermutation.of(pairs, size=size))


class ReversedConv2d(ChiralMap):
    """Convolution over two axes of which the mirror reverses one.

    x: "batch channel h w", channels under rep_in; windows have to read the reversed axis alike from both ends.
    Returns "batch channel h w" under rep_out. mirror: the axis of "h w" that T reverses, as it does the width of
    pictures. Settings (others: padding_mode, device, dtype) as `torch.nn.Conv2d`, without groups.
    Raises RepresentationSizeError for an axis of another size.
    """

    def __init__(
        self,
        rep_in: Representation,
        rep_out: Representation,
        kernel_size: int | tuple[int, int],
        stride: Sizes = 1,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        bias: bool = True,
        mirror: str = "w",
        **others: Any,
    ) -> None:
        if mirror not in ("h", "w"):
            raise RepresentationSizeError("chiralize.nn", f'mirror={mirror!r} is no axis of "b c h w"', "give h or w")
        settings: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
        settings["padding_mode"] = others.pop("padding_mode", "zeros")
        # A layer of torch without memory checks the settings and brings them into pairs.
        shape: Any = nn.Conv2d(1, 1, kernel_size, bias=False, device="meta", **settings)
        axis = {"h": -2, "w": -1}[mirror]
        taps, beside = shape.kernel_size[axis], list(shape.kernel_size)
        beside[axis] = 1
        # The map's input is "(tap channel)", on which T reverses the taps and moves the channels.
        super().__init__(reversal(taps) * rep_in, rep_out, beside, bias, others)
        self.settings, self.mirror, self.axis, self.taps, self.groups = settings, mirror, axis, taps, 1
        self.channels_in, self.channels_out, self.kernel_size = rep_in, rep_out, shape.kernel_size
        self.in_channels, self.out_channels = rep_in.size, rep_out.size
        self.stride, self.padding, self.dilation = shape.stride, shape.padding, shape.dilation
        # Padding comes first in every mode: the taps are views of the padded picture.
        self.around = around_of(shape)
        before, behind = self.around[:2] if mirror == "w" else self.around[2:]
        if before != behind:
            facts = f"padding 'same' adds unequally at both ends for a kernel of {shape.kernel_size}"
            raise RepresentationSizeError("chiralize.nn", facts, "take kernels of odd sizes")
        self.channels = Butterfly(rep_in, others.get("device"))

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of x."""
        if any(self.around):
            mode = self.settings["padding_mode"]
            x = F.pad(x, self.around, "constant" if mode == "zeros" else mode)
        return self.map(x, _CHANNELS, partial(F.conv2d, **self._beside()))

    def _beside(self) -> dict[str, Any]:
        """Settings of the convolution along the other axis: the reversed one has no windows any more."""
        stride, dilation = list(self.stride), list(self.dilation)
        stride[self.axis] = dilation[self.axis] = 1
        return {"stride": stride, "dilation": dilation}

    def split(self, x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """(even, odd) coordinates of the channels at every tap, with an entry for every window."""
        self._check(x)
        if not self.channels.in_halves:
            return self.into.split(torch.cat(self._of_taps(x), dim), dim)
        u, v = (x * HALF).chunk(2, dim)
        even: list[Tensor] = []
        odd: list[Tensor] = []
        # As `into` orders them: tap by tap up to the middle, of which the channels are paired among themselves.
        us, vs = self._of_taps(u), self._of_taps(v)
        for tap in range((self.taps + 1) // 2):
            other = self.taps - 1 - tap
            sides = [(us[tap], vs[other]), (vs[tap], us[other])][: 1 + (tap != other)]
            even += [first + second for first, second in sides]
            odd += [first - second for first, second in sides]
        return torch.cat(even, dim), torch.cat(odd, dim)

    def _of_taps(self, x: Tensor) -> list[Tensor]:
        """What every tap reads, as views of x: the reversed axis has an entry for every window."""
        dilation, stride = self.dilation[self.axis], self.stride[self.axis]
        views: list[Tensor] = []
        for tap in range(self.taps):
            # Every tap leaves out what the taps before and behind it read first and last.
            before, behind = dilation * tap, dilation * (self.taps - 1 - tap)
            entries = slice(before, -behind or None, stride)
            views.append(x[..., entries] if self.mirror == "w" else x[..., entries, :])
        return views

    def _check(self, x: Tensor) -> None:
        """Raises RepresentationSizeError for other channels, and where windows read the axis from one end.

        With a stride, windows may leave entries over at the far end. The reversed axis then has them at the near end,
        and its windows lie elsewhere.
        """
        if x.shape[_CHANNELS] != self.in_channels:
            facts = f"{x.shape[_CHANNELS]} channels, the representation has {self.in_channels}"
            raise RepresentationSizeError("chiralize.nn", facts, "give the layer what its representation says")
        size, stride = x.shape[self.axis], self.stride[self.axis]
        over = size - self.dilation[self.axis] * (self.taps - 1) - 1
        if isinstance(size, int) and over % stride:
            facts = f"windows of {self.taps} entries, {stride} apart, leave {over % stride} of {size} entries over"
            raise RepresentationSizeError("chiralize.nn", facts, f"give the axis {over % stride} entries less")

    # ---- dense weights ------------------------------------------------------------------------------------------
    def dense(self) -> dict[str, Tensor]:
        """The dense weight, and the bias where there is one."""
        weights = super().dense()
        # "out (tap in) h 1" to "out in h w" for mirror="w".
        apart = weights["weight"].squeeze(self.axis).unflatten(1, (self.taps, -1))
        return {**weights, "weight": apart.movedim(1, self.axis)}

    def from_dense(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The two blocks of "out in h w", and of the bias."""
        if "weight" in values:
            taps = values["weight"].movedim(self.axis, 1).flatten(1, 2).unsqueeze(self.axis)
            values = {**values, "weight": taps}
        return super().from_dense(values)

    def dense_representations(self) -> Mapping[str, TensorRepresentation]:
        """How T acts on each of them."""
        kernel = [Representation.trivial(size) for size in self.kernel_size]
        kernel[self.axis] = reversal(self.taps)
        weight = TensorRepresentation((self.channels_out, self.channels_in, *kernel))
        return {**super().dense_representations(), "weight": weight}

    def folded(self) -> nn.Conv2d:
        """torch's convolution with the dense weights."""
        sizes = self.in_channels, self.out_channels, self.kernel_size
        bias = self.bias_even is not None
        return self.folded_into(nn.Conv2d(*sizes, bias=bias, **self.settings, **self.factory))

    def extra_repr(self) -> str:
        """How T acts on the channels, and the axis that it reverses."""
        sides = f"{self.channels_in.summary()} -> {self.channels_out.summary()}"
        bias = self.bias_even is not None
        return f"{sides}, kernel_size={self.kernel_size}, bias={bias}, mirror={self.mirror}"
