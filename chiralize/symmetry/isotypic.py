"""The isotypic (even/odd) basis of one axis.

On a pair (u, v) that T swaps: even (u + v) / sqrt 2, odd (u - v) / sqrt 2; with a sign, T (u, v) = (-v, -u), the roles
change. A fixed entry is even, or odd if negated. The change of basis is orthogonal, and made of gathers and adds, so
that it commutes with T bit for bit.

A linear map that commutes with T takes even to even and odd to odd: two blocks of about half the size in place of one
matrix, which is what `reduce.ridge` and the layers in blocks make use of. For T = (0 1), entry 2 negated:

    x = (3, 1, 5)        even = (4 / sqrt 2)        odd = (2 / sqrt 2, 5)
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from chiralize.errors import RepresentationSizeError
from chiralize.symmetry.involution import IntArray, SignedPermutation

_ROOT = 0.5**0.5


class IsotypicBasis:
    """Change of basis for one signed permutation. Order: pairs (smaller index), then fixed entries, ascending."""

    def __init__(self, action: SignedPermutation) -> None:
        self.action = action
        pairs = np.array(action.pairs, dtype=np.int64).reshape(-1, 2)
        self.first: IntArray = pairs[:, 0].copy()
        self.second: IntArray = pairs[:, 1].copy()
        fixed = np.flatnonzero(action.fixed)
        self.fixed_even: IntArray = fixed[action.sign[fixed] == 1]
        self.fixed_odd: IntArray = fixed[action.sign[fixed] == -1]

    @cached_property
    def sign(self) -> IntArray:
        """Sign of each pair."""
        return self.action.sign[self.first]

    def split(self, tensor: Tensor, axis: int = -1) -> tuple[Tensor, Tensor]:
        """(even, odd) coordinates along an axis, sized `action.even` and `action.odd`.

        Raises RepresentationSizeError.
        """
        if tensor.shape[axis] != self.action.size:
            raise RepresentationSizeError(
                "isotypic basis",
                f"axis of {tensor.shape[axis]} entries, basis of {self.action.size}",
                "match the sizes",
            )
        x = tensor.movedim(axis, -1)
        # with T (u, v) = (-v, -u) the even part is u - v: the sign does both cases
        u, v = x[..., torch.tensor(self.first)], x[..., torch.tensor(self.second)]
        sign = torch.tensor(self.sign).to(x.dtype)
        even = torch.cat([(u + sign * v) * _ROOT, x[..., torch.tensor(self.fixed_even)]], -1)
        odd = torch.cat([(u - sign * v) * _ROOT, x[..., torch.tensor(self.fixed_odd)]], -1)
        return even.movedim(-1, axis), odd.movedim(-1, axis)

    def join(self, even: Tensor, odd: Tensor, axis: int = -1) -> Tensor:
        """The inverse of `split`."""
        e, o = even.movedim(axis, -1), odd.movedim(axis, -1)
        count = len(self.first)
        sign = torch.tensor(self.sign).to(e.dtype)
        out = e.new_empty((*e.shape[:-1], self.action.size))
        out[..., torch.tensor(self.first)] = (e[..., :count] + o[..., :count]) * _ROOT
        out[..., torch.tensor(self.second)] = sign * (e[..., :count] - o[..., :count]) * _ROOT
        out[..., torch.tensor(self.fixed_even)] = e[..., count:]
        out[..., torch.tensor(self.fixed_odd)] = o[..., count:]
        return out.movedim(-1, axis)
