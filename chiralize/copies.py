"""Copies of networks, and what is done to hold no more of them than must be.

A small network is copied whole. A large one shares its parameters with its copies, since nothing here writes into
parameters; buffers, which forward may write, are copied always.
"""

from __future__ import annotations

import copy
import ctypes
import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

LARGE = 500_000_000

Holder = TypeVar("Holder")


def size_of(module: nn.Module) -> int:
    """Bytes of all parameters, tied ones once."""
    return sum(own.numel() * own.element_size() for own in module.parameters())


def is_large(module: nn.Module) -> bool:
    """Whether memory is what a network is short of."""
    return size_of(module) >= LARGE


def copied(module: nn.Module) -> nn.Module:
    """A copy that may be run, moved to another dtype and given other parameters; a large one shares their values."""
    parameters = module.parameters() if is_large(module) else ()
    with torch._C.DisableTorchFunction():  # as they are, also within InFloat64
        return replaced(module, {own: own.detach() for own in parameters if type(own) is nn.Parameter})


def replaced(holder: Holder, values: Mapping[Tensor, Tensor]) -> Holder:
    """A deep copy of a network or a program with other tensors in place of some, which are not copied first.

    values: by the tensor that they replace.
    """
    memo: dict[int, Any] = {}
    for old, value in values.items():
        memo[id(old)] = nn.Parameter(value, old.requires_grad) if isinstance(old, nn.Parameter) else value
    with warnings.catch_warnings():  # torch copies its own trees in a way that it warns about
        warnings.simplefilter("ignore")
        return copy.deepcopy(holder, memo)


def give_back() -> None:
    """Return freed memory to the system: the heap keeps blocks of up to 32 MB, of which a large network leaves many."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # not every C library has it
            ctypes.CDLL(None).malloc_trim(0)


class InFloat64(TorchFunctionMode):
    """Within: every op that reads a parameter reads it in float64; one at a time, the parameters stay what they are."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*tree_map(_wide, args), **tree_map(_wide, kwargs or {}))


def _wide(value: Any) -> Any:
    if not isinstance(value, nn.Parameter):
        return value
    if value.is_complex():
        return value.to(torch.complex128)
    return value.to(torch.float64) if value.is_floating_point() else value
