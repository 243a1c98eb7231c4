"""Poses of a specification that may be rotations: three numbers of a joint may be an axis times an angle.

The mirror keeps the part of such an axis that a position changes the sign of, and negates the two others. So a network
on rotations fits a mirror that treats them as positions no better than one that knows one side.

Example: x points sideways. A position (x, y, z) becomes (-x, y, z). A turn (a, b, c), in axis times angle, becomes
(a, -b, -c): nodding stays nodding, and turning to the left becomes turning to the right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from chiralize.body.tensors import ResolvedSpec
from chiralize.body.tensors.entries import BodyOverride, TensorEntry
from chiralize.body.tensors.fields.field import with_parts
from chiralize.body.tensors.fields.plain import Measured
from chiralize.body.tensors.fields.quantities import ROTATIONS, TURNED, Quantity
from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.errors.words import listed
from chiralize.verification.evidence.misread import Entries
from chiralize.verification.verdicts import Evidence

_Reading = tuple[ResolvedTensor, Quantity]
"""A tensor, and what its joints have if it is read otherwise."""
_NO_MEAN = (
    "{}: rotations. The mean of two is none, so what follows the flip average, as results here do, is to be made one "
    "before use: by SVD or Gram-Schmidt, a quaternion by its length"
)


def as_rotations(resolved: ResolvedSpec) -> Iterator[tuple[str, Entries]]:
    """All poses that may be rotations read as such, with what a file would say; then one after the other alone.

    Rotations are read in other orders, and an axis times an angle as a position.
    """
    readings = list[_Reading]()
    first = list[_Reading]()
    for tensor in (*resolved.input_tensors, *resolved.output_tensors):
        of_tensor = [(tensor, quantity) for quantity in _quantities(resolved, tensor)]
        readings += of_tensor
        first += of_tensor[:1]
    if len(first) > 1:
        yield _named(first)
    for reading in readings:
        yield _named([reading])


def _quantities(resolved: ResolvedSpec, tensor: ResolvedTensor) -> Sequence[Quantity]:
    """What the numbers of a joint may be instead; nothing where they are no coordinates of joints."""
    given, pose = tensor.entry.override, tensor.pose
    if pose is None or (given.skeleton or resolved.spec.skeleton).lateral is None or "d" not in pose.layout:
        return []
    if pose.body.has_joint_signs or pose.layout.has_matrices:
        return []
    # A pose: as rotations of as many numbers. An axis times an angle: as a position. Other rotations: in other orders.
    if given.quantity is None:
        return ROTATIONS.get(len(pose.body.dims), ())
    if given.quantity == ROTATIONS[3][0]:
        return [Quantity("vector")]
    return given.quantity.in_other_orders()


def _named(readings: Sequence[_Reading]) -> tuple[str, Entries]:
    """`kind: rotation, order: axis_angle` of input 0 and output 0, and the entries."""
    by_keys: dict[str, list[str]] = {}
    entries = dict[tuple[str, int], TensorEntry]()
    for tensor, quantity in readings:
        given = tensor.entry
        override = BodyOverride.of_quantity(given.override.skeleton, given.override.joints, quantity)
        by_keys.setdefault(str(quantity), []).append(tensor.where)
        entries[(tensor.io, tensor.index)] = replace(given, layout=tensor.layout, override=override, reflect=())
    words = [f"`{keys}` of {listed(where)}" for keys, where in by_keys.items()]
    return " and ".join(words), entries


def rotation_findings(resolved: ResolvedSpec) -> Evidence:
    """A note where answers are rotations: their mean over both views is to be made one."""
    turned = [tensor.where for tensor in resolved.output_tensors if _has_rotations(tensor)]
    if not turned:
        return Evidence()
    return Evidence(notes=(_NO_MEAN.format(listed(turned)),))


def _has_rotations(tensor: ResolvedTensor) -> bool:
    """Whether the specification calls numbers of the tensor, or of a block of it, a rotation."""
    quantity = tensor.entry.override.quantity
    if quantity is not None and quantity.kind in TURNED:
        return True
    blocks = with_parts(tensor.entry.fields or ())
    return any(isinstance(block, Measured) and block.kind in TURNED for block in blocks)
