"""One number, or the skeleton's coordinates, for every joint of the skeleton or for some of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.fields.field import Field
from chiralize.symmetry.involution import SignedPermutation


@dataclass(frozen=True)
class Joints(Field):
    """The joints of the body.  chosen: some of them, or another order; None for all.

    is_plain: one number a joint that swaps and keeps its sign, such as a gain or a standard deviation.
    """

    chosen: tuple[str, ...] | None = None
    is_plain: bool = False

    @property
    def kind(self) -> str:
        """`joints`."""
        return "joints"

    def body_of(self, body: Skeleton) -> Skeleton:
        """The body with the chosen joints."""
        if self.chosen is None:
            return body
        return body.with_joints(self.chosen, self.where)

    def size(self, body: Skeleton) -> int:
        """Joints times coordinates."""
        count = len(body.joints if self.chosen is None else self.chosen)
        if self.is_plain:
            return count
        return count * len(body.dims)

    def action(self, body: Skeleton) -> SignedPermutation:
        """Joints swap, with the signs of the skeleton unless they are plain numbers."""
        chosen = self.body_of(body)
        if self.is_plain:
            return chosen.joint_action()
        return chosen.merged_action()

    def labels(self, body: Skeleton) -> list[str]:
        """`q.left_knee`, or `pose.left_knee.x` where joints have several coordinates."""
        joints = self.body_of(body).joints
        if self.is_plain or len(body.dims) == 1:
            return [f"{self.name}.{joint}" for joint in joints]
        return [f"{self.name}.{joint}.{dim}" for joint in joints for dim in body.dims]

    def lookalikes(self) -> Iterator[tuple[str, Field]]:
        """Numbers with the signs of the joints taken for numbers without, and the other way round.

        Of another size where joints have several coordinates.
        """
        words = "with the signs of the joints" if self.is_plain else "without signs (kind: scalar)"
        yield f"{self.name} {words}", replace(self, is_plain=not self.is_plain)

    def to_dict(self) -> dict[str, object]:
        """`{joints: NAME, of: [...], kind: scalar}`."""
        keys: dict[str, object] = {"joints": self.name}
        if self.chosen is not None:
            keys["of"] = list(self.chosen)
        if self.is_plain:
            keys["kind"] = "scalar"
        return keys
