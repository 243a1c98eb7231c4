"""Things that swap without being joints: bodies, feet, sites; each with the same numbers.

`{feet: [FL, FR], kind: vector, dims: [y, z]}` is FL.y, FL.z, FR.y, FR.z. With P the swap of the things and S the signs
of one thing's numbers, T = P x S; with `major: entries`, FL.y, FR.y, FL.z, FR.z, it is S x P. `partners` finds P by the
skeleton and by names, unless the file says `swap`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from chiralize.body.skeleton.regular_pairs import regular_pairs
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.fields.field import (
    Field,
    dotted,
    joined_action,
    joined_centers,
    joined_labels,
    joined_unit_groups,
    other_fields,
)
from chiralize.body.tensors.fields.partners import partners_of, sides_of, tells_side
from chiralize.body.tensors.fields.phase import Phase
from chiralize.body.tensors.fields.plain import Measured
from chiralize.symmetry.involution import SignedPermutation

THINGS = ("bodies", "feet", "legs", "hands", "links", "sites", "sensors", "items")
MAJOR = ("items", "entries")
_FEW = 6
"""Things of which any two are tried as partners, where none has one."""


@dataclass(frozen=True)
class Items(Field):
    """Numbers of several things.

    things: the key that lists them.  items: their names.  each: the blocks that every one of them has.
    swap: pairs of positions; None where the skeleton and the names tell them.
    major: `items`, all numbers of the first thing first; `entries`, the first number of all things first.
    """

    things: str
    items: tuple[str, ...]
    each: tuple[Field, ...]
    swap: tuple[tuple[int, int], ...] | None = None
    major: str = "items"

    @property
    def kind(self) -> str:
        """`bodies`, `feet`, `sites`, ..."""
        return self.things

    @property
    def parts(self) -> tuple[Field, ...]:
        """What every thing has."""
        return self.each

    def of_parts(self, parts: tuple[Field, ...]) -> Field:
        """The same things with other numbers."""
        return replace(self, each=parts)

    def size(self, body: Skeleton) -> int:
        """Things times the numbers of one."""
        return len(self.items) * sum(block.size(body) for block in self.each)

    def swapped(self, body: Skeleton) -> SignedPermutation:
        """Which things change places. Raises SpecError where one has no partner."""
        pairs = self.swap
        if pairs is None:
            # A distance between two joints is the same from its other end, a vector is not.
            has_ends = not all(map(_is_scalar, self.each))
            pairs = partners_of(self.items, body, self.where or f"field {self.name!r}", has_ends)
        return SignedPermutation.of(pairs, size=len(self.items))

    def action(self, body: Skeleton) -> SignedPermutation:
        """Things swap, and the numbers of each act as they do by themselves."""
        # T = P x S for `items`, S x P for `entries`: what changes slowest along the axis is the first factor.
        swap, inside = self.swapped(body), joined_action(self.each, body)
        if self.major == "items":
            return swap.kronecker(inside)
        return inside.kronecker(swap)

    def labels(self, body: Skeleton) -> list[str]:
        """`contact.left_foot.force.y`: the name of the block, the thing, the number."""
        numbers = joined_labels(self.each, body)
        by_item = []
        for item in self.items:
            by_item.append([self._label(item, number) for number in numbers])
        table = np.array(by_item, dtype=object)  # "thing number"
        ordered = table if self.major == "items" else table.T
        return list(map(str, ordered.reshape(-1)))

    def unit_groups(self, body: Skeleton) -> list[int]:
        """The same number of all things has one unit."""
        return list(map(int, self._of_all(joined_unit_groups(self.each, body))))

    def centers(self, body: Skeleton) -> list[float]:
        """Those of the numbers of each thing."""
        return list(map(float, self._of_all(joined_centers(self.each, body))))

    def _of_all(self, numbers: Sequence[float]) -> npt.NDArray[Any]:
        """What each thing has, in the order of the entries."""
        return np.tile(numbers, len(self.items)) if self.major == "items" else np.repeat(numbers, len(self.items))

    def _label(self, item: str, number: str) -> str:
        """Numbers in brackets follow without a dot."""
        if number.startswith("["):
            return dotted(self.name, item) + number
        return dotted(self.name, item, number)

    def to_dict(self) -> dict[str, object]:
        """`{feet: [FL, FR], kind: vector, name: NAME}`, or with `each`."""
        keys: dict[str, object] = {self.things: list(self.items), **self._each_as_keys()}
        if self.swap is not None:
            keys["swap"] = [[self.items[i], self.items[j]] for i, j in self.swap]
        if self.major != "items":
            keys["major"] = self.major
        if self.name:
            keys["name"] = self.name
        return keys

    def _each_as_keys(self) -> dict[str, object]:
        """`kind: vector` where each has one quantity without a name, else `each: [...]`."""
        # The short form has no place for a name of the quantity, nor for several of them.
        (first, *others) = self.each
        if others or first.name or not isinstance(first, Measured):
            return {"each": [block.to_dict() for block in self.each]}
        return first.quantity.to_dict() | first.reflect_as_keys()

    def doubts(self, body: Skeleton) -> Iterator[str]:
        """Legs that the skeleton does not have; a clock for every leg that is shifted, though it is swapped."""
        sides = sides_of(body)
        if self.things == "legs" and 0 < len(sides) < len(self.items):
            yield (
                f"legs {', '.join(self.items)} are more than the skeleton has, whose joints are of "
                f"{' and '.join(sides)}: write {{legs: [{', '.join(sides)}], ...}}, or `items` where these are no legs"
            )
        for block in self.each:
            if not isinstance(block, Phase):
                yield from block.doubts(body)
            elif block.shift == "half":
                yield (
                    f"phase {block.name!r} of every one of {self.things} is shifted by half a period, though the "
                    f"mirror swaps them already: {{phase: {block.functions}, shift: none}}"
                )

    def lookalikes(self) -> Iterator[tuple[str, Field]]:
        """The same numbers grouped the other way, without any swap, and with one block of each taken for another."""
        name = self.name or self.things
        if (other := self.regrouped()) is not None:
            yield f"`major: {other.major}` in {name}", other
        if self.swap != ():
            yield f"{name} unswapped", replace(self, swap=())
        yield from self._with_a_swap(name)
        if not any(tells_side(item, self.items) for item in self.items):
            for words, pairs in regular_pairs(self.items):
                yield f"{words} in {name}", replace(self, swap=pairs)
        for words, others in other_fields(self.each):
            yield _of(name, words), replace(self, each=others)

    def _with_a_swap(self, name: str) -> Iterator[tuple[str, Field]]:
        """Any two that swap, where the file names no pairs, no name has a side, and the things are few."""
        # n things have n (n - 1) / 2 pairs, each a mirror that would be tried: 15 of 6.
        if len(self.items) > _FEW or self.swap or any(tells_side(item, self.items) for item in self.items):
            return
        for i, j in combinations(range(len(self.items)), 2):
            yield f"{self.items[i]} and {self.items[j]} swapped in {name}", replace(self, swap=((i, j),))

    def regrouped(self) -> Items | None:
        """The block with the other `major`; None where that is the same, of one thing or of one number each."""
        is_one_number = len(self.each) == 1 and isinstance(self.each[0], Measured) and self.each[0].kind == "scalar"
        if len(self.items) == 1 or is_one_number:
            return None
        (major,) = (major for major in MAJOR if major != self.major)
        return replace(self, major=major)


def _of(name: str, words: str) -> str:
    """What is said of a block of every thing; one without a name goes by theirs."""
    if words.startswith(("as ", "in the order ")):
        return f"{name} {words}"
    return f"{words} of {name}"


def _is_scalar(block: Field) -> bool:
    """Whether a block holds nothing but numbers that the mirror keeps, as distances and angles are."""
    if block.parts:
        return all(map(_is_scalar, block.parts))
    return block.kind == "scalar"
