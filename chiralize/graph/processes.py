"""Sums over the processes of `torch.distributed`, each of which sees its own part of the inputs.

Under an initialised group every process must make the same calls; without one nothing happens. What is drawn at random
is drawn by the number of the batch among those of all processes, dealt out in turns as a DistributedSampler does, so
that parts add up to what one process would have done with the whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, distributed


def count() -> int:
    """How many there are."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def number_of(batch: int) -> int:
    """The number, among those of all processes, of a batch of this one."""
    return batch if count() == 1 else batch * count() + distributed.get_rank()


def generator(batch: int, seed: int = 0) -> torch.Generator:
    """Random numbers that belong to a batch."""
    return torch.Generator().manual_seed((seed << 32) + number_of(batch))


def add_up(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their sums over all processes, in place."""
    if count() == 1:
        return
    for dtype in dict.fromkeys(own.dtype for own in tensors):
        chosen = [own for own in tensors if own.dtype == dtype]
        flat = torch.cat([own.detach().flatten() for own in chosen]).to(_device())
        distributed.all_reduce(flat)
        _put(flat, chosen)


def total(number: float) -> float:
    """The sum of a number over all processes."""
    own = torch.tensor([number], dtype=torch.float64)
    add_up([own])
    return float(own)


def take_first(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by those of the first process, in place."""
    if count() == 1:
        return
    for own in tensors:
        flat = own.detach().flatten().to(_device())
        distributed.broadcast(flat, 0)
        _put(flat, [own])


def _put(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for own, part in zip(tensors, flat.split([own.numel() for own in tensors]), strict=True):
            own.copy_(part.reshape(own.shape))


def _device() -> str:
    """Where this kind of group wants its tensors."""
    return "cuda" if distributed.get_backend() == "nccl" else "cpu"
