"""Writes in place into views, exported without a decision on the size of the batch.

Before a write torch asks whether entries of the written tensor share memory, by putting its axes in the order of their
strides. Of a view whose axes changed places (`F.leaky_relu(x.permute(0, 2, 1), inplace=True)`) that asks whether the
batch has one entry, and the answer becomes a guard of the program: exported on one sample it takes one sample alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_UNKNOWN = 2
"""torch's number for a tensor that may have such entries."""
_NAME = "_debug_has_internal_overlap"
_asked_of_torch = getattr(torch, _NAME, None)
"""None in a torch without it, where nothing is done."""


def _overlap(tensor: torch.Tensor) -> int:
    """torch's answer; of a tensor with open sizes, that it is not known."""
    if any(isinstance(size, torch.SymInt) for size in (*tensor.size(), *tensor.stride())):
        return _UNKNOWN
    assert _asked_of_torch is not None
    return _asked_of_torch(tensor)


@contextmanager
def undecided_overlaps() -> Iterator[None]:
    """Context in which tensors with open sizes are not asked; all others, and those of other threads, are as before.

    No check is lost: a network runs on its examples before it is exported, and kernels check every write.
    """
    if _asked_of_torch is None:
        yield
        return
    before = getattr(torch, _NAME)
    setattr(torch, _NAME, _overlap)
    try:
        yield
    finally:
        setattr(torch, _NAME, before)
