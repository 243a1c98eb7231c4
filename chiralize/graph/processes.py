"""Sums over the processes of `torch.distributed`, each of which sees its own part of the inputs.

Under an initialised group every process must make the same calls; without one nothing happens. What is drawn at random
is drawn by the number of the batch among those of all processes, dealt out in turns as a DistributedSampler does, so
that parts add up to what one process would have done with the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


def count() -> int:
    """The number of processes, 1 without a group."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return 1


def rank() -> int:
    """The number of this process, 0 without a group."""
    return distributed.get_rank() if count() > 1 else 0


def number_of(batch: int) -> int:
    """The number of this process's batch `batch` among the batches of all processes."""
    return batch * count() + rank()


def generator(batch: int, seed: int = 0) -> torch.Generator:
    """A generator of random numbers that depends on the batch, and not on how many processes share the work."""
    # Batches count in the lower 32 bits, so that seeds of different batches never meet.
    return torch.Generator().manual_seed((seed << 32) + number_of(batch))


def add_up(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their sums over all processes, in place."""
    if count() == 1:
        return
    # One message per dtype in place of one per tensor.
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        by_dtype.setdefault(tensor.dtype, []).append(tensor)
    for group in by_dtype.values():
        flat = torch.cat([tensor.detach().flatten() for tensor in group]).to(_device())
        distributed.all_reduce(flat)
        _put(flat, group)


def total(number: float) -> float:
    """The sum of a number over all processes."""
    summed = torch.tensor([number], dtype=torch.float64)
    add_up([summed])
    return float(summed)


def of_first(number: float) -> float:
    """A number as the first process has it."""
    shared = torch.tensor([number], dtype=torch.float64)
    take_first([shared])
    return float(shared)


def gathered(value: T) -> list[T]:
    """What every process hands in, in their order: `[value]` without a group. Tensors have to be on the CPU."""
    if count() == 1:
        return [value]
    values: list[Any] = [None] * count()
    distributed.all_gather_object(values, value)
    return values


def take_first(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by those of the first process, in place."""
    take_from(0, tensors)


def take_from(owner: int, tensors: Sequence[Tensor]) -> None:
    """Replace tensors by those of one process, in place.  owner: its number."""
    if count() == 1:
        return
    for tensor in tensors:
        flat = tensor.detach().flatten().to(_device())
        distributed.broadcast(flat, owner)
        _put(flat, [tensor])


def _put(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    """Write the numbers of `flat` into tensors, one after the other."""
    sizes = [tensor.numel() for tensor in tensors]
    with torch.no_grad():
        for tensor, part in zip(tensors, flat.split(sizes), strict=True):
            tensor.copy_(part.reshape(tensor.shape))


def _device() -> str:
    """The device on which this kind of group wants its tensors."""
    if distributed.get_backend() == "nccl":
        return "cuda"
    return "cpu"
