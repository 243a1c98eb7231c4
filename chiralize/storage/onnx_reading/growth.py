"""How much memory the values of a file take while it is read, and how much a node will take before it runs.

A file of 200 bytes may ask for an outer product of two vectors of 60,000 entries, which takes 14 GB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from chiralize.graph.tensors import tensors_in
from chiralize.storage.onnx_reading.call import MOST_ENTRIES, NodeCall
from chiralize.storage.onnx_reading.module import run
from chiralize.storage.onnx_reading.sizes import ARITHMETIC, is_numbers

_MOVES = "Identity Dropout Cast Clip Shape Size Reshape Flatten Squeeze Unsqueeze Transpose Split Slice".split()
"""Operators whose results have no more entries than what they read; most of them look at values."""


class Held(MutableMapping[str, Tensor]):
    """Tensors by name, in the order in which they were first put in. entries: those of all memory that they hold.

    Two names of the same memory count once, and a part of a tensor counts as all of it.
    """

    def __init__(self) -> None:
        self.entries = 0
        self._tensors: dict[str, Tensor] = {}
        self._names: Counter[int] = Counter()  # how many names a piece of memory has, by its address

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __setitem__(self, name: str, tensor: Tensor) -> None:
        before = self._tensors.get(name)
        self._tensors[name] = tensor
        address = tensor.untyped_storage().data_ptr()
        self._names[address] += 1
        if self._names[address] == 1:
            self.entries += _entries(tensor)
        if before is not None:
            self._let_go(before)

    def __delitem__(self, name: str) -> None:
        self._let_go(self._tensors.pop(name))

    def entries_of_alone(self, name: str) -> int:
        """Entries that are let go with this name: none where another name has the same memory."""
        tensor = self._tensors[name]
        if self._names[tensor.untyped_storage().data_ptr()] > 1:
            return 0
        return _entries(tensor)

    def _let_go(self, tensor: Tensor) -> None:
        """Count a tensor no more."""
        address = tensor.untyped_storage().data_ptr()
        self._names[address] -= 1
        if not self._names[address]:
            self.entries -= _entries(tensor)


def _entries(tensor: Tensor) -> int:
    """Entries of the memory that a tensor lies in."""
    return tensor.untyped_storage().nbytes() // tensor.element_size()


def entries_beforehand(call: NodeCall, values: Sequence[Any]) -> int:
    """Entries of all results of a node that is to be run on these values, before it is; 0 where it adds none.

    Run on tensors that have sizes and no values. Raises CaptureError where it needs more than a result may have, and
    whatever else the node raises.
    """
    # Arrays of Python numbers are bounded where they are computed.
    of_sizes = all(map(is_numbers, values)) and call.kind in {*ARITHMETIC, "Concat"}
    picks_sizes = call.kind == "Gather" and is_numbers(values[0])
    if call.kind in _MOVES or of_sizes or picks_sizes:
        return 0
    # What reads large weights may have as many entries as these together.
    read = sum(tensor.numel() for tensor in tensors_in(values))
    with torch.device("meta"), _Bounded(call, max(read, MOST_ENTRIES)):
        results = run(call, list(map(_without_values, values)))
    return sum(tensor.numel() for tensor in tensors_in(results))


def _without_values(value: Any) -> Any:
    """A tensor of the same sizes without values; anything else as it is."""
    if isinstance(value, Tensor):
        return value.to("meta")
    return value


class _Bounded(TorchDispatchMode):
    """Context that refuses ops whose results have more than `most` entries, those within a node as well."""

    def __init__(self, call: NodeCall, most: int) -> None:
        super().__init__()
        self.call, self.most = call, most

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        for tensor in tensors_in(results):
            entries = tensor.numel()
            self.call.require(entries <= self.most, f"its result has {entries:,} entries")
        return results
