"""One block of a concatenated axis, such as a robot's observation: what every kind of block can be asked.

A kind of block is a frozen record with four methods: how many entries (`size`), T on them (`action`), their names
(`labels`), and the keys of a file (`to_dict`). The rest has defaults. T on an axis is the direct sum over its blocks
(`joined_action`). `lookalikes` and `doubts` serve the search for slips: another reading of the same numbers that the
network's answers may confirm, and a block that is formally right and probably not meant.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeVar

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.errors import MissingKeyError
from chiralize.symmetry.involution import SignedPermutation

Sign = TypeVar("Sign", int, int | None)


@dataclass(frozen=True)
class Field(ABC):
    """A block.  name: for messages and labels.  where: file and line, for messages; of equal blocks it may differ.

    reflect: (dim, centre): that coordinate of it is mirrored at the centre, x -> 2 c - x.
    A block knows no axis by heart: which one the mirror negates is the body's `lateral`.
    """

    name: str
    reflect: tuple[tuple[str, Fraction], ...] = field(default=(), kw_only=True)
    where: str = field(default="", compare=False, kw_only=True)

    @property
    @abstractmethod
    def kind(self) -> str:
        """The key that a file gives it by: `vector`, `bodies`, `history`, ..."""

    @abstractmethod
    def size(self, body: Skeleton) -> int:
        """How many entries of the axis it takes, counted without building anything."""

    @abstractmethod
    def action(self, body: Skeleton) -> SignedPermutation:
        """How the mirror acts on its entries. Raises SpecError where the body does not say enough."""

    @abstractmethod
    def labels(self, body: Skeleton) -> list[str]:
        """A name for every entry, such as `contact.left_foot.force.y`."""

    @abstractmethod
    def to_dict(self) -> dict[str, object]:
        """The block as a specification file writes it; reading it again gives an equal block."""

    @property
    def parts(self) -> tuple[Field, ...]:
        """The blocks that it is built of."""
        return ()

    def of_parts(self, parts: tuple[Field, ...]) -> Field:
        """The same block built of others, as many as `parts`; itself where it is built of none."""
        return self

    def unit_groups(self, body: Skeleton) -> list[int]:
        """A number for every entry, "entry", which those share that have one unit: their spread can be compared."""
        return [0] * self.size(body)

    def coordinates(self, body: Skeleton) -> list[str]:
        """The name of the coordinate that every entry is, "" where it is none."""
        return [""] * self.size(body)

    def centers(self, body: Skeleton) -> list[float]:
        """The number that every entry is mirrored at, 0 without `reflect`."""
        given = {dim: float(center) for dim, center in self.reflect}
        return [given.get(dim, 0.0) for dim in self.coordinates(body)]

    def reflect_as_keys(self) -> dict[str, object]:
        """`reflect` as a specification file writes it, where it is given."""
        if not self.reflect:
            return {}
        return {"reflect": {dim: str(center) for dim, center in self.reflect}}

    def lookalikes(self) -> Iterator[tuple[str, Field]]:
        """Blocks of the same size that it may be taken for, each with words for it."""
        yield from ()

    def rare_lookalikes(self, body: Skeleton) -> Iterator[tuple[str, Field]]:
        """More of them that are meant less often."""
        yield from ()

    def doubts(self, body: Skeleton) -> Iterator[str]:
        """What is formally right and probably not meant, one sentence each."""
        for part in self.parts:
            yield from part.doubts(body)

    def lateral(self, body: Skeleton) -> str:
        """The axis of the body that points sideways. Raises MissingKeyError where nothing says so."""
        if body.lateral is None:
            facts = f"field {self.name!r} is a {self.kind}, but no `lateral` axis is given"
            raise MissingKeyError(self.where or f"field {self.name!r}", facts, "add `lateral: y`")
        return body.lateral


def with_parts(fields: Iterable[Field]) -> Iterator[Field]:
    """All blocks, those within blocks too."""
    for block in fields:
        yield block
        yield from with_parts(block.parts)


def joined_action(fields: Sequence[Field], body: Skeleton) -> SignedPermutation:
    """How the mirror acts on blocks one after the other."""
    # No axis has no blocks: readers refuse an empty list.
    first, *others = [block.action(body) for block in fields]
    return first.direct_sum(*others)


def joined_labels(fields: Sequence[Field], body: Skeleton) -> list[str]:
    """The names of the entries of blocks one after the other."""
    labels = list[str]()
    for block in fields:
        labels += block.labels(body)
    return labels


def joined_centers(fields: Sequence[Field], body: Skeleton) -> list[float]:
    """The numbers that the entries of blocks one after the other are mirrored at."""
    centers = list[float]()
    for block in fields:
        centers += block.centers(body)
    return centers


def joined_unit_groups(fields: Sequence[Field], body: Skeleton) -> list[int]:
    """The units of the entries of blocks one after the other; no two blocks share one."""
    groups = list[int]()
    for block in fields:
        first = max(groups, default=-1) + 1  # behind all numbers of the blocks before it
        groups += [first + group for group in block.unit_groups(body)]
    return groups


def other_fields(fields: Sequence[Field]) -> Iterator[tuple[str, tuple[Field, ...]]]:
    """Blocks one after the other of which one is taken for another, with words for it."""
    for at, block in enumerate(fields):
        for words, other in block.lookalikes():
            yield words, (*fields[:at], other, *fields[at + 1 :])


def other_signs(names: Sequence[str], signs: Sequence[Sign]) -> Iterator[tuple[str, tuple[Sign, ...]]]:
    """For every sign that is not None, the signs with that one turned, and words for it."""
    for at, (name, sign) in enumerate(zip(names, signs, strict=True)):
        if sign is not None:
            yield f"the other sign of {name}", (*signs[:at], -sign, *signs[at + 1 :])


def dotted(*words: str) -> str:
    """The words that are not empty, joined by dots."""
    return ".".join(filter(None, words))
