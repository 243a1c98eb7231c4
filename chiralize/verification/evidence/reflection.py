"""A mirror reflects space: of the coordinates x, y and z it negates one, or all three.

To negate none, or two, is no reflection: joints change places on a body that stays as it is, or is turned.
"""

from __future__ import annotations

from collections.abc import Iterable

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import ResolvedSpec
from chiralize.errors.words import listed
from chiralize.verification.verdicts import Evidence

_SPACE = frozenset("xyz")


def is_no_reflection(dims: Iterable[str], negated: Iterable[str]) -> bool:
    """Whether points with these coordinates, all of space, are not reflected where some are negated."""
    return set(dims) >= _SPACE and len(_SPACE.intersection(negated)) % 2 == 0


def reflection_findings(resolved: ResolvedSpec) -> Evidence:
    """A warning where T of poses in x, y and z is no reflection."""
    tensors = (*resolved.input_tensors, *resolved.output_tensors)
    bodies: list[Skeleton] = [tensor.pose.body for tensor in tensors if tensor.pose is not None]
    wrong = [body for body in bodies if not body.has_joint_signs and is_no_reflection(body.dims, body.negate)]
    if not wrong:
        return Evidence()
    which = listed(sorted(_SPACE.intersection(wrong[0].negate))) or "none"
    text = (
        f"T negates {which} of x, y and z, which is no reflection of space: no body is mirrored like that. A skeleton "
        "negates the coordinate that points to the side"
    )
    return Evidence(warnings=(text,))
