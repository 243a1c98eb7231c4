"""Values of a graph as sums of numbered entries with factors, in a form in which equal ones are alike.

    x + swap(x) / 2, of x with the entries 1, 2, 3, the first two of which are swapped:

    numbers     2    2    3         factors     0.5  1    1.5
                1    1    -                     1    0.5  -

Constants are multiples of entry 0, which is the number 1. Two values are equal as real numbers if their terms are:
equal expressions have one number, and equal terms are added up. `average` makes these from a graph.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

NONE, ONE = -1, 0
"""No entry; the entry that is the number 1."""


@dataclass(frozen=True)
class Value:
    """A tensor whose entries are sums of numbered entries with factors.

    dtype: of the tensor, None where nobody knows.  first: of a tensor whose entries are first, first + 1, ... in order,
    the number of the first.  terms: of any other one numbers and factors, "term ..."; (-1, 0) where there is no term.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype | None
    first: int = NONE
    terms: tuple[Tensor, Tensor] | None = None

    @staticmethod
    def of(entries: Tensor, factors: Tensor, dtype: torch.dtype | None) -> Value:
        """The value with these terms, in the form in which equal values are alike. Terms are sorted by number."""
        shape, held = tuple(entries.shape[1:]), entries != NONE
        used = max(int(held.reshape(len(held), -1).any(1).sum()), 1)
        entries, factors = entries[:used], factors[:used] + 0.0  # no negative zeros
        if used == 1 and entries.numel() and bool((factors == 1).all()):
            flat = entries.flatten()
            first = int(flat[0])
            if first > ONE and torch.equal(flat, torch.arange(first, first + len(flat))):
                return Value(shape, dtype, first)
        return Value(shape, dtype, NONE, (entries, factors))

    @property
    def count(self) -> int:
        """How many terms its entries have at most."""
        return 1 if self.terms is None else len(self.terms[0])

    @property
    def numbers(self) -> tuple[Tensor, Tensor]:
        """Numbers and factors of all entries, "term ..."."""
        if self.terms is not None:
            return self.terms
        size = torch.Size(self.shape).numel()
        entries = torch.arange(self.first, self.first + size).reshape(1, *self.shape)
        return entries, torch.ones(entries.shape, dtype=torch.float64)

    @property
    def is_real(self) -> bool:
        """Whether sums and multiples of it are those of real or complex numbers, but for rounding."""
        return self.dtype is not None and (self.dtype.is_floating_point or self.dtype.is_complex)

    @property
    def is_constant(self) -> bool:
        """Whether its entries are multiples of 1 alone."""
        return self.terms is not None and bool((self.terms[0] <= ONE).all())

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """Equal for equal values of one type and shape: ones of 2 and of 3 entries differ for who sums them up."""
        if self.terms is None:
            return str(self.dtype), self.shape, self.first
        numbers = b"".join(part.contiguous().numpy().tobytes() for part in self.terms)
        return str(self.dtype), self.shape, hashlib.blake2b(numbers).hexdigest()


def constant(numbers: Tensor) -> Value:
    """Multiples of 1."""
    factors = numbers.detach().double()[None]
    return Value.of(torch.where(factors != 0, ONE, NONE), factors, numbers.dtype)


def sum_of(values: Sequence[Value], shape: tuple[int, ...], dtype: torch.dtype | None) -> Value:
    """The sum, in which equal terms are added up and all terms are sorted by number, the largest first."""
    # "term ..." of every value, broadcast, one after the other.
    numbers = [value.numbers for value in values]
    entries = torch.cat([_broadcast(part, shape) for part, _ in numbers])
    factors = torch.cat([_broadcast(part, shape) for _, part in numbers])
    entries, factors = _sorted(entries, factors)
    for term in range(len(entries) - 1, 0, -1):
        same = (entries[term] == entries[term - 1]) & (entries[term] != NONE)
        factors[term - 1] += torch.where(same, factors[term], 0.0)
        entries[term].masked_fill_(same, NONE)
        factors[term].masked_fill_(same, 0.0)
    # x - x stays a term, 0 x: it is no number where x is infinite. A constant 0 is none.
    entries.masked_fill_((entries == ONE) & (factors == 0), NONE)
    return Value.of(*_sorted(entries, factors), dtype)


def _broadcast(terms: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Terms of fewer or shorter axes as "term ..." of a shape."""
    return terms.movedim(0, -1).expand(*shape, -1).movedim(-1, 0)


def _sorted(entries: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
    """Terms by number, the largest first, so that what is no term comes last."""
    entries, order = entries.sort(dim=0, descending=True, stable=True)
    return entries, factors.gather(0, order)


def contents(tensor: Tensor) -> tuple[Any, ...]:
    """A key that is equal for tensors with the same type, shape and numbers, whatever their names and strides."""
    dense = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    numbers = dense.reshape(-1).view(torch.uint8).numpy().tobytes()
    return "held", str(tensor.dtype), tuple(tensor.shape), hashlib.blake2b(numbers).hexdigest()


class Table:
    """The numbers of entries: the same for the same expression, whoever asks."""

    def __init__(self) -> None:
        self.first: dict[tuple[Any, ...], int] = {}
        self.count = ONE + 1

    def number(self, key: tuple[Any, ...], size: int = 1) -> int:
        """The number of the first entry of an expression with so many."""
        if key not in self.first:
            self.first[key] = self.count
            self.count += size
        return self.first[key]

    def block(self, key: tuple[Any, ...], shape: Sequence[int], dtype: torch.dtype | None) -> Value:
        """A tensor of entries that belong to one expression."""
        size = torch.Size(shape).numel()
        if size:
            return Value(tuple(shape), dtype, self.number(key, size))
        return Value.of(torch.zeros(1, *shape, dtype=torch.int64), torch.zeros(1, *shape, dtype=torch.float64), dtype)

    def each(self, op: str, values: Sequence[Value], dtype: torch.dtype | None) -> Value:
        """An op that does the same to all entries, whatever it does, and for which the order of operands is no matter.

        What moves its result moves its operands: S |a + b| is |S a + S b| for bytes, whose sums are none of numbers.
        """
        parts = [_columns(value) for value in values]
        # The operands of every entry of the result, in one order.
        numbers = [self.number(("each", op, tuple(sorted(operands)))) for operands in zip(*parts, strict=True)]
        entries = torch.tensor(numbers, dtype=torch.int64).reshape(1, *values[0].shape)
        return Value.of(entries, torch.ones(entries.shape, dtype=torch.float64), dtype)


def _columns(value: Value) -> list[tuple[Any, ...]]:
    """Every entry of a value by itself: the type of the value, and the numbers and factors of the entry's terms."""
    entries, factors = (part.movedim(0, -1).reshape(-1, value.count).tolist() for part in value.numbers)
    kind = str(value.dtype)
    return [(kind, tuple(of_entry), tuple(by)) for of_entry, by in zip(entries, factors, strict=True)]
