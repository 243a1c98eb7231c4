"""What to check of inputs, in the words of the field: poses have joints and units, pictures have colours."""

from __future__ import annotations

from chiralize.body.tensors import ResolvedSpec
from chiralize.problem.data.warping import pictures_of

_POSES = "joint order", "axes", "units"
_PICTURES = "axes", "order of colours", "range of colours"
_UNITS_OF_POSES = "metres or millimetres, pixels or shares of a picture, radians or degrees"
_UNITS_OF_PICTURES = "colours from 0 to 1 or from 0 to 255, less their mean and over their spread or as they are"


def are_pictures(resolved: ResolvedSpec) -> bool:
    """Whether all inputs that the mirror acts on are pictures, and there is one."""
    pictures = pictures_of(resolved)
    moved: set[int] = set()
    for tensor in resolved.input_tensors:
        if not tensor.is_free and tensor.kind != "state" and tensor.representation is not None:
            moved.add(tensor.index)
    return bool(pictures) and moved == pictures


def to_check(resolved: ResolvedSpec) -> tuple[str, ...]:
    """What may differ from the inputs in training."""
    return _PICTURES if are_pictures(resolved) else _POSES


def units_to_check(resolved: ResolvedSpec) -> str:
    """Units that are taken for each other."""
    return _UNITS_OF_PICTURES if are_pictures(resolved) else _UNITS_OF_POSES
