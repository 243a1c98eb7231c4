"""Blocks of the inputs beside each other: one whose numbers are far larger than all others may be of another unit.

Example: joint angles reach 1.5, speeds 6, and a height in millimetres 900, which is 150 times the next: check its unit.
`wrong_mirror` says so where T is refuted and no other mirror fits. An input of its own that holds angles alone, such as
the yaw of a head in degrees beside landmarks in shares of a picture, is of its own unit, whatever else is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chiralize.body.tensors import ResolvedSpec
from chiralize.graph.running import Call
from chiralize.problem.data.cutting import tensors

_ANGLES = ("angle", "yaw", "pitch", "roll", "tilt", "heading", "azimuth", "elevation", "bearing", "torsion", "vergence")
_TURN = 360.0
"""Degrees beyond which no angle lies."""
_FAR_LARGER = 20.0
"""Times the largest number of all others: coordinates in metres, confidences and angles do not differ so much."""


def block_to_check(resolved: ResolvedSpec, calls: Sequence[Call]) -> str:
    """The first remedy where one block of numbers reaches far beyond all others, ending in `; then `; "" elsewhere."""
    reach: dict[str, float] = {}
    angles = set[str]()
    for name, reached, of_angles in _reached(resolved, calls):
        reach[name] = max(reached, reach.get(name, 0.0))
        if of_angles:
            angles.add(name)
    reach = {name: reached for name, reached in reach.items() if name not in angles or reached > _TURN}
    if len(reach) < 2:
        return ""
    largest = max(reach, key=reach.__getitem__)
    beyond = max(reached for name, reached in reach.items() if name != largest)
    if not reach[largest] > _FAR_LARGER * beyond > 0:
        return ""
    return f"check the unit of {largest} first, which reaches {reach[largest]:.3g}, and all else {beyond:.3g}; then "


def _reached(resolved: ResolvedSpec, calls: Sequence[Call]) -> Iterator[tuple[str, float, bool]]:
    """Every block of every input that is a number, or the whole input, the largest of its values, and whether it is
    one of an input that holds angles alone.
    """
    for call in calls:
        for tensor, values in zip(resolved.input_tensors, tensors(call), strict=False):
            if not values.is_floating_point() or not values.numel():
                continue
            if tensor.entry.fields is None or tensor.name_axis is None:
                yield tensor.where, float(values.abs().max()), False
                continue
            are_angles = len(resolved.input_tensors) > 1 and all(map(is_angle, tensor.names))
            body, start = tensor.entry.body(resolved.spec.skeleton), 0
            for block in tensor.entry.fields:
                size = block.size(body)
                part = values.narrow(tensor.name_axis, start, size)
                yield f"{block.name or block.kind} in {tensor.where}", float(part.abs().max()), are_angles
                start += size


def is_angle(name: str) -> bool:
    """Whether the last word of an entry's name is that of an angle: `head.yaw`, `left_eye_pitch`, `angle2`."""
    last = name.lower().replace("_", ".").rpartition(".")[2]
    return last.rstrip("0123456789") in _ANGLES
