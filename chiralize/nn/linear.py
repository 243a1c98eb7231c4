"""Linear layers: two products of half the size between changes of basis, by the fewest calls that give them.

What decides the speed of a small layer is how many ops it calls, of a large one how often it goes over its numbers.
So there are four ways to the same answer, chosen by size and by whether anything is to be differentiated.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from chiralize.nn._affine import Affine, in_one_step, is_trained
from chiralize.nn._eager import MANY_ON_GPUS, takes_one_step
from chiralize.nn._product import linear
from chiralize.nn.maps import ChiralMap
from chiralize.symmetry.representation import Representation

_MANY = 1 << 16
"""Entries of x from which a pass over them takes longer than the calls."""

_WORTH_A_LOOK = 1 << 19
"""Multiplications of both blocks below which no product is for oneDNN."""


class Linear(ChiralMap):
    """y = x W' + b with T_out W T_in = W and T_out b = b, at E_out E_in + O_out O_in multiplications a row.

    x: "... in" under rep_in.  Returns "... out" under rep_out.  See `ChiralMap` for its parameters.
    Raises RepresentationSizeError for an axis of another size.

    >>> import torch
    >>> from chiralize.nn import hidden
    >>> layer = Linear(hidden(8), hidden(6))
    >>> x = torch.randn(5, 8)
    >>> torch.equal(layer(x.roll(4, -1)), layer(x).roll(3, -1))
    True
    """

    def __init__(
        self, rep_in: Representation, rep_out: Representation, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(rep_in, rep_out, (), bias, {"device": device, "dtype": dtype})
        self.in_features, self.out_features = rep_in.size, rep_out.size

    def forward(self, x: Tensor) -> Tensor:
        """x W' + b."""
        even, odd = self.weight_even, self.weight_odd
        if self.in_halves and x.shape[-1] == self.in_features:
            bias, scale = self.bias_even, self.into.scale
            # From here on the same numbers by fewer calls or fewer passes; `map` is the plain way for all other axes
            # and modes.
            if is_trained(x, even, odd, bias=bias):
                return Affine.apply(x, even, odd, bias, scale)
            if not torch.compiler.is_compiling():
                if x.numel() < (MANY_ON_GPUS if x.is_cuda else _MANY):
                    return _of_few(x, even, odd, bias, scale)
                if not torch.is_grad_enabled() and takes_one_step(x):
                    return in_one_step(x, even, odd, bias, scale)
        return self.map(x, -1, linear)

    def folded(self) -> nn.Linear:
        """torch's layer with the dense weights."""
        bias = self.bias_even is not None
        return self._folded_into(nn.Linear(self.rep_in.size, self.rep_out.size, bias, **self._factory))


def _of_few(x: Tensor, even: Tensor, odd: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """`ChiralMap.map` between pairs in halves with the fewest calls, which limit the speed on few rows."""
    u, v = (x if scale == 1.0 else x * scale).chunk(2, -1)
    product = linear if len(even) * x.numel() >= _WORTH_A_LOOK else nn.functional.linear
    from_even, from_odd = product(u + v, even, bias), product(u - v, odd)
    return torch.cat([from_even + from_odd, from_even - from_odd], -1)


class InvariantHead(Linear):
    """A linear map onto what T leaves alone (scores of classes): the mirrored input gives the same answer."""

    def __init__(self, rep_in: Representation, size: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__(rep_in, Representation.trivial(size), bias, device, dtype)
