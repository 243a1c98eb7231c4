"""Several frames of the same blocks in one axis. The mirror acts on every frame alike.

Two frames of blocks a (2 numbers) and b (1): `major: frames` is a a b | a a b, T = 1_2 x (T_a + T_b); `major: terms` is
a a a a | b b, T = (1_2 x T_a) + (1_2 x T_b).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

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
from chiralize.symmetry.involution import SignedPermutation

ORDERS = ("oldest_first", "newest_first")
MAJOR = ("frames", "terms")


@dataclass(frozen=True)
class History(Field):
    """Frames of blocks.

    frames: how many.  of: the blocks of one frame.  order: of the frames, for the labels (`t-1` is the frame before
    the newest); empty where the file does not say.
    major: `frames`, all blocks of a frame together; `terms`, all frames of a block together.
    """

    frames: int
    of: tuple[Field, ...]
    order: str = ""
    major: str = "frames"

    @property
    def kind(self) -> str:
        """`history`."""
        return "history"

    @property
    def parts(self) -> tuple[Field, ...]:
        """The blocks of one frame."""
        return self.of

    def of_parts(self, parts: tuple[Field, ...]) -> Field:
        """As many frames of other blocks."""
        return replace(self, of=parts)

    def size(self, body: Skeleton) -> int:
        """Frames times the entries of one."""
        return self.frames * sum(block.size(body) for block in self.of)

    def action(self, body: Skeleton) -> SignedPermutation:
        """The same in every frame, which stays where it is."""
        still = SignedPermutation.identity(self.frames)
        if self.major == "frames":
            return still.kronecker(joined_action(self.of, body))
        first, *others = [still.kronecker(block.action(body)) for block in self.of]
        return first.direct_sum(*others)

    def labels(self, body: Skeleton) -> list[str]:
        """`t-2.q.left_knee`, or by numbers, `frame0.q.left_knee`."""
        # By terms: all frames of one block are listed before those of the next.
        groups = [self.of] if self.major == "frames" else [(block,) for block in self.of]
        labels = list[str]()
        for blocks in groups:
            inside = joined_labels(blocks, body)
            for frame in range(self.frames):
                labels += [dotted(self.name, self._frame(frame), label) for label in inside]
        return labels

    def unit_groups(self, body: Skeleton) -> list[int]:
        """The same entry has one unit in all frames."""
        if self.major == "frames":
            return joined_unit_groups(self.of, body) * self.frames
        # By terms it is one history after the other, each of a single block.
        repeated = [replace(self, of=(block,), major="frames") for block in self.of]
        return joined_unit_groups(repeated, body)

    def centers(self, body: Skeleton) -> list[float]:
        """The same in every frame."""
        if self.major == "frames":
            return joined_centers(self.of, body) * self.frames
        repeated = [replace(self, of=(block,), major="frames") for block in self.of]
        return joined_centers(repeated, body)

    def _frame(self, frame: int) -> str:
        """`t-0` is the newest frame, whichever comes first; `frame0` the first where the order is not said."""
        if not self.order:
            return f"frame{frame}"
        return f"t-{self.frames - 1 - frame if self.order == 'oldest_first' else frame}"

    def to_dict(self) -> dict[str, object]:
        """`{history: 5, order: oldest_first, of: [...]}`."""
        keys: dict[str, object] = {"history": self.frames}
        if self.order:
            keys["order"] = self.order
        if self.major != "frames":
            keys["major"] = self.major
        keys["of"] = [block.to_dict() for block in self.of]
        return keys | ({"name": self.name} if self.name else {})

    def lookalikes(self) -> Iterator[tuple[str, Field]]:
        """One block taken for another, and the other way to lay out frames."""
        if len(self.of) > 1:
            (other,) = (major for major in MAJOR if major != self.major)
            yield f"history with the {other} together", replace(self, major=other)
        for words, others in other_fields(self.of):
            yield words, replace(self, of=others)
