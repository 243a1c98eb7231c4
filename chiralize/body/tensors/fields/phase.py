"""The clock of a gait. The mirrored gait is the same half a period later, so its sine and cosine are both negated.

When the left foot lifts at phase p, the right one lifts at p + pi; in the mirror the two have changed places. With one
clock for every leg the clocks themselves swap, and each is not shifted (`shift: none`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.fields.field import Field, dotted
from chiralize.symmetry.involution import SignedPermutation

SHIFTS = ("half", "none")
PARTS = ("sin_cos", "cos_sin", "sin", "cos")
RAW = ("raw", "radians", "turns", "degrees", "phase")
"""Ways to write a phase itself: half a period later is an addition there, which no sign is."""


_GAIT = re.compile(r"gait|stride|clock|walk|step")


def is_gait(name: str) -> bool:
    """Whether a name speaks of the rhythm of a gait.

    >>> is_gait("gait_clock"), is_gait("jump")
    (True, False)
    """
    return _GAIT.search(name.lower()) is not None


@dataclass(frozen=True)
class Phase(Field):
    """Sine and cosine of a phase.  functions: in which order.  shift: `half` a period, or `none`."""

    functions: str
    shift: str

    @property
    def kind(self) -> str:
        """`phase`."""
        return "phase"

    def size(self, body: Skeleton) -> int:
        """One number for every function."""
        return len(self.functions.split("_"))

    def action(self, body: Skeleton) -> SignedPermutation:
        """sin(p + pi) = -sin p, and the same of the cosine."""
        size = self.size(body)
        return SignedPermutation(np.arange(size), np.full(size, -1 if self.shift == "half" else 1))

    def labels(self, body: Skeleton) -> list[str]:
        """`phase.sin`, `phase.cos`."""
        return [dotted(self.name, function) for function in self.functions.split("_")]

    def to_dict(self) -> dict[str, object]:
        """`{phase: sin_cos, shift: half, name: NAME}`."""
        return {"phase": self.functions, "shift": self.shift, "name": self.name}

    def doubts(self, body: Skeleton) -> Iterator[str]:
        """A gait's clock that is not shifted, since a gait that is mirrored is half a period later."""
        if self.shift == "none" and is_gait(self.name):
            yield (
                f"phase {self.name!r} is kept as it is; one clock for both sides is half a period later in the mirror "
                "(shift: half), and only a clock for every leg is not (legs: [left, right], each: ...)"
            )

    def lookalikes(self) -> Iterator[tuple[str, Field]]:
        """The other shift."""
        (other,) = (shift for shift in SHIFTS if shift != self.shift)
        yield f"{self.name} with the shift {other}", replace(self, shift=other)
