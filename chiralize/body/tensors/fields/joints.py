"""One number, or the skeleton's coordinates, for every joint of the skeleton or for some of them.

Entries stand joint by joint: `{joints: pose}` of joints n, l, r with dims x, y is n.x, n.y, l.x, l.y, r.x, r.y. T is
the skeleton's `merged_action`. With `kind: scalar` it is n, l, r, and T swaps l and r without a sign.
"""

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
    dims: coordinates of each, None for those of the body; a name that the body has not is kept, as a confidence is.
    """

    chosen: tuple[str, ...] | None = None
    is_plain: bool = False
    dims: tuple[str, ...] | None = None

    @property
    def kind(self) -> str:
        """`joints`."""
        return "joints"

    def body_of(self, body: Skeleton) -> Skeleton:
        """The body with the chosen joints and coordinates. Raises SpecError where a joint comes without its partner."""
        if self.chosen is not None:
            body = body.with_joints(self.chosen, self.where)
        return body if self.dims is None else body.with_dims(self.dims)

    def size(self, body: Skeleton) -> int:
        """Joints times coordinates."""
        count = len(body.joints if self.chosen is None else self.chosen)
        if self.is_plain:
            return count
        return count * len(self._dims(body))

    def _dims(self, body: Skeleton) -> tuple[str, ...]:
        """The coordinates of each joint."""
        return body.dims if self.dims is None else self.dims

    def action(self, body: Skeleton) -> SignedPermutation:
        """Joints swap, with the signs of the skeleton unless they are plain numbers."""
        chosen = self.body_of(body)
        if self.is_plain:
            return chosen.joint_action()
        return chosen.merged_action()

    def labels(self, body: Skeleton) -> list[str]:
        """`q.left_knee`, or `pose.left_knee.x` where joints have several coordinates."""
        joints, dims = self.body_of(body).joints, self._dims(body)
        if self.is_plain or len(dims) == 1:
            return [f"{self.name}.{joint}" for joint in joints]
        return [f"{self.name}.{joint}.{dim}" for joint in joints for dim in dims]

    def coordinates(self, body: Skeleton) -> list[str]:
        """The skeleton's, of every joint; none of plain numbers."""
        if self.is_plain:
            return super().coordinates(body)
        count = len(body.joints if self.chosen is None else self.chosen)
        return list(self._dims(body)) * count

    def lookalikes(self) -> Iterator[tuple[str, Field]]:
        """Numbers with the signs of the joints taken for numbers without, and the other way round.

        Of another size where joints have several coordinates.
        """
        words = "with the signs of the joints" if self.is_plain else "without signs (kind: scalar)"
        yield f"{self.name} {words}", replace(self, is_plain=not self.is_plain, dims=None, reflect=())

    def to_dict(self) -> dict[str, object]:
        """`{joints: NAME, of: [...], dims: [x, y], kind: scalar}`."""
        keys: dict[str, object] = {"joints": self.name}
        if self.chosen is not None:
            keys["of"] = list(self.chosen)
        if self.dims is not None:
            keys["dims"] = list(self.dims)
        if self.is_plain:
            keys["kind"] = "scalar"
        return keys | self.reflect_as_keys()
