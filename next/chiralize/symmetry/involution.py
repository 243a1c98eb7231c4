"""Signed permutations that are involutions: how the mirror acts on one axis.

    (T x)[i] = sign[i] * x[partner[i]],     partner[partner[i]] = i,     sign[partner[i]] = sign[i]

so T T x = x, and the matrix of T is orthogonal and symmetric. A joint axis swaps left and right (all signs +1),
a coordinate axis changes the sign of the lateral coordinate (every entry its own partner); both are of this kind,
and so is any other reversal of an axis. Nothing here knows about joints.

Four joints, of which 1 and 2 are a left and a right hand, and coordinates (x, y) of each:

    joints    partner = [0, 2, 1, 3]   sign = [+, +, +, +]        coordinates    partner = [0, 1]   sign = [-, +]
    a flat axis of both, joints slowest        partner = [0, 1, 4, 5, 2, 3, 6, 7]   sign = [-, +, -, +, -, +, -, +]

which is `joints.kronecker(coordinates)`. Involutions are values: they compare, hash, print and parse.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from chiralize.errors import NotAnInvolutionError

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SignedPermutation:
    """An involution on an axis of `size` entries, as `partner` and `sign` (both "size", integers).

    Raises NotAnInvolutionError unless T(T(x)) = x.

    >>> T = SignedPermutation.of(pairs=[(0, 1)], negated=[2], size=3)
    >>> T.act(np.array([1.0, 2.0, 3.0])).tolist()
    [2.0, 1.0, -3.0]
    """

    partner: IntArray
    sign: IntArray

    def __post_init__(self) -> None:
        partner = np.array(self.partner, dtype=np.int64).reshape(-1)
        sign = np.array(self.sign, dtype=np.int64).reshape(-1)
        _check(partner, sign)
        partner.flags.writeable = sign.flags.writeable = False
        object.__setattr__(self, "partner", partner)
        object.__setattr__(self, "sign", sign)

    # ---- making -------------------------------------------------------------------------------------------
    @staticmethod
    def identity(size: int) -> SignedPermutation:
        """T that leaves every entry of an axis alone."""
        return SignedPermutation._known(np.arange(size, dtype=np.int64), np.ones(size, np.int64))

    @staticmethod
    def _known(partner: IntArray, sign: IntArray) -> SignedPermutation:
        """Made of involutions in a way that gives one: nothing to check. The arrays are kept, not copied."""
        involution = object.__new__(SignedPermutation)
        partner.flags.writeable = sign.flags.writeable = False
        involution.__dict__.update(partner=partner, sign=sign)
        return involution

    @staticmethod
    def of(pairs: Iterable[Sequence[int]] = (), negated: Iterable[int] = (), *, size: int) -> SignedPermutation:
        """Swap the entries of each pair, then negate the entries listed (both entries of a pair, or neither)."""
        partner, sign = np.arange(size), np.ones(size, np.int64)
        for left, right in pairs:
            partner[left], partner[right] = right, left
        sign[list(negated)] = -1
        return SignedPermutation(partner, sign)

    # ---- reading ------------------------------------------------------------------------------------------
    @property
    def size(self) -> int:
        """Number of entries of the axis."""
        return len(self.partner)

    @cached_property
    def is_sign_free(self) -> bool:
        """Whether no entry is negated."""
        return bool((self.sign == 1).all())

    @cached_property
    def is_negated(self) -> bool:
        """Whether every entry is negated (there is at least one)."""
        return self.size > 0 and bool((self.sign < 0).all())

    @cached_property
    def is_identity(self) -> bool:
        """Whether no entry is moved or negated."""
        return self.is_sign_free and bool(self.fixed.all())

    @cached_property
    def is_reversal(self) -> bool:
        """Whether an axis of at least three entries is read from its other end, no entry negated."""
        return self.size > 2 and self.is_sign_free and bool((self.partner[::-1] == np.arange(self.size)).all())

    @property
    def fixed(self) -> npt.NDArray[np.bool_]:
        """Whether each entry keeps its place, negated or not."""
        return self.partner == np.arange(self.size)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Swapped entries as (smaller, larger)."""
        return [(i, int(j)) for i, j in enumerate(self.partner) if i < j]

    @property
    def even(self) -> int:
        """Dimension of {x : T x = x}: one per pair, one per fixed entry without a sign."""
        return len(self.pairs) + int((self.fixed & (self.sign == 1)).sum())

    @property
    def odd(self) -> int:
        """Dimension of {x : T x = -x}."""
        return self.size - self.even

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, SignedPermutation) and self._key == other._key)

    def __hash__(self) -> int:
        return hash(self._key)

    @cached_property
    def _key(self) -> bytes:
        return self.partner.tobytes() + self.sign.tobytes()

    # ---- combining ----------------------------------------------------------------------------------------
    def __neg__(self) -> SignedPermutation:
        return SignedPermutation._known(self.partner, -self.sign)

    def __abs__(self) -> SignedPermutation:
        """The same permutation without signs, written |T|."""
        if self.is_sign_free:
            return self
        return SignedPermutation._known(self.partner, np.abs(self.sign))

    def direct_sum(self, *others: SignedPermutation) -> SignedPermutation:
        """T1 + T2 + ... acting on the concatenation of their axes."""
        if not others:
            return self
        parts = (self, *others)
        partners: list[IntArray] = []
        start = 0
        for part in parts:
            partners.append(part.partner + start)
            start += part.size
        return SignedPermutation._known(np.concatenate(partners), np.concatenate([part.sign for part in parts]))

    def kronecker(self, *others: SignedPermutation) -> SignedPermutation:
        """T1 x T2 x ... acting on the merged axis, the first factor slowest (row-major, as `flatten`)."""
        if not others:
            return self
        partner, sign = self.partner, self.sign
        for other in others:
            partner = (partner[:, None] * other.size + other.partner[None, :]).reshape(-1)
            sign = (sign[:, None] * other.sign[None, :]).reshape(-1)
        return SignedPermutation._known(partner, sign)

    def factor(self, first: int) -> tuple[SignedPermutation, SignedPermutation] | None:
        """Write T as A x B with A of size `first`, or None where T is no such product.

        A and B are determined up to a common sign; here the first sign of A is +1.
        """
        rest, over = divmod(self.size, first)
        if over:
            return None
        # 1. Where entries go: (i, j) to (slow[i], fast[j]), as row 0 and column 0 say, for all i and j.
        grid, sign = self.partner.reshape(first, rest), self.sign.reshape(first, rest)
        slow, fast = grid[:, 0] // rest, grid[0] % rest
        if not np.array_equal(grid, slow[:, None] * rest + fast[None, :]):
            return None
        # 2. Signs: an outer product. With the common sign chosen so, column 0 over entry (0, 0) is A's, row 0 is B's.
        sign_slow, sign_fast = sign[:, 0] * sign[0, 0], sign[0]
        if not np.array_equal(sign, sign_slow[:, None] * sign_fast[None, :]):
            return None
        if not (np.array_equal(sign_slow[slow], sign_slow) and np.array_equal(sign_fast[fast], sign_fast)):
            return None  # a product of two quarter turns, A A = B B = -1
        return SignedPermutation(slow, sign_slow), SignedPermutation(fast, sign_fast)

    def restrict(self, entries: Sequence[int] | IntArray) -> SignedPermutation | None:
        """T on the chosen entries, in their order, or None where the choice is not closed under T.

        An entry may be chosen several times if its partner is chosen as often: the k-th copies are partners. Where the
        list is as long as the axis and T on its places fits (the parent of every joint), that is taken instead.

        With T = (0 1) on three entries: [0, 0, 1, 1] gives (0 2)(1 3), and [0, 2] gives None.
        With T = (1 2)(3 4) and parents [0, 0, 0, 1, 2] it is T itself, though places 1 and 2 hold one entry.
        """
        chosen = np.asarray(entries, dtype=np.int64)
        if len(chosen) == self.size and np.array_equal(chosen[self.partner], self.partner[chosen]):
            return SignedPermutation(self.partner, self.sign[chosen])
        positions_of: dict[int, list[int]] = {}
        for position, entry in enumerate(chosen.tolist()):
            positions_of.setdefault(entry, []).append(position)
        partner = np.empty(len(chosen), np.int64)
        for entry, positions in positions_of.items():
            # of a fixed entry these are its own positions, each its own partner
            theirs = positions_of.get(int(self.partner[entry]), [])
            if len(theirs) != len(positions):
                return None
            partner[positions] = theirs
        return SignedPermutation(partner, self.sign[chosen])

    # ---- acting -------------------------------------------------------------------------------------------
    def act(self, array: npt.NDArray[Any], axis: int = 0) -> npt.NDArray[Any]:
        """T along one axis of a numpy array."""
        sign = self.sign.reshape(shape_along(axis, array.ndim)).astype(array.dtype)
        return np.take(array, self.partner, axis) * sign

    def matrix(self) -> npt.NDArray[np.float64]:
        """T as a dense matrix, "size size"."""
        dense = np.zeros((self.size, self.size))
        dense[np.arange(self.size), self.partner] = self.sign
        return dense

    def __str__(self) -> str:
        """Signed cycles after the size: `5: (0 1) -(2 3) -4` swaps 0, 1; swaps and negates 2, 3; negates 4."""
        words = [f"{self.size}:"]
        for i, (j, s) in enumerate(zip(self.partner.tolist(), self.sign.tolist(), strict=True)):
            mark = "-" if s < 0 else ""
            if i < j:
                words.append(f"{mark}({i} {j})")
            elif i == j and s < 0:
                words.append(f"-{i}")
        return " ".join(words)

    @staticmethod
    def parse(text: str) -> SignedPermutation:
        """The inverse of `str`. Raises ValueError on other text, NotAnInvolutionError for cycles that are none."""
        head, colon, tail = text.partition(":")
        if not colon or not head.strip().isdigit() or _CYCLE.sub("", tail).strip():
            raise ValueError(f"not a signed permutation: {text!r}")
        if max(map(int, _NUMBER.findall(tail)), default=-1) >= int(head):
            raise ValueError(f"not a signed permutation: {text!r} names an entry beyond the last")
        pairs: list[tuple[int, int]] = []
        negated: list[int] = []
        for sign, left, right, single in _CYCLE.findall(tail):
            if single:
                negated.append(int(single))
                continue
            pairs.append((int(left), int(right)))
            negated.extend(pairs[-1] if sign else ())
        return SignedPermutation.of(pairs, negated, size=int(head))


