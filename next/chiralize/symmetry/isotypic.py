"""The isotypic (even/odd) basis of one axis.

On a pair (u, v) that T swaps: even (u + v) / sqrt 2, odd (u - v) / sqrt 2; with a sign, T (u, v) = (-v, -u), the roles
change. A fixed entry is even, or odd if negated. The change of basis is orthogonal, and made of gathers and adds, so
that it commutes with T bit for bit.

A linear map that commutes with T takes even to even and odd to odd: two blocks of about half the size in place of one
matrix, of which fits and layers make use. For T = (0 1), entry 2 negated:

    x = (3, 1, 5)        even = (4 / sqrt 2)        odd = (2 / sqrt 2, 5)
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from chiralize.errors import RepresentationSizeError
from chiralize.symmetry.involution import IntArray, SignedPermutation, shape_along

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

        self._sign = None if action.is_sign_free else action.sign[self.first]
        self._order = np.concatenate([self.first, self.second, self.fixed_even, self.fixed_odd])
        self._tables: dict[torch.device, tuple[Tensor, Tensor]] = {}

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
        order, _ = self._tables_on(tensor.device)
        u, v, fixed_even, fixed_odd = tensor.index_select(axis, order).split(self._sizes, axis)
        # with T (u, v) = (-v, -u) the even part is u - v: the sign does both cases
        v = self._signed(v, axis)
        return torch.cat([(u + v) * _ROOT, fixed_even], axis), torch.cat([(u - v) * _ROOT, fixed_odd], axis)

    def join(self, even: Tensor, odd: Tensor, axis: int = -1) -> Tensor:
        """The inverse of `split`."""
        count, fixed_even, fixed_odd = len(self.first), len(self.fixed_even), len(self.fixed_odd)
        e, fixed_e = even.split([count, fixed_even], axis)
        o, fixed_o = odd.split([count, fixed_odd], axis)
        v = self._signed((e - o) * _ROOT, axis)
        _, places = self._tables_on(even.device)
        return torch.cat([(e + o) * _ROOT, v, fixed_e, fixed_o], axis).index_select(axis, places)

    @property
    def _sizes(self) -> list[int]:
        """Of the parts of the axis: firsts of the pairs, seconds, fixed entries."""
        return [len(self.first), len(self.second), len(self.fixed_even), len(self.fixed_odd)]

    def _signed(self, seconds: Tensor, axis: int) -> Tensor:
        """Seconds of the pairs, each with the sign of its pair."""
        if self._sign is None:
            return seconds
        sign = torch.tensor(self._sign, dtype=seconds.dtype, device=seconds.device)
        return seconds * sign.reshape(shape_along(axis % seconds.ndim, seconds.ndim))

    def _tables_on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Which entry comes at every place of the parts, and where every entry is, as indices on a device."""
        if device not in self._tables:
            order = torch.from_numpy(self._order).to(device)
            self._tables[device] = order, order.argsort()
        return self._tables[device]
