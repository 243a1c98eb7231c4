"""The isotypic basis of one axis as a layer computes it: a butterfly of adds on views.

    pair (u, v)       even (u + v) / 2, odd (u - v) / 2     back:  u = e + o,  v = e - o
    pair (u, -v)      even (u - v) / 2, odd (u + v) / 2     back:  u = e + o,  v = o - e
    fixed entry f     f / sqrt 2                            back:  f = sqrt 2 * (its coordinate)

T exchanges u and v, so it leaves every even number as it is, bit for bit, and negates every odd one. An equivariant
weight maps even to even and odd to odd, so all layers of this folder split an axis, multiply either part by its
block, and join. Of the axis (a b c d) with the pairs (a c) and (b d):

    split   even (a + c, b + d) / 2,  odd (a - c, b - d) / 2
    join    (e0 + o0, e1 + o1, e0 - o0, e1 - o1)

An orthonormal basis has 1/sqrt 2 before and after a weight; here both stand before it, so that what comes after is
an add alone, and the half is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chiralize.errors import RepresentationSizeError
from chiralize.nn._eager import takes_one_step
from chiralize.nn._tables import Tables
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation

ROOT, HALF = 2.0**0.5, 0.5
_MANY = 1 << 17  # entries from which a pass over them takes longer than the calls


class Butterfly(Tables):
    """To the even and odd coordinates of an axis, and back. Holds no parameters.

    Coordinates: the plain pairs, the pairs with a sign, then the fixed entries. Entries that lie as [firsts of the
    pairs, seconds, fixed even, fixed odd] are taken apart by views alone, and so are several such runs of plain pairs
    (the gates of a recurrent layer; query, key and value); any other order costs a gather.
    rank: of every entry; pairs of one kind come by the rank of their first entries, by these entries where it is None.
    """

    order: Tensor | None
    places: Tensor | None
    in_runs = True  # whether several runs of pairs are taken apart by views, run by run

    def __init__(
        self, representation: Representation, device: Any = None, rank: npt.NDArray[Any] | None = None
    ) -> None:
        super().__init__()
        action = representation.action
        self.representation, self.size = representation, action.size
        self.even, self.odd = action.even, action.odd
        # Plain pairs before pairs with a sign, positive fixed entries before negated ones; within a kind by rank.
        ranks = np.arange(action.size) if rank is None else rank
        pairs = sorted(action.pairs, key=lambda pair: (action.sign[pair[0]] < 0, ranks[pair[0]]))
        fixed = sorted(np.flatnonzero(action.fixed), key=lambda entry: (action.sign[entry] < 0, ranks[entry]))
        order = np.array([*(i for i, _ in pairs), *(j for _, j in pairs), *fixed], dtype=np.int64)
        self.entries = order  # the firsts of the pairs, their seconds, the fixed ones: as the coordinates have them
        self.pairs = len(pairs)
        self.scale = HALF  # 1 where a weight has taken the half up
        self.plain = sum(bool(action.sign[i] > 0) for i, _ in pairs)
        # Entries that lie in this order already need no gather: `order` and `places` stay None.
        straight = bool((order == np.arange(action.size)).all())
        # `runs`: how many times [firsts, seconds] comes along the axis. Several need no gather either, unless signs
        # or fixed entries come in.
        if straight:
            self.runs = 1
        else:
            self.runs = _runs(order, self.pairs if self.in_runs and self.plain == len(pairs) and not fixed else 0)
        straight = straight or self.runs > 1
        self.in_halves = straight and 2 * self.plain == action.size > 0  # plain pairs alone, taken apart by views
        self._table("order", None if straight else order, device)
        self._table("places", None if straight else np.argsort(order), device)

    @property
    def axis(self) -> Butterfly:
        """What describes the axis that `split` takes apart: this."""
        return self

    @property
    def sizes(self) -> list[int]:
        """Of the parts that `halves` gives: firsts of the pairs and seconds, even and odd fixed entries."""
        return [size for size in (self.pairs, self.pairs, self.even - self.pairs, self.odd - self.pairs) if size]

    def is_like(self, other: Any) -> bool:
        """Whether another one gives the same coordinates of the same axis."""
        same = isinstance(other, Butterfly) and other.representation.action == self.representation.action
        return same and np.array_equal(other.entries, self.entries)

    def split(self, x: Tensor, dim: int = -1, scaled: bool = True) -> tuple[Tensor, Tensor]:
        """(even, odd) coordinates, scaled for a weight of the orthonormal basis. Raises RepresentationSizeError.

        x: `size` entries along `dim`. Returns tensors with `even` and `odd` entries there, pairs first.
        scaled: False where the caller multiplies by `scale`.
        """
        self._check(x, dim)
        if self.in_halves and self.runs == 1:  # by the fewest calls: small layers wait for these
            if scaled and self.scale != 1.0:
                x = x * self.scale
            u, v = x.chunk(2, dim)
            return u + v, u - v
        if self.order is not None:
            x = x.index_select(dim, self.order)
        if scaled and self.scale != 1.0:
            x = x * self.scale
        if self.runs > 1:
            # "... (run side pair) ..." to two of "... (run pair) ...".
            u, v = x.unflatten(dim, (self.runs, 2, -1)).unbind(_after(x, dim))
            axis = _after(x, dim) - 1
            return (u + v).flatten(axis, axis + 1), (u - v).flatten(axis, axis + 1)
        parts: list[Tensor] = []
        if self.pairs:
            parts += [x.narrow(dim, 0, self.pairs), x.narrow(dim, self.pairs, self.pairs)]
        start = 2 * self.pairs
        for size in (self.even - self.pairs, self.odd - self.pairs):
            # An axis without pairs has two parts all the same, if an empty one: `mixed` takes them in order.
            if size or not self.pairs:
                parts.append(x.narrow(dim, start, size))
            start += size
        return self.mixed(parts, dim)

    forward = split

    def mixed(self, parts: Sequence[Tensor], dim: int = -1) -> tuple[Tensor, Tensor]:
        """(even, odd) coordinates, unscaled, of an axis that is already taken apart, as `halves` does it.

        parts: firsts of the pairs and seconds, if there are pairs, then even and odd fixed entries where there are
        any.
        """
        even: list[Tensor] = []
        odd: list[Tensor] = []
        rest = iter(parts)
        if self.pairs:
            u, v = next(rest), next(rest)
            total, apart = u + v, u - v
            # The even number of a pair (u, -v) is u - v, which is the odd one of a plain pair.
            even += self._picked(total, apart, dim)
            odd += self._picked(apart, total, dim)
        if self.even > self.pairs or not even:
            even.append(next(rest) * ROOT)
        if self.odd > self.pairs or not odd:
            odd.append(next(rest) * ROOT)
        return _whole(even, dim), _whole(odd, dim)

    def _picked(self, plain: Tensor, signed: Tensor, dim: int) -> list[Tensor]:
        """One tensor's entries of the plain pairs, the other's of those with a sign."""
        count, whole = self.plain, self.pairs
        if count == whole:
            return [plain]
        if not count:
            return [signed]
        return [plain.narrow(dim, 0, count), signed.narrow(dim, count, whole - count)]

    def join(self, even: Tensor, odd: Tensor, dim: int = -1) -> Tensor:
        """The axis again, in its own order, from coordinates that a weight of the orthonormal basis made.

        No factor is left to apply: `split` has taken both up. even, odd: `even` and `odd` entries along `dim`.
        """
        if self.in_halves:
            return joined(even, odd, dim, self.runs)
        x = _whole([*chain.from_iterable(self._sides(even, odd, dim)), *self._fixed(even, odd, dim)], dim)
        if self.places is None:
            return x
        return x.index_select(dim, self.places)

    def halves(self, even: Tensor, odd: Tensor, dim: int = -1) -> list[Tensor]:
        """The axis taken apart: firsts of the pairs, seconds, even and odd fixed entries, where there are any."""
        sides = self._sides(even, odd, dim) if self.pairs else []
        return [*(_whole(side, dim) for side in sides), *self._fixed(even, odd, dim)]

    def _sides(self, even: Tensor, odd: Tensor, dim: int) -> tuple[list[Tensor], list[Tensor]]:
        """Firsts and seconds of the pairs, plain ones and those with a sign."""
        firsts: list[Tensor] = []
        seconds: list[Tensor] = []
        for start, stop, sign in ((0, self.plain, 1), (self.plain, self.pairs, -1)):
            if start < stop:
                # A slice of all of it would be one call more, for nothing.
                e, o = even, odd
                if not (start == 0 and stop == self.even == self.odd):
                    e, o = even.narrow(dim, start, stop - start), odd.narrow(dim, start, stop - start)
                firsts.append(e + o)
                seconds.append(e - o if sign > 0 else o - e)
        return firsts, seconds

    def _fixed(self, even: Tensor, odd: Tensor, dim: int) -> list[Tensor]:
        """Even and odd fixed entries, where there are any."""
        fixed: list[Tensor] = []
        for coordinates, size in ((even, self.even), (odd, self.odd)):
            if size > self.pairs:
                fixed.append(coordinates.narrow(dim, self.pairs, size - self.pairs) * ROOT)
        return fixed

    def coordinates(self, tensor: Tensor, dim: int = 0) -> tuple[Tensor, Tensor]:
        """(even, odd) coordinates in the orthonormal basis, (u + v) / sqrt 2 and (u - v) / sqrt 2: for weights, not
        for data.
        """
        even, odd = self.split(tensor, dim)
        return even * (HALF / self.scale * ROOT), odd * (HALF / self.scale * ROOT)

    def spread(self, even: Tensor, odd: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
        """Weights on the coordinates along `dim` as weights on the entries: the transpose of `split`.

        spread(E, O)[0] x = E split(x)[0], and the same for odd.
        """
        return self._spread(even, self.even, 1, dim), self._spread(odd, self.odd, -1, dim)

    def _spread(self, weight: Tensor, size: int, parity: int, dim: int) -> Tensor:
        """One of the two. weight: of the even (parity 1) or the odd coordinates (-1), of which there are `size`,
        along `dim`.
        """
        # Even coordinates read u and v alike, odd ones with opposite signs (parity); of a pair with a sign it is the
        # other way round.
        half = weight * self.scale
        if self.runs > 1:
            axis, each = _after(weight, dim), half.unflatten(dim, (self.runs, -1))
            return torch.stack([each, each * parity], axis).flatten(axis - 1, axis + 1)
        plain = half.narrow(dim, 0, self.plain)
        signed = half.narrow(dim, self.plain, self.pairs - self.plain)
        fixed = half.narrow(dim, self.pairs, size - self.pairs) * ROOT
        shape = list(weight.shape)
        shape[dim] = self.size - 2 * self.pairs - (size - self.pairs)
        # Fixed entries of the other parity, which these coordinates do not read.
        none = weight.new_zeros(shape)
        if parity > 0:
            wide = torch.cat([plain, signed, plain, -signed, fixed, none], dim)
        else:
            wide = torch.cat([plain, signed, -plain, signed, none, fixed], dim)
        if self.places is None:
            return wide
        return wide.index_select(dim, self.places)

    def _check(self, x: Tensor, dim: int) -> None:
        """Raises RepresentationSizeError for an axis of another size."""
        _check_size(x, dim, self.size)

    def extra_repr(self) -> str:
        """How T acts on the axis."""
        return self.representation.summary()


def gathered(x: Tensor, dim: int, order: Tensor) -> Tensor:
    """Entries of an axis in another order.  Raises RepresentationSizeError where it has more of them, or fewer."""
    _check_size(x, dim, order.numel())
    return x.index_select(dim, order)


def _check_size(x: Tensor, dim: int, size: int) -> None:
    """Raises RepresentationSizeError for an axis of another size: views would cut it in the wrong places."""
    if x.shape[dim] != size:
        facts = f"an axis of {x.shape[dim]} entries, the representation has {size}"
        raise RepresentationSizeError("chiralize.nn", facts, "give the layer what its representation says")


def _runs(order: np.ndarray, pairs: int) -> int:
    """How many runs [firsts, seconds] an axis of `pairs` plain pairs is made of, two at least; 0 where it is not.

    order: the firsts of all pairs, then their seconds. (0 1 4 5 2 3 6 7) are two runs: 0 1 with 2 3, and 4 5 with 6
    7.
    """
    for runs in range(2, pairs + 1):
        if pairs % runs == 0:
            grid = np.arange(2 * pairs).reshape(runs, 2, pairs // runs)
            if np.array_equal(order, grid.transpose(1, 0, 2).reshape(-1)):
                return runs
    return 0


def _after(x: Tensor, dim: int) -> int:
    """The position of the axis after `dim`, counted from the first."""
    return dim % x.ndim + 1


def joined(even: Tensor, odd: Tensor, dim: int = -1, runs: int = 1) -> Tensor:
    """[e + o, e - o], run by run.

    even, odd: as many entries along `dim`, "(run pair)". Returns twice as many, "(run side pair)".
    """
    if _is_large(even):
        return _written(even, odd, dim, runs)
    if runs == 1:
        return torch.cat([even + odd, even - odd], dim)
    axis = _after(even, dim)
    e, o = even.unflatten(dim, (runs, -1)), odd.unflatten(dim, (runs, -1))
    return torch.stack([e + o, e - o], axis).flatten(axis - 1, axis + 1)


def _is_large(even: Tensor) -> bool:
    """Whether two calls more are worth a pass less over entries of which there is nothing to differentiate."""
    many = not torch.compiler.is_compiling() and even.numel() >= _MANY
    return many and takes_one_step(even) and not torch.is_grad_enabled() and even.is_contiguous()


def _written(even: Tensor, odd: Tensor, dim: int, runs: int) -> Tensor:
    """[e + o, e - o], run by run, each written at once where it belongs."""
    axis = _after(even, dim)
    e, o = even.unflatten(dim, (runs, -1)), odd.unflatten(dim, (runs, -1))
    # "... run side pair ...": both halves of every run side by side.
    x = even.new_empty([*e.shape[:axis], 2, *e.shape[axis:]])
    torch.add(e, o, out=x.select(axis, 0))
    torch.sub(e, o, out=x.select(axis, 1))
    return x.flatten(axis - 1, axis + 1)


def _whole(parts: list[Tensor], dim: int) -> Tensor:
    """Parts one behind the other along an axis; a single one as it is, without a copy."""
    if len(parts) > 1:
        return torch.cat(parts, dim)
    return parts[0]


def hidden(size: int, *, fixed: int = 0, negated: float = 0.0) -> Representation:
    """A hidden space for a network that is built anew: pairs in halves, then entries that T leaves at their place.

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