def shape_along(axis: int, ndim: int) -> list[int]:
    """The shape in which a vector along one axis broadcasts against an array of `ndim` axes, for `reshape`."""
    shape = [1] * ndim
    shape[axis] = -1
    return shape


_NUMBER = re.compile(r"\d+")
# a pair, negated or not, or a single negated entry; single entries without a sign are not written
_CYCLE = re.compile(r"(-?)\((\d+) (\d+)\)|-(\d+)")


def _check(partner: IntArray, sign: IntArray) -> None:
    """Raises NotAnInvolutionError with the first thing that is wrong, in the order in which one can be looked at."""
    size = len(partner)
    if len(sign) != size:
        raise _no_involution(f"{size} partners but {len(sign)} signs", "give one sign per entry")
    if size and (partner.min() < 0 or partner.max() >= size):
        bad = int(partner[(partner < 0) | (partner >= size)][0])
        raise _no_involution(f"partner {bad} lies outside 0..{size - 1}", "index within the axis")
    if not (np.abs(sign) == 1).all():
        raise _no_involution(f"signs {sorted(set(sign.tolist()))}", "use +1 and -1 only")
    wrong = np.flatnonzero(partner[partner] != np.arange(size))
    if len(wrong):
        i = int(wrong[0])
        j, k = int(partner[i]), int(partner[partner[i]])
        raise _no_involution(f"entry {i} goes to {j}, but {j} goes to {k}", "make partners mutual: T(T(x)) = x")
    unequal = np.flatnonzero(sign[partner] != sign)
    if len(unequal):
        i = int(unequal[0])
        j = int(partner[i])
        facts = f"entries {i} and {j} swap with signs {int(sign[i]):+d} and {int(sign[j]):+d}"
        raise _no_involution(facts, "give both partners the same sign: T(T(x)) = x")


def _no_involution(facts: str, remedy: str) -> NotAnInvolutionError:
    return NotAnInvolutionError("signed permutation", facts, remedy)
