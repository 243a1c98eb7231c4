"""A mirror reflects space: of the coordinates x, y and z it negates one, or all three.

To negate none, or two, is no reflection: joints change places on a body that stays as it is, or is turned. By the sign
of the determinant: diag(-1, 1, 1) has -1, and diag(-1, -1, 1) has 1, which is half a turn about z.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chiralize.body.skeleton.lint import unmirrored_space
from chiralize.body.tensors import ResolvedSpec
from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.errors.words import listed
from chiralize.verification.verdicts import Evidence

_SPACE = frozenset("xyz")
_WRONG = "no body is mirrored like that. A skeleton negates the coordinate that points to the side"
_OR_TURNS = (
    "; if these are no positions but axes times angles, write kind: rotation, order: axis_angle in place of signs"
)


def is_no_reflection(dims: Iterable[str], negated: Iterable[str]) -> bool:
    """Whether points with these coordinates, all of space, are not reflected where some are negated."""
    return set(dims) >= _SPACE and len(_SPACE.intersection(negated)) % 2 == 0


def reflection_findings(resolved: ResolvedSpec) -> Evidence:
    """A warning where T of poses in x, y and z is no reflection; a note of outputs beside one that is reflected.

    A note, too, on poses in a plane of which nothing is negated.

    Errors of each coordinate stand beside the pose that they are of, and no sign of theirs changes.
    """
    warnings, notes = list[str](), list[str]()
    is_reflected = any(not _is_wrong(tensor) for tensor in _in_space(resolved.output_tensors))
    for tensor in (*_in_space(resolved.input_tensors), *_in_space(resolved.output_tensors)):
        if not _is_wrong(tensor):
            continue
        assert tensor.pose is not None
        negated = sorted(_SPACE.intersection(tensor.pose.body.negate))
        which = listed(negated) or "none"
        text = f"T negates {which} of x, y and z in {tensor.where}, which is no reflection of space"
        if tensor.io == "output" and is_reflected:  # another output is a pose in space, so that this one may be sizes
            notes.append(f"{text}: right for sizes, such as absolute errors by coordinate, and wrong for a pose")
        else:
            warnings.append(f"{text}: {_WRONG}{_OR_TURNS if len(negated) == 2 else ''}")
    doubts = _unmirrored((*resolved.input_tensors, *resolved.output_tensors))
    in_the_plane = (_in_one_line(doubts),) if doubts else ()
    return Evidence(warnings=tuple(warnings[:1]), notes=(*notes[:1], *in_the_plane))


def _unmirrored(tensors: Iterable[ResolvedTensor]) -> dict[str, str]:
    """Doubts of `skeleton lint` about poses in a plane of which no coordinate is negated, by the tensor.

    They are no warnings: the plane may lie along the body, as of a walker that is seen from the side.
    """
    doubts: dict[str, str] = {}
    for tensor in tensors:
        if tensor.pose is not None and "d" in tensor.pose.layout and not set(tensor.pose.body.dims) >= _SPACE:
            doubt = unmirrored_space(tensor.pose.body)
            if doubt:
                doubts[tensor.where] = doubt
    return doubts


def _in_one_line(doubts: Mapping[str, str]) -> str:
    """The first doubt, how many there are, and what shows them."""
    where, doubt = next(iter(doubts.items()))
    count, them = ("one doubt", "it") if len(doubts) == 1 else (f"{len(doubts)} doubts", "them")
    return f"{count} about signs of the specification, in {where}: {doubt}; `chiralize skeleton lint` shows {them}"


def _in_space(tensors: Iterable[ResolvedTensor]) -> list[ResolvedTensor]:
    """Poses in x, y and z without signs of single joints."""
    poses = list[ResolvedTensor]()
    for tensor in tensors:
        if tensor.pose is not None and not tensor.pose.body.has_joint_signs and set(tensor.pose.body.dims) >= _SPACE:
            poses.append(tensor)
    return poses


def _is_wrong(tensor: ResolvedTensor) -> bool:
    """Whether T of a pose is no reflection of space."""
    return tensor.pose is not None and is_no_reflection(tensor.pose.body.dims, tensor.pose.body.negate)
