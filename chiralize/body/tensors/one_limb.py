"""Specifications of one limb: its mirror image is the other limb, of which nothing is read.

The policy of one leg reads three angles and a velocity. T mirrors the velocity and leaves the angles where they are, an
involution like any other; but a mirrored left leg is a right leg, whose angles this network never sees. `conversion`
lists the doubt.
"""

from __future__ import annotations

from collections.abc import Iterator

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.entries import TensorEntry
from chiralize.body.tensors.fields.joints import Joints
from chiralize.errors import ChiralizeError
from chiralize.symmetry.involution import SignedPermutation

_NAMED = 3


def doubts_of_one_limb(entries: tuple[TensorEntry, ...], body: Skeleton) -> Iterator[tuple[str, str]]:
    """Joints that all stay as they are, while vectors beside them are mirrored: (file and line, a sentence).

    Of a body with partners nothing is said: a neck or a spine has none, and a mirror all the same.
    """
    if body.pairs:
        return
    of_joints: list[tuple[Joints, SignedPermutation]] = []
    beside: list[SignedPermutation] = []
    try:
        for entry in entries:
            for block in entry.fields or ():
                action = block.action(entry.override.skeleton or body)
                if isinstance(block, Joints):
                    of_joints.append((block, action))
                else:
                    beside.append(action)
    except ChiralizeError:  # it says itself what is missing
        return
    if len(body.joints) < 2 or not of_joints:
        return
    # All joints stay, nothing beside them swaps, and yet something beside them is negated.
    are_still = all(action.is_identity for _, action in of_joints)
    swaps = any((action.partner != range(action.size)).any() for action in beside)
    if are_still and not swaps and not all(action.is_identity for action in beside):
        first = of_joints[0][0]
        names = ", ".join((first.chosen or body.joints)[:_NAMED])
        yield (
            first.where,
            f"no joint has a partner: T leaves {names} as they are, and mirrors what stands beside them alone. If they "
            "are joints of one leg or arm, its mirror image is the other one: a network of one limb has no mirror",
        )
