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
from chiralize.nn._product import affine, of_weight
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
            d_x = _joined(affine(y_even, even.t(), None, scale), affine(y_odd, odd.t(), None, scale), x)
        x_even, x_odd = _apart(x) if of_even or of_odd else (x, x)
        d_even = of_weight(y_even, x_even, scale) if of_even else None
        d_odd = of_weight(y_odd, x_odd, scale) if of_odd else None
        return d_x, d_even, d_odd, y_even.sum(0) if of_bias else None, None


def in_one_step(x: Tensor, even: Tensor, odd: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """y of x, E, O, b and s, without passes over x and y for the scale. For where autograd does not look."""
    u, v = x.chunk(2, -1)
    coordinates = u + v
    y_even = affine(_rows(coordinates), even, bias, scale)
    # The odd coordinates are written over the even ones: less memory to go through, and it is in the cache by now.
    torch.sub(u, v, out=coordinates)
    return _joined(y_even, affine(_rows(coordinates), odd, None, scale), x)


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


def _joined(even: Tensor, odd: Tensor, like: Tensor) -> Tensor:
    """(e + o, e - o) with the leading axes of `like`."""
    y = joined(even, odd, -1)
    if like.ndim == 2:
        return y
    return y.view(*like.shape[:-1], -1)
