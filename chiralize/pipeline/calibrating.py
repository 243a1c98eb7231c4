"""Calibration inputs: looked at before they are used, and put into batches of a useful size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils import _pytree as pytree

from chiralize.capture import capture
from chiralize.errors import DataFileError, ModelRunError, NonFiniteError
from chiralize.inputs import stacked
from chiralize.running import Call
from chiralize.subject import Subject

_FEW = 1e-6


def tensors(call: Call) -> list[torch.Tensor]:
    """The tensors of a call, in order."""
    return [leaf for leaf in pytree.tree_leaves(call) if isinstance(leaf, torch.Tensor)]


def leading(call: Call) -> torch.Tensor:
    """The first tensor of a call, whose leading axis is the batch."""
    return tensors(call)[0]


def check(calls: Sequence[Call]) -> None:
    """Raises NonFiniteError for NaN or infinite entries, DataFileError where all samples are one and the same."""
    places = range(len(tensors(calls[0]))) if calls else ()
    varies = False
    for place in places:
        own = [tensors(call)[place] for call in calls]
        if not own[0].is_floating_point():
            continue
        broken = sum(int((~torch.isfinite(part)).sum()) for part in own)
        if broken:
            raise NonFiniteError(
                f"calibration, input {place}", f"{broken} entries are NaN or infinite", "remove or fill those samples"
            )
        first = own[0][:1] if own[0].ndim else own[0]
        scale = max(float(part.abs().max()) for part in own if part.numel())
        varies |= any(float((part - first).abs().max()) > _FEW * scale for part in own if part.numel())
    if calls and not varies:
        raise DataFileError(
            "calibration", "every sample is the same", "give inputs as the network sees them in use, thousands of them"
        )


def in_rows(subject: Subject, calls: Sequence[Call], rows: int) -> Sequence[Call]:
    """The inputs in batches of about so many rows, if the network takes such batches; else as they are."""
    first = leading(calls[0])
    count = min(max(rows // len(first), 1) if first.ndim else 1, len(calls))
    if count == 1 or not subject.batches or subject.program is None:
        return calls
    groups = [stacked(calls[place : place + count]) for place in range(0, len(calls) - count + 1, count)]
    try:
        capture(subject.program, *groups[0])
    except ModelRunError:
        return calls
    return groups
