"""The box around a body in a picture, by its corners or by its centre.

A box by its edges at x1 = 100 and x2 = 180 in a picture that is mirrored at 320 has them at 640 - 180 = 460 and
640 - 100 = 540: x1' = 2 c - x2 and x2' = 2 c - x1, so the edges swap, and each is negated about c.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.fields.field import Field, dotted
from chiralize.errors import SpecError
from chiralize.symmetry.involution import SignedPermutation

ORDERS: Mapping[str, tuple[str, ...]] = {
    "xyxy": ("x1", "y1", "x2", "y2"),
    "yxyx": ("y1", "x1", "y2", "x2"),
    "xxyy": ("x1", "x2", "y1", "y2"),
    "cxcywh": ("cx", "cy", "w", "h"),
    "cxcyah": ("cx", "cy", "a", "h"),
}
"""The numbers of a box in each order: edges, or the centre with a width or an aspect ratio, and a height."""
BY_CORNER = ("xywh", "ltwh", "tlwh")
"""Orders whose mirror image is no exchange of numbers: the mirrored left edge is W - x - w."""
_EDGES = {"1": "2", "2": "1"}


@dataclass(frozen=True)
class Box(Field):
    """A box.  order: a key of `ORDERS`.

    The mirror of x exchanges the two edges along it, and negates both. Without `reflect` coordinates count from the
    mirror, as offsets do.
    """

    order: str

    @property
    def kind(self) -> str:
        """`box`."""
        return "box"

    def size(self, body: Skeleton) -> int:
        """Four."""
        return len(ORDERS[self.order])

    def action(self, body: Skeleton) -> SignedPermutation:
        """Edges along the lateral axis are exchanged and negated, or the centre's number is negated."""
        lateral, numbers = self.lateral(body), ORDERS[self.order]
        if lateral not in ("x", "y"):
            facts = f"field {self.name!r} is a box, which has no axis {lateral}"
            raise SpecError(self.where or f"field {self.name!r}", facts, "say the picture's `lateral: x`")
        partner, signs = list(range(len(numbers))), [1] * len(numbers)
        for at, number in enumerate(numbers):
            # x1, x2 and cx are counted along x; of these, edges have the other edge as their partner.
            if number.strip("c12") == lateral:
                partner[at] = numbers.index(number[:-1] + _EDGES[number[-1]]) if number[-1] in _EDGES else at
                signs[at] = -1
        return SignedPermutation(np.array(partner), np.array(signs))

    def coordinates(self, body: Skeleton) -> list[str]:
        """The axis that an edge, or the centre, is counted along."""
        names = list[str]()
        for number in ORDERS[self.order]:
            axis = number.strip("c12")
            names.append(axis if axis in ("x", "y") else "")
        return names

    def labels(self, body: Skeleton) -> list[str]:
        """`box.x1`, `box.y1`, ..."""
        return [dotted(self.name, number) for number in ORDERS[self.order]]

    def lookalikes(self) -> Iterator[tuple[str, Field]]:
        """The same numbers in another order."""
        for other in ORDERS:
            if other != self.order:
                yield f"{self.name} in the order {other}", replace(self, order=other)

    def to_dict(self) -> dict[str, object]:
        """`{box: xyxy, name: NAME}`."""
        return {"box": self.order, "name": self.name, **self.reflect_as_keys()}
