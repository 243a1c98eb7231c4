"""Copies of networks, and what is done to hold no more of them than must be.

A small network is copied whole. A large one shares its parameters with its copies, since nothing here writes into
parameters; buffers, which forward may write, are copied always.
"""

from __future__ import annotations

import copy
import ctypes
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from chiralize.graph.holdings import held_tensors
from chiralize.graph.silence import quiet

LARGE = 500_000_000

Holder = TypeVar("Holder")
_LINEAR = (nn.functional.linear, torch.ops.aten.linear.default)
_ROOM = 1 << 22  # entries of a weight that are held in float64


def size_of(module: nn.Module) -> int:
    """Bytes of all parameters, tied ones once."""
    with torch._C.DisableTorchFunction():  # as they are, also within InFloat64
        return sum(own.numel() * own.element_size() for own in module.parameters())


def is_large(module: nn.Module) -> bool:
    """Whether memory is what a network is short of."""
    return size_of(module) >= LARGE


def raw_bytes(tensor: Tensor) -> bytes:
    """What a tensor holds, in order, whatever its strides and dtype."""
    dense = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return dense.reshape(-1).view(torch.uint8).numpy().tobytes()


def copied(module: nn.Module) -> nn.Module:
    """A copy that may be run, moved to another dtype and given other parameters; a large one shares their values.

    Results of an earlier call that a module keeps (its last attention) are copied without their history.
    """
    parameters = module.parameters() if is_large(module) else ()
    with torch._C.DisableTorchFunction():  # as they are, also within InFloat64
        shared: dict[Tensor, Tensor] = {own: own.detach() for own in parameters if type(own) is nn.Parameter}
        try:
            return replaced(module, shared)
        except RuntimeError:  # deepcopy refuses what autograd made
            return replaced(module, shared | _without_history(module))


def with_same_parameters(module: nn.Module) -> nn.Module:
    """A copy with states of its own, on the very same parameters."""
    shared = {id(own): own for own in module.parameters()}
    made = {id(own): value for own, value in _without_history(module).items()}
    with quiet():
        return _trainable(copy.deepcopy(module, {**made, **shared}))


def _without_history(module: nn.Module) -> dict[Tensor, Tensor]:
    """What autograd made of all that a module holds, and copies that nothing is known of."""
    return {own: own.detach().clone() for own in held_tensors(module).values() if not own.is_leaf}


def replaced(holder: Holder, values: Mapping[Tensor, Tensor]) -> Holder:
    """A deep copy of a network or a program with other tensors in place of some, which are not copied first.

    values: by the tensor that they replace.
    """
    memo: dict[int, Any] = {}
    for old, value in values.items():
        memo[id(old)] = nn.Parameter(value, old.requires_grad) if isinstance(old, nn.Parameter) else value
    with quiet():  # torch copies its own trees in a way that it warns about
        return _trainable(copy.deepcopy(holder, memo))


def _trainable(holder: Holder) -> Holder:
    """A copy whose parameters have no history: copying TorchScript is an op that gradients flow through."""
    if isinstance(holder, nn.Module):
        for own in holder.parameters():
            if not own.is_leaf:
                needs_grad = own.requires_grad
                own.detach_().requires_grad_(needs_grad)
    return holder


def give_back() -> None:
    """Return freed memory to the system: the heap keeps blocks of up to 32 MB, of which a large network leaves many."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # not every C library has it
            ctypes.CDLL(None).malloc_trim(0)


class InFloat64(TorchFunctionMode):
    """Within: every op that reads a parameter reads it in float64; one at a time, the parameters stay what they are.

    Of a large weight of a linear layer some rows at a time, so that there is never much of it in float64.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _LINEAR and not kwargs and isinstance(args[1], nn.Parameter) and args[1].numel() > _ROOM:
            x, weight, *bias = args
            parts = weight.detach().split(max(_ROOM // weight.shape[1], 1))
            out = torch.cat([func(x, _in_float64(part)) for part in parts], -1)
            return out + _wide(bias[0]) if bias and bias[0] is not None else out
        return func(*tree_map(_wide, args), **tree_map(_wide, kwargs or {}))


def _wide(value: Any) -> Any:
    return _in_float64(value) if isinstance(value, nn.Parameter) else value


def _in_float64(value: Tensor) -> Tensor:
    if value.is_complex():
        return value.to(torch.complex128)
    return value.to(torch.float64) if value.is_floating_point() else value


def uncompiled(model: nn.Module) -> nn.Module:
    """What `torch.compile` wraps: its wrapper gives all names a prefix, and takes part in nothing that is computed."""
    return model._orig_mod if isinstance(model, torch._dynamo.OptimizedModule) else model
