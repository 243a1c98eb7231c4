"""What to check of inputs, in the words of the field: poses have joints and units, pictures have colours.

Remarks and remedies of `foreign` are worded with it, and `units` asks nothing of pictures (decision 0094).
"""

from __future__ import annotations

from chiralize.body.tensors import ResolvedSpec
from chiralize.problem.data.warping import pictures_of

_POSES = "joint order", "axes", "units"
_PICTURES = "axes", "order of colours", "range of colours"


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
