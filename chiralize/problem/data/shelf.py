"""Values between two stretches of a pass, one set per batch: in memory while they are few, else in temporary files.

Fits go through a network stretch by stretch, all batches through one before the next. What a batch has come to waits
here. `_spooled` keeps batches of an iterable here, which can be run through only once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree

ROOM = 64_000_000
"""Bytes that are held in memory."""


class Shelf:
    """Holds one value per batch. `with Shelf(count) as shelf: for number, value in shelf: shelf[number] = ...`"""

    def __init__(self, count: int, room: int = ROOM) -> None:
        self.count, self.room, self.held = count, room, 0
        self.memory: dict[int, Any] = {}
        self.sizes: dict[int, int] = {}
        self.folder = tempfile.TemporaryDirectory(prefix="chiralize-")

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *error: object) -> None:
        self.memory.clear()
        self.folder.cleanup()

    def __len__(self) -> int:
        return self.count

    def __setitem__(self, number: int, value: Any) -> None:
        """A view into a larger tensor is kept without the rest of it."""
        value, size = _compact(value)
        # A former value of the batch gives up its room first; a file of it is overwritten, or not read any more.
        self.held -= self.sizes.pop(number, 0)
        self.memory.pop(number, None)
        if self.held + size <= self.room:
            self.memory[number], self.sizes[number] = value, size
            self.held += size
        else:
            torch.save(value, self._path(number))

    def __getitem__(self, number: int) -> Any:
        if number in self.memory:
            return self.memory[number]
        return torch.load(self._path(number), weights_only=True)

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return ((number, self[number]) for number in range(self.count))

    def _path(self, number: int) -> Path:
        """The file of a batch that is not held in memory."""
        return Path(self.folder.name) / f"{number}.pt"


def _compact(value: Any) -> tuple[Any, int]:
    """A value whose tensors take no more memory than their entries need, and the bytes of that.

    One row of a tensor of 1,000 rows is a view that keeps all of them alive; it is copied.
    """
    used: dict[int, int] = {}
    whole: dict[int, int] = {}
    for leaf in pytree.tree_leaves(value):
        if isinstance(leaf, torch.Tensor):
            address = leaf.untyped_storage().data_ptr()
            used[address] = used.get(address, 0) + leaf.nbytes
            whole[address] = leaf.untyped_storage().nbytes()
    # A storage is larger than what its views in this value use: saving or holding a view would keep all of it.
    large = {address for address, size in whole.items() if size > used[address]}

    def compact(tensor: torch.Tensor) -> torch.Tensor:
        """A copy where the tensor is a view into a larger storage."""
        if tensor.untyped_storage().data_ptr() in large:
            return tensor.clone()
        return tensor

    size = sum(min(used[address], whole[address]) for address in whole)
    return pytree.tree_map_only(torch.Tensor, compact, value), size
