"""An affine map in even and odd blocks as one step of autograd, for training on the CPU and on GPUs.

Between pairs in halves S takes x = (u, v) apart into (u + v, u - v), J joins (e, o) to (e + o, e - o); s is the scale
that the butterfly leaves to the weights:

    y = J (s E (u + v) + b, s O (u - v))        with      S^T = J  and  J^T = S

Op by op there are passes over x and y for the scale, for joining, and for all of that again in the backward pass; here
the products scale and what is joined is written where it belongs. Nothing is kept but x, as by a dense layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from chiralize.nn._eager import takes_one_step
from chiralize.nn._private import goes_forward
from chiralize.nn._product import affine_map, of_weight
from chiralize.nn.butterfly import joined


class Affine(torch.autograd.Function):
    """(x, E, O, b, s) to y; differentiable any number of times.

    x: "... in", E and O: "out/2 in/2", b: "out/2" or None. y: "... out".
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, even: Tensor, odd: Tensor, bias: Tensor | None, scale: float) -> Tensor:
        """y; x and the blocks are saved."""
        ctx.save_for_backward(x, even, odd)
        ctx.scale = scale
        return in_one_step(x, even, odd, bias, scale)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """Gradients of x, E, O and b, each where it is wanted."""
        x, even, odd = ctx.saved_tensors
        of_x, of_even, of_odd, of_bias, _ = ctx.needs_input_grad
        # J^T = S: the gradient of y is taken apart as x is.
        scale, (y_even, y_odd) = ctx.scale, _apart(*grad_outputs)
        d_x = None
        if of_x:
            # S^T = J, behind the transposed blocks.
            by, d_x = affine_map(y_even, even.t()), _empty(y_even, even.shape[1])
            x_even = by(y_even, even.t(), None, scale, _second(d_x))
            d_x = _joined(x_even, by(y_odd, odd.t(), None, scale), d_x).view(x.shape)
        x_even, x_odd = _apart(x) if of_even or of_odd else (x, x)
        d_even = of_weight(y_even, x_even, scale) if of_even else None
        d_odd = of_weight(y_odd, x_odd, scale) if of_odd else None
        return d_x, d_even, d_odd, y_even.sum(0) if of_bias else None, None


def in_one_step(x: Tensor, even: Tensor, odd: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """y of x, E, O, b and s, without passes over x and y for the scale. For where autograd does not look."""
    return _of_rows(x, even, odd, bias, scale).view(*x.shape[:-1], -1)


def of_windows(x: Tensor, even: Tensor, odd: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """`in_one_step` of windows "batch window tap in", E and O "out/2 (tap in/2)". Returns "batch window out"."""
    return _of_rows(x, even, odd, bias, scale).view(*x.shape[:2], -1)


def _of_rows(x: Tensor, even: Tensor, odd: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """y as "rows out". A row of coordinates has the columns of E, from one or several axes of x."""
    u, v = x.chunk(2, -1)
    coordinates = u + v
    rows = coordinates.reshape(-1, even.shape[1])
    y, by = _empty(rows, len(even)), affine_map(rows, even, bias)
    y_even = by(rows, even, bias, scale, _second(y))
    # The odd coordinates are written over the even ones: less memory to go through, and it is in the cache by now.
    torch.sub(u, v, out=coordinates)
    return _joined(y_even, by(coordinates.reshape(-1, even.shape[1]), odd, None, scale), y)


def is_trained(x: Tensor, *weights: Tensor, bias: Tensor | None) -> bool:
    """Whether gradients are wanted of ordinary tensors with entries, and no derivative goes forward."""
    return (
        torch.is_grad_enabled()
        and all(type(weight) in (nn.Parameter, Tensor) and weight.numel() > 0 for weight in weights)
        and (x.requires_grad or any(weight.requires_grad for weight in weights))
        and takes_one_step(x, trained=True)
        and not goes_forward(x, *weights, bias)
    )


def _apart(x: Tensor) -> tuple[Tensor, Tensor]:
    """Even and odd coordinates (u + v, u - v), "rows half" each."""
    u, v = x.chunk(2, -1)
    return _rows(u + v), _rows(u - v)


def _rows(x: Tensor) -> Tensor:
    """x with one axis in place of all leading ones."""
    return x if x.ndim == 2 else x.reshape(-1, x.shape[-1])


def _empty(rows: Tensor, half: int) -> Tensor | None:
    """Memory for what is joined, "rows 2 half", where things may be written into it: new memory is slow at first touch.

    None under autograd, and for types and devices whose products want rows without gaps.
    """
    if torch.is_grad_enabled() or rows.is_cuda or rows.dtype not in (torch.float32, torch.float64):
        return None
    return rows.new_empty(len(rows), 2 * half)


def _second(y: Tensor | None) -> Tensor | None:
    """The half of y where the even coordinates may lie until they are joined with the odd ones."""
    return None if y is None else y[:, y.shape[1] // 2 :]


def _joined(even: Tensor, odd: Tensor, y: Tensor | None) -> Tensor:
    """(e + o, e - o) of rows, written into y where that is given; the even ones may lie in its second half."""
    if y is None:
        return joined(even, odd, -1)
    first, second = y.chunk(2, -1)
    torch.add(even, odd, out=first)
    torch.sub(even, odd, out=second)
    return y
