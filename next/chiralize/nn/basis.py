"""The even and odd coordinates of one axis, as a layer computes them: adds of views.

    pair (u, v)       even (u + v) / 2, odd (u - v) / 2     back:  u = e + o,  v = e - o
    pair (u, -v)      even (u - v) / 2, odd (u + v) / 2     back:  u = e + o,  v = o - e
    fixed entry f     f / sqrt 2                            back:  f = sqrt 2 * (its coordinate)

T exchanges u and v, so it leaves every even number as it is, bit for bit, and negates every odd one. An equivariant
weight maps even to even and odd to odd, so all layers of this folder split an axis, multiply either part by its block,
and join. Of the axis (a b c d) with the pairs (a c) and (b d):

    split   even (a + c, b + d) / 2,  odd (a - c, b - d) / 2
    join    (e0 + o0, e1 + o1, e0 - o0, e1 - o1)

An orthonormal basis has 1/sqrt 2 before and after a weight; here both stand before it, so that what comes after is an
add alone, and the half is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from chiralize.errors import RepresentationSizeError
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation

ROOT, HALF = 2.0**0.5, 0.5


class Tables(nn.Module):
    """A module that holds no parameters, only index tables that follow from its representation.

    They are no part of the state. They follow the module to its device, but never to `meta`, and they are filled again
    where `to_empty` leaves memory as it finds it: a network that is made without memory and then loaded has them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._arrays: dict[str, npt.NDArray[Any]] = {}

    def table(self, name: str, array: npt.NDArray[Any] | None, device: Any = None) -> None:
        """Register a table as a buffer; None where it is not needed."""
        if array is not None:
            self._arrays[name] = array
        self.register_buffer(name, None if array is None else _on_device(array, device), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """As of every module that is moved or cast; the tables are then filled again."""
        super()._apply(fn, recurse)
        # On the device and with the dtype that the move chose, but with the numbers that `to_empty` has lost.
        for name, array in self._arrays.items():
            moved = getattr(self, name)
            setattr(self, name, _on_device(array, moved.device).to(moved.dtype))
        return self


def _on_device(array: npt.NDArray[Any], device: Any) -> Tensor:
    """The table on a device; on the CPU where that is `meta`, which would lose it."""
    # A device context that torch holds (`with torch.device("meta")`) does not reach arrays.
    table = torch.from_numpy(np.array(array))
    if device is None or torch.device(device).type == "meta":
        return table
    return table.to(device)


class Butterfly(Tables):
    """To the even and odd coordinates of an axis, and back. Holds no parameters.

    Coordinates: the plain pairs, the pairs with a sign, then the fixed entries, each by its first entry. Entries that
    lie as [firsts of the pairs, seconds, fixed even, fixed odd] are taken apart by views alone, and so are several such
    runs of plain pairs (the gates of a recurrent layer); any other order costs a gather.
    """

    order: Tensor | None
    back: Tensor | None

    def __init__(self, representation: Representation, device: Any = None) -> None:
        super().__init__()
        action = representation.action
        self.representation, self.size = representation, action.size
        self.even, self.odd = action.even, action.odd
        pairs = sorted(action.pairs, key=lambda pair: (action.sign[pair[0]] < 0, pair[0]))
        fixed = sorted(np.flatnonzero(action.fixed), key=lambda entry: (action.sign[entry] < 0, entry))
        order = np.array([*(i for i, _ in pairs), *(j for _, j in pairs), *fixed], dtype=np.int64)
        self.pairs = len(pairs)
        self.plain = sum(bool(action.sign[i] > 0) for i, _ in pairs)
        # How many times [firsts, seconds] comes along an axis of plain pairs alone; 0 where a gather is needed.
        are_plain_pairs = 2 * self.plain == action.size > 0
        self.runs = _runs(order, self.pairs) if are_plain_pairs else int((order == np.arange(len(order))).all())
        self.in_halves = are_plain_pairs and self.runs == 1
        self.table("order", None if self.runs else order, device)
        self.table("back", None if self.runs else np.argsort(order), device)

    def split(self, x: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
        """(even, odd) coordinates, scaled for a weight of the orthonormal basis. Raises RepresentationSizeError.

        x: `size` entries along `dim`. Returns tensors with `even` and `odd` entries there, pairs first.
        """
        if x.shape[dim] != self.size:  # views would cut it in the wrong spots
            facts = f"an axis of {x.shape[dim]} entries, the representation has {self.size}"
            raise RepresentationSizeError("chiralize.nn", facts, "give the layer what its representation says")
        if self.order is not None:
            x = x.index_select(dim, self.order)
        x = x * HALF
        if self.in_halves:
            u, v = x.chunk(2, dim)
            return u + v, u - v
        if self.runs > 1:
            # "... (run side pair) ..." to two of "... (run pair) ...".
            axis = dim % x.ndim
            u, v = x.unflatten(axis, (self.runs, 2, -1)).unbind(axis + 1)
            return (u + v).flatten(axis, axis + 1), (u - v).flatten(axis, axis + 1)
        even: list[Tensor] = []
        odd: list[Tensor] = []
        for start, count, is_plain in self._kinds():
            u, v = x.narrow(dim, start, count), x.narrow(dim, self.pairs + start, count)
            # The even number of a pair (u, -v) is u - v, which is the odd one of a plain pair.
            total, apart = u + v, u - v
            even.append(total if is_plain else apart)
            odd.append(apart if is_plain else total)
        even += self._fixed(x, 2 * self.pairs, self.even - self.pairs, dim)
        odd += self._fixed(x, self.pairs + self.even, self.odd - self.pairs, dim)
        return _whole(even, x, dim), _whole(odd, x, dim)

    forward = split

    def join(self, even: Tensor, odd: Tensor, dim: int = -1) -> Tensor:
        """The axis again, in its own order, from coordinates that a weight of the orthonormal basis made.

        No factor is left to apply: `split` has taken both up. even, odd: `even` and `odd` entries along `dim`.
        """
        if self.in_halves:
            return torch.cat([even + odd, even - odd], dim)
        if self.runs > 1:
            axis = dim % even.ndim
            e, o = even.unflatten(axis, (self.runs, -1)), odd.unflatten(axis, (self.runs, -1))
            return torch.stack([e + o, e - o], axis + 1).flatten(axis, axis + 2)
        firsts: list[Tensor] = []
        seconds: list[Tensor] = []
        for start, count, is_plain in self._kinds():
            e, o = even.narrow(dim, start, count), odd.narrow(dim, start, count)
            firsts.append(e + o)
            seconds.append(e - o if is_plain else o - e)
        fixed = self._fixed(even, self.pairs, self.even - self.pairs, dim)
        fixed += self._fixed(odd, self.pairs, self.odd - self.pairs, dim)
        x = _whole([*firsts, *seconds, *fixed], even, dim)
        return x if self.back is None else x.index_select(dim, self.back)

    def _kinds(self) -> list[tuple[int, int, bool]]:
        """(first one, count, whether they are plain) of the plain pairs and of those with a sign, if there are any."""
        kinds = [(0, self.plain, True), (self.plain, self.pairs - self.plain, False)]
        return [kind for kind in kinds if kind[1]]

    def _fixed(self, x: Tensor, start: int, count: int, dim: int) -> list[Tensor]:
        """Fixed entries, or their coordinates, as the other; none where there are none."""
        return [x.narrow(dim, start, count) * ROOT] if count else []

    def spread(self, even: Tensor, odd: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
        """Weights on the coordinates along `dim` as weights on the entries: the transpose of `split`.

        spread(E, O)[0] x = E split(x)[0], and the same for odd.
        """
        # The transpose of `split` is half of `join`, of each kind of coordinate by itself.
        no_odd, no_even = _zeros(even, self.odd, dim), _zeros(odd, self.even, dim)
        return self.join(even, no_odd, dim) * HALF, self.join(no_even, odd, dim) * HALF

    def extra_repr(self) -> str:
        """How T acts on the axis."""
        return self.representation.summary()


def _runs(order: npt.NDArray[np.int64], pairs: int) -> int:
    """How many runs [firsts, seconds] an axis of `pairs` plain pairs is made of; 0 where it is not.

    order: the firsts of all pairs, then their seconds. (0 1 4 5 2 3 6 7) are two runs: 0 1 with 2 3, and 4 5 with 6 7.
    """
    for runs in range(1, pairs + 1):
        if pairs % runs == 0:
            grid = np.arange(2 * pairs).reshape(runs, 2, pairs // runs)
            if np.array_equal(order, grid.transpose(1, 0, 2).reshape(-1)):
                return runs
    return 0


def _zeros(like: Tensor, size: int, dim: int) -> Tensor:
    """Zeros of another size along an axis."""
    shape = list(like.shape)
    shape[dim] = size
    return like.new_zeros(shape)


def _whole(parts: Sequence[Tensor], like: Tensor, dim: int) -> Tensor:
    """Parts one behind the other along an axis; a single one as it is, without a copy, and nothing of no entries."""
    if not parts:
        return like.narrow(dim, 0, 0)
    return torch.cat(list(parts), dim) if len(parts) > 1 else parts[0]


# ---- hidden spaces ----------------------------------------------------------------------------------------------
def hidden(size: int, *, fixed: int = 0, negated: float = 0.0) -> Representation:
    """A hidden space for a network that is built anew: pairs in halves, then entries that T leaves where they are.

    fixed: entries without a partner, at the end.  negated: share of the pairs (and of the fixed) that change sign; with
    it only odd activations may follow.  Raises RepresentationSizeError where size - fixed is odd.

    >>> print(hidden(8))
    8: (0 4) (1 5) (2 6) (3 7)
    >>> hidden(7, fixed=1).summary()
    '3 pairs + 1 fixed'
    """
    pairs, over = divmod(size - fixed, 2)
    if over or fixed < 0 or pairs < 0:
        facts = f"{size} entries, {fixed} of them fixed: the rest are no pairs"
        raise RepresentationSizeError("hidden space", facts, "make size - fixed even")
    signed, signed_fixed = round(negated * pairs), round(negated * fixed)
    swapped = [(i, i + pairs) for i in range(pairs)]
    entries = [*range(pairs - signed, pairs), *range(2 * pairs - signed, 2 * pairs), *range(size - signed_fixed, size)]
    return Representation.of(SignedPermutation.of(swapped, entries, size=size))


def paper_layout(joints: Sequence[int], channels: int, negated: int = 0) -> Representation:
    """[left, right, centre] joints of `channels` each, the first `negated` of which change sign.

    The layout of Yeh, Hu, Schwing, "Chirality Nets for Human Pose Regression", NeurIPS 2019.
    joints: (left, right, centre) counts.  Raises RepresentationSizeError.

    >>> print(paper_layout((1, 1, 1), 2, negated=1))
    6: -(0 2) (1 3) -4
    """
    left, right, centre = joints
    if left != right or not 0 <= negated <= channels:
        facts = f"joints {tuple(joints)}, {negated} of {channels} channels negated"
        remedy = "give as many left as right joints, and negated <= channels"
        raise RepresentationSizeError("paper layout", facts, remedy)
    swap = SignedPermutation.of([(i, i + left) for i in range(left)], size=left + right + centre)
    signs = SignedPermutation.of(negated=range(negated), size=channels)
    return Representation.of(swap.kronecker(signs))


def negated_share(joints: Sequence[int], size: int, share: float) -> Representation:
    """The paper's constructor for a hidden axis: `size` = joints x channels, a share of every joint's channels negated.

    Raises RepresentationSizeError where the joints do not divide the size.
    """
    channels, over = divmod(size, sum(joints))
    if over:
        facts = f"{size} channels for {sum(joints)} joints"
        raise RepresentationSizeError("paper layout", facts, f"use a multiple of {sum(joints)}")
    return paper_layout(joints, channels, round(share * channels))
