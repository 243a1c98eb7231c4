"""Blocks whose entries stay where they are: quantities of the base, numbers that are kept, numbers with given signs.

    {vector: velocity}          vx vy vz -> vx -vy vz     under y -> -y: a polar vector
    {axial: gyro}               wx wy wz -> -wx wy -wz    a pseudo-vector
    {scalar: 2, name: gains}    kept
    {signs: [1, -1]}            as given

Numbers that are said to be kept are often something else: as many as the body has joints, or three called `velocity`.
Each block says what speaks against it (`doubts`), mostly by its name (`plain_doubts`). It also says what else it may
be (`lookalikes`): the search for a better mirror tries those on the network (`verification/evidence`).

All three answer the same questions (`field.Field`): how many numbers, how T acts on them, their labels, their words in
a file. T of each is diagonal: a sign per number, and no two numbers change places.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from chiralize.body.skeleton.skeleton import AXES, Skeleton
from chiralize.body.tensors.fields.field import Field, dotted, other_signs
from chiralize.body.tensors.fields.plain_doubts import (
    LIMBS,
    of_clocks,
    of_commands,
    of_kinds,
    of_vectors,
    one_for_each,
    sided_entries,
    sideways,
)
from chiralize.body.tensors.fields.quantities import WITH_DIMS, Quantity
from chiralize.errors.words import when
from chiralize.symmetry.involution import SignedPermutation

MOST_SCALARS = 12
"""Blocks of more numbers are not tried with every other sign."""
SWAPS = "if the mirror swaps them: {items: [left, right], kind: scalar, name: ...}, or feet, bodies, sites"
"""What to do about numbers that look like left and right."""
_FEWEST_JOINTS = 4
"""Numbers that are as many as the joints of a smaller body may be anything."""


@dataclass(frozen=True)
class Measured(Field):
    """One quantity of the base, or of whatever the block is part of: a vector, a wrench, a rotation, ...

    Signs follow from the axes of each number. With y lateral, a polar vector gets (1, -1, 1), an axial one (-1, 1, -1).
    """

    quantity: Quantity

    @property
    def kind(self) -> str:
        """The kind of its quantity."""
        return self.quantity.kind

    def size(self, body: Skeleton) -> int:
        """How many numbers the quantity has."""
        return len(self.quantity.components())

    def action(self, body: Skeleton) -> SignedPermutation:
        """Signs by the axes that every number is made of. Raises as `lateral` where signs need an axis nobody gave."""
        if self.kind == "scalar":
            return SignedPermutation.identity(1)  # also where the body has no lateral axis
        signs = self.quantity.signs(self.lateral(body))
        return SignedPermutation(np.arange(len(signs)), np.array(signs))

    def labels(self, body: Skeleton) -> list[str]:
        """`gravity.x`, `contact.force.x`, `base[x,y]`."""
        labels = []
        for component in self.quantity.components():
            is_numbered = component.label.startswith("[")  # entries of a matrix follow without a dot
            labels.append(self.name + component.label if is_numbered else dotted(self.name, component.label))
        return labels

    def coordinates(self, body: Skeleton) -> list[str]:
        """The axes of a vector."""
        if self.kind == "vector":
            return list(self.quantity.dims)
        return super().coordinates(body)

    def to_dict(self) -> dict[str, object]:
        """`{vector: NAME}`, or `{quaternion: wxyz, name: NAME}`."""
        # A vector is named by its key, `{vector: velocity}`; the key of others has the order of their numbers.
        if self.kind not in WITH_DIMS:
            return {self.kind: self.quantity.order, "name": self.name}
        keys: dict[str, object] = {self.kind: self.name}
        if self.quantity.dims != AXES:
            keys["dims"] = list(self.quantity.dims)
        return keys | self.reflect_as_keys()

    def lookalikes(self) -> Iterator[tuple[str, Field]]:
        """The other kind of vector; another order of the same numbers."""
        if self.kind == "vector":
            yield f"{self.name} as an axial vector".strip(), self._with(replace(self.quantity, kind="axial"))
        elif self.kind == "axial":
            yield f"{self.name} as a polar vector".strip(), self._with(replace(self.quantity, kind="vector"))
        else:
            for other in self.quantity.in_other_orders():
                yield f"{self.name} in the order {other.order}".strip(), self._with(other)

    def rare_lookalikes(self, body: Skeleton) -> Iterator[tuple[str, Field]]:
        """A vector with one other sign: three numbers that are none, as (vx, vy, yaw rate)."""
        if self.kind not in WITH_DIMS or self.reflect:
            return  # a wrench has six; numbers with a centre are coordinates
        labels = tuple(component.label for component in self.quantity.components())
        signs = self.quantity.signs(self.lateral(body))
        for words, others in other_signs(self.labels(body), signs):
            yield words, Signs(self.name, others, labels, where=self.where)

    def doubts(self, body: Skeleton) -> Iterator[str]:
        """A rotation written as a polar vector, or the other way round, as far as its name tells."""
        yield from of_kinds(self.kind, self.name)

    def _with(self, quantity: Quantity) -> Field:
        """The block with another quantity of the same name."""
        return replace(self, quantity=quantity)


@dataclass(frozen=True)
class Scalar(Field):
    """Numbers that the mirror keeps.  entries: their names, where the file gives them."""

    count: int
    entries: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """`scalar`."""
        return "scalar"

    def size(self, body: Skeleton) -> int:
        """How many numbers there are."""
        return self.count

    def action(self, body: Skeleton) -> SignedPermutation:
        """Nothing moves."""
        return SignedPermutation.identity(self.count)

    def labels(self, body: Skeleton) -> list[str]:
        """The names of the entries, else numbers."""
        return _labels(self.name, self.entries, self.count)

    def to_dict(self) -> dict[str, object]:
        """`{scalar: 3, name: NAME}`."""
        return {"scalar": list(self.entries) or self.count, "name": self.name}

    def unit_groups(self, body: Skeleton) -> list[int]:
        """Numbers with names are quantities of their own, (0, 1, 2); those without are one quantity, (0, 0, 0)."""
        return list(range(self.count)) if self.entries else [0] * self.count

    def lookalikes(self) -> Iterator[tuple[str, Field]]:
        """The same with one number negated."""
        yield from other_signs_of(self)

    def is_one_for_each_joint(self, body: Skeleton) -> bool:
        """Whether there are as many as the body has joints: angles, torques and actions of joints swap."""
        return not self.entries and self.count == len(body.joints) >= _FEWEST_JOINTS and bool(body.pairs)

    def has_some_for_each_joint(self, body: Skeleton) -> bool:
        """Whether there are several for each joint, as many as its coordinates or fewer: those swap."""
        # 17 joints with x, y, z: 34 or 51 numbers are two or three for each.
        joints = len(body.joints)
        counts = [each * joints for each in range(2, len(body.dims) + 1)]
        return not self.entries and joints >= _FEWEST_JOINTS and bool(body.pairs) and self.count in counts

    def doubts(self, body: Skeleton) -> Iterator[str]:
        """Numbers that are kept, though their names speak of left and right, or of limbs that come in pairs."""
        yield from sided_entries(self.name, self.entries, "kept")
        yield from sideways(self.entries, body)
        # What follows goes by the count, which says nothing where every entry has a name of its own. An odd number
        # of limbs is not made of pairs.
        if not self.entries and self.count % 2 == 0 and LIMBS.search(self.name.lower()):
            yield (
                f"scalar {self.name!r} keeps {self.count} entries where they are; "
                "entries of left and right limbs swap under the mirror"
            )
        # One a joint and several a joint exclude each other; what to write in their place differs.
        if self.is_one_for_each_joint(body):
            yield (
                f"scalar {self.name!r} keeps {self.count} entries where they are, as many as the body has joints; "
                f"where there is one number for each joint, write {one_for_each(self.name, body)}"
            )
        if self.has_some_for_each_joint(body):
            each = self.count // len(body.joints)
            dims = when(each < len(body.dims), f", dims: [{', '.join(body.dims[:each])}]")
            yield (
                f"scalar {self.name!r} keeps {self.count} entries where they are, {each} for each joint of the body; "
                f"where they are coordinates or velocities of joints, write {{joints: {self.name or 'NAME'}{dims}}}"
            )
        if not self.entries:
            yield from of_vectors(self.name, self.count)
            yield from of_commands(self.name, (1,) * self.count)
            yield from of_clocks(self.name, (1,) * self.count, body)


@dataclass(frozen=True)
class Signs(Field):
    """Numbers with given signs.  entries: their names, where the file gives them."""

    signs: tuple[int, ...]
    entries: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """`signs`."""
        return "signs"

    def size(self, body: Skeleton) -> int:
        """How many numbers there are."""
        return len(self.signs)

    def action(self, body: Skeleton) -> SignedPermutation:
        """The signs as given."""
        return SignedPermutation(np.arange(len(self.signs)), np.array(self.signs))

    def labels(self, body: Skeleton) -> list[str]:
        """The names of the entries, else numbers."""
        return _labels(self.name, self.entries, len(self.signs))

    def to_dict(self) -> dict[str, object]:
        """`{signs: [1, -1], name: NAME}`, or a map from names to signs."""
        if self.entries:
            return {"signs": dict(zip(self.entries, self.signs, strict=True)), "name": self.name}
        return {"signs": list(self.signs), "name": self.name}

    def unit_groups(self, body: Skeleton) -> list[int]:
        """Numbers with signs of their own are quantities of their own."""
        return list(range(len(self.signs)))

    def lookalikes(self) -> Iterator[tuple[str, Field]]:
        """The same with one other sign."""
        yield from other_signs_of(self)

    def doubts(self, body: Skeleton) -> Iterator[str]:
        """Entries that stay where they are, though their names speak of left and right."""
        # No `sideways` and no `of_vectors`, which ask why a number is not negated: here every sign was written down.
        yield from sided_entries(self.name, self.entries, "not swapped")
        if not self.entries:
            yield from of_commands(self.name, self.signs)
            yield from of_clocks(self.name, self.signs, body)


def _labels(name: str, entries: tuple[str, ...], size: int) -> list[str]:
    """`gains.kp` of entries with names, `gains[0]` of several without, `height` of one."""
    if entries:
        return [dotted(name, entry) for entry in entries]
    if size == 1:
        return [name]
    return [f"{name}[{index}]" for index in range(size)]


def other_signs_of(block: Scalar | Signs) -> Iterator[tuple[str, Signs]]:
    """Numbers that are kept, or have signs, with other signs, and words for it: all of them, then each.

    All turn together where all are kept or all negated, as one quantity in many bands; each only where they are few.
    """
    signs = (1,) * block.count if isinstance(block, Scalar) else block.signs  # a scalar is signs that are all 1
    # Of one number, "all" is the same as "each", which comes below.
    if len(signs) > 1 and len(set(signs)) == 1:
        words = f"the other sign of all of {block.name or 'the numbers'}"
        yield words, Signs(block.name, tuple(-sign for sign in signs), block.entries, where=block.where)
    if len(signs) > MOST_SCALARS:
        return  # each is a mirror that would be tried
    for words, others in other_signs(_labels(block.name, block.entries, len(signs)), signs):
        yield words, Signs(block.name, others, block.entries, where=block.where)
