"""A convolution in even and odd blocks as one step, of autograd too where it is trained, on the CPU.

As in `_affine`, y = J (s E * (u + v) + b, s O * (u - v)) with S^T = J and J^T = S: no passes for the scale, and what is
joined is written where it belongs. oneDNN convolves in an order of its own: where frames outweigh weights it is cheaper
to bring the coordinates into "batch frame... channel" as they are made; the answer then lies in memory like that.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from chiralize.nn.butterfly import joined

Settings = tuple[list[int], list[int], list[int]]
"""Stride, padding and dilation over two axes."""
_OUTWEIGH = 2
"""Coordinates are copied into the order of oneDNN where they have at least this many entries per entry of their weight.
"""
if torch.backends.mkldnn.is_available():
    _BY_ONEDNN = torch.float32, torch.bfloat16, torch.float16
else:
    _BY_ONEDNN = ()
"""Types that oneDNN convolves."""


def padded_around(layer: Any) -> list[int]:
    """The entries that a torch layer adds around its input itself, before it convolves; none where these are zeros."""
    return [] if layer.padding_mode == "zeros" else list(layer._reversed_padding_repeated_twice)


def in_blocks(x: Tensor, even: Tensor, odd: Tensor, bias: Tensor | None, scale: float, settings: Settings) -> Tensor:
    """The convolution of x, "batch in frame..." with one or two axes of frames.

    E, O: "out/2 in/2 kernel...", b: "out/2" or None, y: "batch out frame...".
    """
    x_even, x_odd = _apart(x, even)
    y_even = convolved(x_even, even, bias, scale, settings)
    return _joined(y_even, convolved(x_odd, odd, None, scale, settings), y_even.stride(1) == 1, x)


class Convolved(torch.autograd.Function):
    """`in_blocks`, differentiable any number of times. Nothing is kept but x, as by a dense layer."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, even: Tensor, odd: Tensor, bias: Tensor | None, scale: float, settings: Settings
    ) -> Tensor:
        """y; x and the blocks are saved."""
        ctx.save_for_backward(x, even, odd)
        ctx.scale, ctx.settings = scale, settings
        return in_blocks(x, even, odd, bias, scale, settings)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """Gradients of x, E, O and b, each where it is wanted."""
        x, even, odd = ctx.saved_tensors
        of_x, of_even, of_odd, of_bias, *_ = ctx.needs_input_grad
        # J^T = S for the gradient of y; x is taken apart again, which costs less than to keep its coordinates.
        (y_even, y_odd), (x_even, x_odd) = _apart(grad_outputs[0], even), _apart(x, even)
        x_even, d_even = _gradients(y_even, x_even, even, ctx, [of_x, of_even, False])
        x_odd, d_odd = _gradients(y_odd, x_odd, odd, ctx, [of_x, of_odd, False])
        d_x = _joined(x_even, x_odd, x.stride(1) == 1, x) if of_x else None
        return d_x, d_even, d_odd, y_even.sum((0, 2, 3)) if of_bias else None, None, None


def convolved(x: Tensor, weight: Tensor, bias: Tensor | None, scale: float, settings: Settings) -> Tensor:
    """scale W * x + b for one block, "batch coordinate h w"; the smaller of x and W is scaled."""
    if x.numel() < weight.numel():
        x = _times(x, scale)
    else:
        weight = _times(weight, scale)
    return torch.convolution(x, _flat(weight), bias, *settings, False, [0, 0], 1)


def _gradients(d_y: Tensor, x: Tensor, weight: Tensor, ctx: Any, wanted: list[bool]) -> tuple[Tensor, Tensor | None]:
    """Gradients of x and of the weight; that of x is undefined where it is not wanted."""
    # As in `convolved`, the scale goes to the smaller tensor. Scaling d_y scales both gradients; scaling the weight
    # only that of x, so d_weight is scaled afterwards.
    few, scale = d_y.numel() < weight.numel(), ctx.scale
    d_y, by = (_times(d_y, scale), weight) if few else (d_y, _times(weight, scale))
    args = *ctx.settings, False, [0, 0], 1, wanted
    d_x, d_weight, _ = torch.ops.aten.convolution_backward(d_y, x, _flat(by), None, *args)
    if not wanted[1]:
        return d_x, None
    d_weight = d_weight.view_as(weight)
    return d_x, d_weight if few else _times(d_weight, scale)


def _apart(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Even and odd coordinates over two axes of frames, in the order in which they are convolved with the weight."""
    # "batch (side pair) frame" to "batch pair 1 frame", twice.
    u, v = _flat(x).chunk(2, 1)
    even, odd = u + v, u - v
    order = order_of(even.numel(), weight)
    return even.contiguous(memory_format=order), odd.contiguous(memory_format=order)


def order_of(entries: int, weight: Tensor) -> torch.memory_format:
    """How coordinates of so many entries lie in memory while they are convolved with their weight."""
    by_frames = entries >= _OUTWEIGH * weight.numel() and weight.dtype in _BY_ONEDNN
    if by_frames:
        return torch.channels_last
    return torch.contiguous_format


def _joined(even: Tensor, odd: Tensor, by_frames: bool, like: Tensor) -> Tensor:
    """(e + o, e - o) along the channels, which come last in memory or not; as many axes as `like`."""
    if by_frames:
        even, odd = even.permute(0, 2, 3, 1), odd.permute(0, 2, 3, 1)
    even, odd, dim = even.contiguous(), odd.contiguous(), -1 if by_frames else 1
    y = joined(even, odd, dim)
    if by_frames:
        y = y.permute(0, 3, 1, 2)
    return y.squeeze(2) if like.ndim == 3 else y


def _flat(x: Tensor) -> Tensor:
    """The tensor with two axes of frames."""
    return x.unsqueeze(2) if x.ndim == 3 else x


def _times(x: Tensor, scale: float) -> Tensor:
    """x times a number; x itself where that is 1."""
    return x if scale == 1.0 else x * scale
