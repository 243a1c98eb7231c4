"""Specifications of one limb: its mirror image is the other limb, of which nothing is read."""

from __future__ import annotations

from collections.abc import Iterator

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.entries import TensorEntry
from chiralize.body.tensors.fields.joints import Joints
from chiralize.errors import ChiralizeError

_NAMED = 3


def doubts_of_one_limb(entries: tuple[TensorEntry, ...], body: Skeleton) -> Iterator[tuple[str, str]]:
    """Joints that all stay as they are, while vectors beside them are mirrored: (file and line, a sentence)."""
    blocks = [block for entry in entries for block in entry.fields or ()]
    of_joints = [block for block in blocks if isinstance(block, Joints)]
    if len(body.joints) < 2 or not of_joints:
        return
    try:
        actions = [block.action(body) for block in blocks]
        still = [block.action(body).is_identity for block in of_joints]
    except ChiralizeError:  # it says itself what is missing
        return
    swaps = any((action.partner != range(action.size)).any() for action in actions)
    if all(still) and not swaps and not all(action.is_identity for action in actions):
        names = ", ".join(body.joints[:_NAMED])
        yield (
            of_joints[0].where,
            f"no joint has a partner: T leaves {names} as they are, and mirrors what stands beside them alone. The "
            "mirror image of one leg or arm is the other one, so a network of one limb has no mirror",
        )
