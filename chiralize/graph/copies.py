"""Copies of networks, and how to keep them small in memory.

A small network is copied whole. A large one (of `LARGE` bytes) shares its parameters with its copies, since nothing
here writes into parameters; buffers, which forward may write, are copied always. All copies are made by
`copy.deepcopy`, with a table of what is not to be copied but taken: shared parameters, or new tensors in place of
old ones.
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

from chiralize.graph.closures import rebind
from chiralize.graph.holdings import held_tensors
from chiralize.graph.silence import quiet

LARGE = 500_000_000
"""Bytes of parameters from which a network is not copied whole."""

Holder = TypeVar("Holder")
_LINEAR = (nn.functional.linear, torch.ops.aten.linear.default)
_ROOM = 1 << 22  # entries of a weight that are held in float64


def size_of(module: nn.Module) -> int:
    """Bytes of all parameters, tied ones once."""
    with torch._C.DisableTorchFunction():  # as they are, also within InFloat64
        return sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())


def is_large(module: nn.Module) -> bool:
    """Whether a network is so large that memory decides how it is handled."""
    return size_of(module) >= LARGE


def raw_bytes(tensor: Tensor) -> bytes:
    """The bytes of a tensor's numbers in order, whatever its strides and dtype."""
    dense = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return dense.reshape(-1).view(torch.uint8).numpy().tobytes()


def copied(module: nn.Module) -> nn.Module:
    """A copy that may be run, moved to another dtype and given other parameters; a large one shares their values.

    Results of an earlier call that a module keeps (its last attention) are copied without their history.
    """
    parameters = module.parameters() if is_large(module) else ()
    with torch._C.DisableTorchFunction():  # as they are, also within InFloat64
        shared: dict[Tensor, Tensor] = {
            weight: weight.detach() for weight in parameters if type(weight) is nn.Parameter
        }
        try:
            return replaced(module, shared)
        except RuntimeError:  # deepcopy refuses what autograd made
            return replaced(module, shared | _without_history(module))


def with_same_parameters(module: nn.Module) -> nn.Module:
    """A copy with states of its own, on the very same parameters."""
    shared = {id(parameter): parameter for parameter in module.parameters()}
    detached = {id(tensor): value for tensor, value in _without_history(module).items()}
    return _deep_copy(module, {**detached, **shared})


def _without_history(module: nn.Module) -> dict[Tensor, Tensor]:
    """Copies without history of the tensors that autograd made, by the tensors, among those that a module holds."""
    return {tensor: tensor.detach().clone() for tensor in held_tensors(module).values() if not tensor.is_leaf}


def replaced(holder: Holder, values: Mapping[Tensor, Tensor]) -> Holder:
    """A deep copy of a network or a program with some tensors replaced, which are not copied first.

    values: the new tensors, by the tensors that they replace.
    """
    memo: dict[int, Any] = {}
    # deepcopy looks into this table first, so these tensors are taken as their own copies and never copied.
    for old, value in values.items():
        if isinstance(old, nn.Parameter):
            memo[id(old)] = nn.Parameter(value, old.requires_grad)
        else:
            memo[id(old)] = value
    return _deep_copy(holder, memo)


def _deep_copy(holder: Holder, memo: dict[int, Any]) -> Holder:
    """A deep copy, whose functions reach the copy as well. memo: the copies that there are already, by id."""
    with quiet():  # torch copies its own trees in a way that it warns about
        result = _trainable(copy.deepcopy(holder, memo))
    if isinstance(result, nn.Module) and not isinstance(result, torch.jit.ScriptModule):
        rebind(result, memo)
    return result


def _trainable(holder: Holder) -> Holder:
    """A copy whose parameters have no history: copying TorchScript is an op that gradients flow through."""
    if isinstance(holder, nn.Module):
        # In place, so that tied names go on sharing one parameter.
        for parameter in holder.parameters():
            if not parameter.is_leaf:
                needs_grad = parameter.requires_grad
                parameter.detach_().requires_grad_(needs_grad)
    return holder


def give_back() -> None:
    """Return freed memory to the system: the heap keeps blocks of up to 32 MB, of which a large network leaves many."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # not every C library has it
            ctypes.CDLL(None).malloc_trim(0)


class InFloat64(TorchFunctionMode):
    """Within: every op that reads a parameter gets it in float64, while the parameters stay as they are.

    A large weight of a linear layer is read some rows at a time, so that never much of it is in float64.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _LINEAR and not kwargs and isinstance(args[1], nn.Parameter) and args[1].numel() > _ROOM:
            # "... in" times blocks of rows of "out in", joined along the outputs.
            x, weight, *bias = args
            parts = weight.detach().split(max(_ROOM // weight.shape[1], 1))
            out = torch.cat([func(x, _in_float64(part)) for part in parts], -1)
            if bias and bias[0] is not None:
                return out + _wide(bias[0])
            return out
        return func(*tree_map(_wide, args), **tree_map(_wide, kwargs or {}))


def _wide(value: Any) -> Any:
    """A parameter in float64 (complex128), anything else as it is."""
    if isinstance(value, nn.Parameter):
        return _in_float64(value)
    return value


def _in_float64(value: Tensor) -> Tensor:
    """A tensor in double precision; whole numbers and truths as they are."""
    if value.is_complex():
        return value.to(torch.complex128)
    if value.is_floating_point():
        return value.to(torch.float64)
    return value


_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, torch.optim.swa_utils.AveragedModel)


def attribute_within(model: nn.Module) -> str:
    """The attribute of a wrapper that holds the network, "" of what is no wrapper.

    Those of `torch.compile`, (Distributed)DataParallel and AveragedModel give all names a prefix and compute nothing.
    """
    if isinstance(model, torch._dynamo.OptimizedModule):
        return "_orig_mod"
    if isinstance(model, _WRAPPERS):
        return "module"
    return ""


def unwrapped(model: nn.Module) -> nn.Module:
    """The network within wrappers, one around another or none."""
    while name := attribute_within(model):
        model = getattr(model, name)
    return model
