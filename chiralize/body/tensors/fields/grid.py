"""Values on a grid about the body: height scans, images. The axis that points sideways is reversed.

`{grid: [2, 3], axes: [x, y]}` under y -> -y: points (i, j) at 3 i + j, and T takes (i, j) to (i, 2 - j), so that the
entries 0 1 2 | 3 4 5 become 2 1 0 | 5 4 3. The values themselves are kept, as heights and distances are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import prod

import numpy as np

from chiralize.body.skeleton.skeleton import AXES, Skeleton
from chiralize.body.tensors.fields.field import Field
from chiralize.symmetry.involution import SignedPermutation


@dataclass(frozen=True)
class Grid(Field):
    """Values on a grid, the last axis fastest.

    sizes: points along every axis.  axes: the body's axis that each runs along, or another word.
    flip: positions of the axes that are reversed, whatever they are called; None where `axes` tells it.
    The points have to lie evenly to both sides of the body's middle.
    """

    sizes: tuple[int, ...]
    axes: tuple[str, ...] = ()
    flip: tuple[int, ...] | None = None

    @property
    def kind(self) -> str:
        """`grid`."""
        return "grid"

    def size(self, body: Skeleton) -> int:
        """The number of points."""
        return prod(self.sizes)

    def action(self, body: Skeleton) -> SignedPermutation:
        """The order along the lateral axis is reversed; the values are kept."""
        flipped = self.flip
        if flipped is None:
            lateral = self.lateral(body)
            flipped = tuple(axis for axis, word in enumerate(self.axes) if word == lateral)
        factors = []
        for axis, size in enumerate(self.sizes):
            order = np.arange(size)
            partner = order[::-1] if axis in flipped else order
            factors.append(SignedPermutation(partner, np.ones(size, np.int64)))
        return factors[0].kronecker(*factors[1:])

    def labels(self, body: Skeleton) -> list[str]:
        """`heights[3,7]`: the position along every axis."""
        points = product(*map(range, self.sizes))
        return [f"{self.name}[{','.join(map(str, point))}]" for point in points]

    def to_dict(self) -> dict[str, object]:
        """`{grid: [17, 11], axes: [x, y], name: NAME}`."""
        keys: dict[str, object] = {"grid": list(self.sizes)}
        if self.axes:
            keys["axes"] = list(self.axes)
        if self.flip is not None:
            keys["flip"] = list(self.flip)
        return keys | {"name": self.name}

    def lookalikes(self) -> Iterator[tuple[str, Field]]:
        """The grid with another axis fastest, and the grid unmoved."""
        if len(self.sizes) == 2 and self.flip is None:
            turned = replace(self, sizes=self.sizes[::-1], axes=self.axes[::-1])
            yield f"{self.name} with its first axis fastest", turned
        if self.flip != ():
            yield f"{self.name} unmoved", replace(self, flip=())

    @property
    def runs_along_the_body(self) -> bool:
        """Whether some axis is one of the body's."""
        return any(word in AXES for word in self.axes)
