"""An input of many numbers that is declared `free`, beside a mirrored one: is it one that the mirror leaves alone?

The distances between joints, the angles of limbs and velocities belong to the body that the other input shows, and
change with it. A network is exactly equivariant under a mirror that forgets them, so that no proof tells.

Asked are inputs of many numbers, since a time or a noise level is of few. Not asked are masks, tables (the same in all
samples) and numbers of frames, of which none belongs to a side. `mirror_evidence` adds the warnings to its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch

from chiralize.body.tensors import ResolvedSpec
from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.errors.words import listed
from chiralize.graph.running import Call
from chiralize.problem.data.cutting import tensors
from chiralize.verification.verdicts import Evidence

ASKED = "is `free`: T leaves its"
"""In warnings that ask whether a free input belongs to sides."""
MOST = 8
"""Free numbers of a sample that raise no question: times, noise levels, sizes."""
_FEW_KINDS, _SEEN = range(3, 129), 4
"""How many words or classes there mostly are, and how often each is seen in the mean; of a thousand steps, fewer."""
_OF_KINDS = (
    "{} is `free`, and holds {} different whole numbers: where these are of words or classes that name a side (LEFT, "
    "RIGHT), the mirror is wrong. Sides that swap can be said of one-hot vectors alone: an input with "
    "`classes: {{swap: [[A, B]]}}`"
)

_IS_FREE = (
    "; {} {} declared `free`, so that T leaves the numbers as they are: where they name a side (a hand, a turn), say "
    "first how the mirror changes them, such as `classes: {{swap: [[0, 1]]}}` or `fields: [{{signs: [-1]}}]`"
)


def free_findings(resolved: ResolvedSpec, example: Call, inputs: Sequence[Call] = ()) -> Evidence:
    """A warning for every free input of more than a handful of numbers a sample, beside a mirrored input, and a note on
    those that hold numbers of words or classes.

    example: gives the kinds of numbers.  inputs: of the user; an input that is the same in all of their samples is a
    table, and raises no question. Nor do masks, nor numbers of frames.
    """
    moved = [tensor for tensor in resolved.input_tensors if not (tensor.is_free or tensor.kind == "state")]
    if not moved or resolved.is_trivial:
        return Evidence()
    frames = _frames(moved)
    calls = inputs or (example,)
    warnings, notes = list[str](), list[str]()
    for tensor in resolved.input_tensors:
        if tensor.kind != "free" or not tensor.has_rows:
            continue
        rows = [tensors(call)[tensor.index] for call in calls]
        if inputs and (kinds := _count_kinds(rows)):
            notes.append(_OF_KINDS.format(tensor.where, kinds))
        if frames.issuperset(tensor.shape[1:]):
            continue  # one number a frame, such as a time
        if prod(tensor.shape[1:]) <= MOST or not rows[0].is_floating_point() or _is_mask(rows):
            continue
        if not inputs:
            warnings.append(_question(tensor, ""))
        elif _varies(rows):
            warnings.append(_question(tensor, ", and differ from sample to sample as the mirrored inputs do"))
    return Evidence(warnings=tuple(warnings), notes=tuple(notes))


def free_in_words(resolved: ResolvedSpec, inputs: Sequence[Call]) -> str:
    """`; input 1 is declared `free`, ...`: what a wide gap may come from as well; "" where no free input differs from
    sample to sample.  inputs: of the user.
    """
    free = list[str]()
    for tensor in resolved.input_tensors:
        if tensor.kind == "free" and tensor.has_rows:
            rows = [tensors(call)[tensor.index] for call in inputs]
            if rows and rows[0].is_floating_point() and _varies(rows):
                free.append(tensor.where)
    return _IS_FREE.format(listed(free), "are" if len(free) > 1 else "is") if free else ""


def _frames(moved: Sequence[ResolvedTensor]) -> set[int]:
    """How many frames the mirrored inputs have, without counts that are those of joints, coordinates or fields too.

    Of 17 frames of 17 joints, 17 numbers may be one for every joint.
    """
    frames, others = set[int](), set[int]()
    for tensor in moved:
        of_frames = {axis for _, axis in tensor.free_axes if axis}
        frames |= {tensor.shape[axis] for axis in of_frames}
        others |= {size for axis, size in enumerate(tensor.shape) if axis and axis not in of_frames}
    return frames - others


def _question(tensor: ResolvedTensor, how: str) -> str:
    """The warning. how: how the numbers behave in the user's samples, in words; "" without any."""
    count = prod(tensor.shape[1:])
    return (
        f"{tensor.where} {ASKED} {count} numbers a sample as they are, beside inputs that it "
        f"mirrors{how}. Where they belong to joints or to sides (distances, angles, velocities), the mirror is wrong: "
        "list them as `fields`, `{items: [...], swap: [[A, B], ...]}`. Where they do not, as of a style or a text "
        f"without sides, `fields: [{{scalar: {tensor.shape[-1]}}}]` says so"
    )


def _count_kinds(rows: Sequence[torch.Tensor]) -> int:
    """How many different whole numbers there are, where these may be of words or classes; 0 elsewhere."""
    if rows[0].dtype == torch.bool or rows[0].is_floating_point() or rows[0].is_complex():
        return 0
    numbers = torch.cat([row.flatten() for row in rows])
    count = len(numbers.unique())
    return count if count in _FEW_KINDS and _SEEN * count <= len(numbers) else 0


def _is_mask(rows: Sequence[torch.Tensor]) -> bool:
    """Whether all numbers are 0 or 1."""
    return all(bool(((row == 0) | (row == 1)).all()) for row in rows)


def _varies(rows: Sequence[torch.Tensor]) -> bool:
    """Whether two samples differ.  rows: "sample ..."."""
    first = rows[0][:1]
    return any(bool((row != first).any()) for row in rows)
