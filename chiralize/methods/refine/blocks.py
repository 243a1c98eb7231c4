"""Muon in even and odd blocks: a matrix that commutes with the mirror takes even to even and odd to odd.

In the even/odd bases of its rows and columns (`symmetry/isotypic.py`) it is two blocks of half of its size, and its
singular values are theirs. To make those of both blocks equal takes a quarter of the multiplications. What comes out is
equal to its mirror image to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation

_ROOT = 2**0.5
_COEFFICIENTS = (3.4445, -4.775, 2.0315)
"""Of x, x^3 and x^5, in iterations that take singular values from (0, 1] to somewhere about 1 (Jordan 2024)."""
_ITERATIONS = 5
_SMALLEST = 1e-7
_MOMENTUM = 0.95


class _Side:
    """The even and odd coordinates of rows or columns: those of pairs, then fixed entries.

    first, second: of each pair.  sign: that T gives them.  even, odd: fixed entries.  back: from [first, second, even,
    odd] to the order of the axis.
    """

    def __init__(self, action: SignedPermutation) -> None:
        pairs = np.array(action.pairs, dtype=np.int64).reshape(-1, 2)
        fixed = np.flatnonzero(action.fixed)
        even, odd = (fixed[action.sign[fixed] == sign] for sign in (1, -1))
        order = np.concatenate([pairs[:, 0], pairs[:, 1], even, odd])
        self.first, self.second, self.even, self.odd = map(torch.tensor, (pairs[:, 0], pairs[:, 1], even, odd))
        self.sign = torch.tensor(action.sign[pairs[:, 0]], dtype=torch.float32)
        self.back = torch.tensor(np.argsort(order))


class Blocks:
    """To the blocks of a weight, and back.  representation: of the weight, "out, all the rest"."""

    def __init__(self, representation: TensorRepresentation) -> None:
        out, *rest = representation.axes
        action = out.action if representation.sign > 0 else -out.action
        self.rows = _Side(action)
        self.columns = _Side(Representation(tuple(factor for axis in rest for factor in axis.factors)).action)

    def split(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """The even and the odd block, of a matrix "out rest" that T leaves alone, in orthonormal bases."""
        even = self._part(matrix, self.rows.even, self.columns.even, self.columns.sign)
        return even, self._part(matrix, self.rows.odd, self.columns.odd, -self.columns.sign)

    def _part(self, matrix: Tensor, rows: Tensor, columns: Tensor, sign: Tensor) -> Tensor:
        """One block.  rows, columns: fixed entries of its parity.  sign: of the second entry of each pair."""
        read = torch.cat([matrix.index_select(0, self.rows.first), matrix.index_select(0, rows) / _ROOT])
        firsts, seconds = (read.index_select(1, of) for of in (self.columns.first, self.columns.second))
        return torch.cat([torch.addcmul(firsts, seconds, sign), _ROOT * read.index_select(1, columns)], 1)

    def joined(self, even: Tensor, odd: Tensor) -> Tensor:
        """The way back."""
        rows, columns = self.rows, self.columns
        count, width = len(rows.first), len(columns.first)
        above = self._in_columns(even[:count], odd[:count])
        none = even.new_zeros
        fixed_even = _ROOT * self._in_columns(even[count:], none(len(even) - count, odd.shape[1]))
        fixed_odd = _ROOT * self._in_columns(none(len(odd) - count, even.shape[1]), odd[count:])
        below = torch.cat(
            [
                columns.sign * above[:, width : 2 * width],
                columns.sign * above[:, :width],
                above[:, 2 * width : 2 * width + len(columns.even)],
                -above[:, 2 * width + len(columns.even) :],
            ],
            1,
        )
        whole = torch.cat([above, rows.sign[:, None] * below, fixed_even, fixed_odd])
        return whole.index_select(0, rows.back).index_select(1, columns.back)

    def _in_columns(self, even: Tensor, odd: Tensor) -> Tensor:
        """[first, second, even, odd] columns of rows that have both parts."""
        columns = self.columns
        width = len(columns.first)
        sums, differences = even[:, :width] + odd[:, :width], even[:, :width] - odd[:, :width]
        pairs = [0.5 * sums, 0.5 * columns.sign * differences]
        return torch.cat([*pairs, even[:, width:] / _ROOT, odd[:, width:] / _ROOT], 1)


def orthogonal(blocks: Sequence[Tensor]) -> list[Tensor]:
    """Matrices with the singular vectors of these, and singular values about 1; in bfloat16, as Muon has it."""
    if len({block.shape for block in blocks}) == 1:
        return list(_orthogonal(torch.stack(list(blocks))))
    return [_orthogonal(block[None])[0] for block in blocks]


def _orthogonal(stack: Tensor) -> Tensor:
    """The same of a stack "block row column"."""
    x = stack.bfloat16()
    is_tall = x.shape[1] > x.shape[2]
    x = x.mT if is_tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=_SMALLEST)
    linear, cubic, quintic = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=cubic, alpha=quintic), x, beta=linear)
    return (x.mT if is_tall else x).to(stack.dtype)


class MuonInBlocks(torch.optim.Optimizer):
    """Muon for weights that commute with the mirror, with a group of `lr` for each.

    weights: with how the mirror acts on each. A step has the root mean square `lr`, about.
    """

    def __init__(self, weights: Iterable[tuple[Tensor, TensorRepresentation, float]]) -> None:
        weights = list(weights)
        self.blocks = [Blocks(representation) for _, representation, _ in weights]
        super().__init__([{"params": [weight], "size": size} for weight, _, size in weights], {"lr": 0.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move every weight that has a gradient, which has to commute as well."""
        for blocks, group in zip(self.blocks, self.param_groups, strict=True):
            (weight,) = group["params"]
            if weight.grad is None:
                continue
            gradient = weight.grad.reshape(len(weight), -1)
            momentum = self.state[weight].setdefault("momentum_buffer", torch.zeros_like(gradient))
            momentum.lerp_(gradient, 1 - _MOMENTUM)
            ahead = gradient.lerp(momentum, _MOMENTUM)
            step = blocks.joined(*orthogonal(blocks.split(ahead)))
            longest = max(len(weight), prod(weight.shape[1:]))
            weight.add_(step.view(weight.shape), alpha=-group["lr"] * longest**0.5)
