"""Entries of an output of which nothing is claimed: a handed arm beside legs that the mirror exchanges.

`claims` takes such blocks out before anybody asks for T, or puts numbers of their size in their place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.fields.field import Field
from chiralize.errors import SpecError
from chiralize.symmetry.involution import SignedPermutation


@dataclass(frozen=True)
class Unclaimed(Field):
    """Entries that the mirror says nothing of.  entries: their names, where the file gives them.

    T has no action on them, and asking for one is an error: whoever works with T has to leave them out first.
    """

    count: int
    entries: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """`unclaimed`."""
        return "unclaimed"

    def size(self, body: Skeleton) -> int:
        """How many entries there are."""
        return self.count

    def action(self, body: Skeleton) -> SignedPermutation:
        """Raises SpecError."""
        self._refuse()

    def labels(self, body: Skeleton) -> list[str]:
        """Raises SpecError."""
        self._refuse()

    def to_dict(self) -> dict[str, object]:
        """`{unclaimed: 7, name: arm}`."""
        return {"unclaimed": list(self.entries) or self.count, "name": self.name}

    def _refuse(self) -> NoReturn:
        facts = f"nothing is claimed of {self.name!r}, so that there is no mirror of it"
        remedy = "leave it out here: this takes networks that are equivariant in all outputs"
        raise SpecError(self.where or f"field {self.name!r}", facts, remedy)
