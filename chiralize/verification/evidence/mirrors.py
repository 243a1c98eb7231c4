"""How one mirror stands beside another: what both do alike, and what one of them leaves alone.

`fitting` compares many mirrors with T, and asks here which are the same, and whether the fit of one is evidence at all.
A mirror that does to the inputs only a part of what T does (swaps the hips, and not the hands) leaves them nearer to
what the network knows. So it may fit better for that reason alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from chiralize.graph.mirror import NetworkMirror
from chiralize.symmetry.action import Center
from chiralize.symmetry.representation import TensorRepresentation

Key = tuple[object, ...]


def input_key(mirror: NetworkMirror) -> Key:
    """A key that is equal for mirrors with the same action on inputs."""
    return (mirror.inputs, *_center_key(mirror.input_centers))


def whole_key(mirror: NetworkMirror) -> Key:
    """A key that is equal for mirrors with the same action on inputs and outputs."""
    return (input_key(mirror), mirror.outputs, *_center_key(mirror.output_centers))


def _center_key(centers: Sequence[Center]) -> list[bytes | None]:
    """Centers as values that compare; empty where all are 0."""
    key = list[bytes | None]()
    for center in centers:
        key.append(None if center is None else center.tobytes())
    if any(part is not None for part in key):
        return key
    return []


def tells_something(other: NetworkMirror, mirror: NetworkMirror) -> bool:
    """Whether the fit of a mirror is evidence.

    It is none for a mirror that moves no input, nor for a part of T under which scores hardly change in any case.
    """
    return not all(rep.is_trivial for rep in other.inputs) and not undoes_a_part(other, mirror)


def undoes_a_part(other: NetworkMirror, mirror: NetworkMirror) -> bool:
    """Whether a mirror does to the inputs a part of what T does, and the same to outputs that hardly move.

    Scores that a mirror leaves alone change less the less the input is moved, whatever the true mirror is: that such a
    mirror fits better says nothing.
    """
    return all(map(_mostly_trivial, (*mirror.outputs, *other.outputs))) and moves_less(other, mirror)


def moves_less(other: NetworkMirror, mirror: NetworkMirror) -> bool:
    """Whether a mirror does to the inputs a part of what T does, and not all: they stay nearer to known ones."""
    return other.inputs != mirror.inputs and all(
        _is_part(one, whole) for one, whole in zip(other.inputs, mirror.inputs, strict=True)
    )


def inputs_beside(other: NetworkMirror, mirror: NetworkMirror) -> Literal["same", "less", "other"]:
    """What a mirror does to inputs, beside T."""
    if other.inputs == mirror.inputs and _center_key(other.input_centers) == _center_key(mirror.input_centers):
        return "same"
    return "less" if moves_less(other, mirror) else "other"


def swaps(mirror: NetworkMirror) -> bool:
    """Whether it exchanges any entries of the inputs."""
    return any(not axis.action.fixed.all() for tensor in mirror.inputs for axis in tensor.axes)


def _mostly_trivial(representation: TensorRepresentation) -> bool:
    """Whether T moves no more than half of the entries of every axis, and negates fewer than half."""
    for axis in representation.axes:
        moved = int((~axis.action.fixed).sum())
        negated = int((axis.action.sign < 0).sum())
        if moved > axis.size / 2 or (negated and negated >= axis.size / 2):
            return False
    return representation.sign > 0


def share_moved(representation: TensorRepresentation) -> float:
    """The share of the entries that T moves or negates."""
    if representation.sign < 0:
        return 1.0
    stay = 1.0
    for axis in representation.axes:
        stays = axis.action.fixed & (axis.action.sign > 0)
        stay *= float(stays.mean()) if axis.size else 1.0
    return 1.0 - stay


def _is_part(one: TensorRepresentation, whole: TensorRepresentation) -> bool:
    """Whether one action does to every entry what the other does, or nothing: in places, in signs, as a whole."""
    for axis, other in zip(one.axes, whole.axes, strict=True):
        if not (axis.action.fixed | (axis.action.partner == other.action.partner)).all():
            return False
        if not ((axis.action.sign > 0) | (axis.action.sign == other.action.sign)).all():
            return False
    return one.sign in (1, whole.sign)
