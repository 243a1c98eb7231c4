"""Representations of the mirror group on the axes of a tensor.

An axis carries a `Representation`: the Kronecker product of signed permutations (joints x coordinates for a merged
axis), each an involution. A tensor carries a `TensorRepresentation`: one Representation per axis and an overall
sign, which is what is left when one negated coordinate is selected. Both are values: they compare, print and parse.

    poses "batch (joint coord)"      +[64: | 4: (1 2) x 2: -0]
    their x alone, "batch joint"     -[64: | 4: (1 2)]              every number changes its sign

The factors of an axis are kept, since a reshape may part them again; equality is that of the action.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from chiralize.errors import RepresentationSizeError
from chiralize.symmetry.involution import SignedPermutation

LONGEST_AXIS = 1 << 24
"""Text of a file may not ask for more entries: a few bytes would fill the memory (16 M entries take 256 MB)."""


@dataclass(frozen=True)
class Representation:
    """How the mirror acts on one axis: a Kronecker product of signed permutations, slowest factor first.

    >>> joints = Representation.of(SignedPermutation.of(pairs=[(0, 1)], size=3))
    >>> coords = Representation.of(SignedPermutation.of(negated=[0], size=2))
    >>> print(joints * coords)
    3: (0 1) x 2: -0
    >>> Representation.parse("3: (0 1) x 2: -0") == joints * coords
    True
    """

    factors: tuple[SignedPermutation, ...] = ()

    @staticmethod
    def of(*factors: SignedPermutation) -> Representation:
        """The product of some factors, slowest first."""
        return Representation(factors)

    @staticmethod
    def trivial(size: int) -> Representation:
        """The mirror leaves every entry alone."""
        return Representation((SignedPermutation.identity(size),))

    @cached_property
    def size(self) -> int:
        """Number of entries of the axis."""
        return int(np.prod([factor.size for factor in self.factors], dtype=np.int64))

    @cached_property
    def action(self) -> SignedPermutation:
        """The product of the factors as one signed permutation of the whole axis."""
        if not self.factors:
            return SignedPermutation.identity(1)
        return self.factors[0].kronecker(*self.factors[1:])

    @property
    def is_sign_free(self) -> bool:
        """Whether no entry is negated."""
        return self.action.is_sign_free

    @property
    def is_trivial(self) -> bool:
        """Whether no entry is moved or negated."""
        return self.action.is_identity

    @property
    def even(self) -> int:
        """Dimension of the even isotypic part."""
        return self.action.even

    @property
    def odd(self) -> int:
        """Dimension of the odd isotypic part."""
        return self.action.odd

    def __mul__(self, other: Representation) -> Representation:
        """Kronecker product: the representation of the two axes merged."""
        return Representation(self.factors + other.factors)

    def __add__(self, other: Representation) -> Representation:
        """Direct sum: the representation of the two axes concatenated."""
        return Representation.of(self.action.direct_sum(other.action))

    def __abs__(self) -> Representation:
        """The same permutations without signs, |T|."""
        return Representation(tuple(map(abs, self.factors)))

    def __eq__(self, other: object) -> bool:
        """Equal action; how the axis is written as a product does not matter."""
        return isinstance(other, Representation) and self.action == other.action

    def __hash__(self) -> int:
        return hash(self.action)

    def __str__(self) -> str:
        return " x ".join(map(str, self.factors)) or "1:"

    @staticmethod
    def parse(text: str) -> Representation:
        """The inverse of `str`. Raises ValueError on other text, and on axes longer than any tensor has."""
        parts = text.split(" x ")
        sizes = [int(part.partition(":")[0]) for part in parts]
        size = max(prod(sizes), *sizes)  # beside a factor of size 0 any other would do
        if size > LONGEST_AXIS:
            raise ValueError(f"an axis of {size:,} entries, limit {LONGEST_AXIS:,}")
        return Representation(tuple(map(SignedPermutation.parse, parts)))

    def summary(self) -> str:
        """Short form for tables: `512 pairs`, `6 pairs + 5 fixed, 17 negated`, `trivial 243`."""
        action = self.action
        if action.is_identity:
            return f"trivial {self.size}"
        pairs = len(action.pairs)
        fixed = self.size - 2 * pairs
        negated = int((action.sign < 0).sum())
        parts = list[str]()
        if pairs:
            parts.append(f"{pairs} pairs")
        if fixed:
            parts.append(f"{fixed} fixed")
        return " + ".join(parts) + (f", {negated} negated" if negated else "")


@dataclass(frozen=True)
class TensorRepresentation:
    """How the mirror acts on a tensor: one Representation per axis, times an overall sign of +1 or -1."""

    axes: tuple[Representation, ...]
    sign: int = 1

    @staticmethod
    def trivial(shape: Sequence[int]) -> TensorRepresentation:
        """The mirror leaves a tensor of this shape alone."""
        return TensorRepresentation(tuple(map(Representation.trivial, shape)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor that T acts on."""
        return tuple(axis.size for axis in self.axes)

    @property
    def still_axes(self) -> list[int]:
        """Positions of the axes that the mirror leaves alone."""
        return [position for position, axis in enumerate(self.axes) if axis.is_trivial]

    @property
    def moved_axes(self) -> list[int]:
        """Positions of all other axes."""
        return [position for position, axis in enumerate(self.axes) if not axis.is_trivial]

    @property
    def moved_sizes(self) -> tuple[int, ...]:
        """Sizes of the axes, 1 along those that the mirror leaves alone."""
        sizes = list(self.shape)
        for position in self.still_axes:
            sizes[position] = 1
        return tuple(sizes)

    @property
    def is_trivial(self) -> bool:
        """Whether the mirror leaves the tensor alone."""
        return self.sign == 1 and all(axis.is_trivial for axis in self.axes)

    @property
    def is_sign_free(self) -> bool:
        """Whether no entry is negated."""
        return self.sign == 1 and all(axis.is_sign_free for axis in self.axes)

    def check_shape(self, shape: Iterable[int], where: str) -> None:
        """Raises RepresentationSizeError unless the shapes agree."""
        if tuple(shape) != self.shape:
            raise RepresentationSizeError(
                where, f"representation for shape {self.shape} on a tensor of shape {tuple(shape)}", "match the sizes"
            )

    def act(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """T on a numpy array of this shape (axes of free size may differ where they are trivial)."""
        out = array
        for axis, representation in enumerate(self.axes):
            if not representation.is_trivial:
                out = representation.action.act(out, axis)
        return out * np.asarray(self.sign, dtype=array.dtype)

    def dimensions(self) -> tuple[int, int]:
        """(even, odd): dimensions of the tensors that the mirror leaves alone and of those that it negates."""
        # even x even and odd x odd are even, even x odd is odd
        even, odd = (1, 0) if self.sign == 1 else (0, 1)
        for axis in self.axes:
            even, odd = even * axis.even + odd * axis.odd, even * axis.odd + odd * axis.even
        return even, odd

    def __str__(self) -> str:
        return ("-" if self.sign < 0 else "+") + "[" + " | ".join(map(str, self.axes)) + "]"

    @staticmethod
    def parse(text: str) -> TensorRepresentation:
        """The inverse of `str`. Raises ValueError on other text."""
        # `+[]` is a scalar: no axes, and a sign
        if len(text) < 3 or text[0] not in "+-" or text[1] != "[" or text[-1] != "]":
            raise ValueError(f"not a tensor representation: {text[:40]!r}")
        inside = text[2:-1]
        axes = tuple(map(Representation.parse, inside.split(" | "))) if inside else ()
        return TensorRepresentation(axes, -1 if text[0] == "-" else 1)
