"""What layers do on ordinary tensors on the CPU alone: other ways to the same numbers, and tensors that are kept."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch._C._functorch import peek_interpreter_stack


def is_eager(x: Tensor) -> bool:
    """An ordinary tensor with entries on the CPU, outside of compilers, tracers, transforms and autocast."""
    return (
        type(x) is Tensor
        and x.device.type == "cpu"
        and x.numel() > 0
        and not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None
        and peek_interpreter_stack() is None
        and not torch.is_autocast_enabled("cpu")
    )


def runs_on_cpu(x: Tensor) -> bool:
    """As `is_eager`, or compiled for the CPU. What is exported is written down as the layers say it, not run."""
    if not torch.compiler.is_compiling():
        return is_eager(x)
    return x.device.type == "cpu" and not torch.compiler.is_exporting() and not torch.is_autocast_enabled("cpu")


class Kept:
    """Tensors that are made of parameters, kept for as long as these are what they were made of.

    Only without gradients and on the CPU; they are made again where a parameter is no longer the copy that is kept
    beside them, whatever has written to it. Copies of a layer begin with nothing.
    """

    def __init__(self) -> None:
        self._kept: tuple[list[Tensor], list[Tensor]] | None = None

    def __call__(self, own: Sequence[Tensor], make: Callable[[], Sequence[Tensor]]) -> list[Tensor]:
        """What `make` makes of `own`."""
        if torch.is_grad_enabled() or own[0].device.type != "cpu":  # to look at them would wait for another device
            self._kept = None
            return list(make())
        if self._kept is None or not _equal(self._kept[0], own):
            self._kept = [block.detach().clone() for block in own], list(make())
        return self._kept[1]

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return Kept, ()


def _equal(kept: Sequence[Tensor], own: Sequence[Tensor]) -> bool:
    return len(kept) == len(own) and all(
        before.dtype == now.dtype and before.shape == now.shape and _same_numbers(before, now)
        for before, now in zip(kept, own, strict=True)
    )


def _same_numbers(before: Tensor, now: Tensor) -> bool:
    """Bit for bit where the memory can be compared as it lies, which takes a fifth of the time."""
    if type(now) not in (Tensor, nn.Parameter) or not (before.is_contiguous() and now.is_contiguous()):
        return torch.equal(before, now)
    return not _memcmp(before.data_ptr(), now.data_ptr(), before.numel() * before.element_size())


def _from_libc() -> Callable[[int, int, int], int]:
    """C's memcmp; through `Tensor.numpy` the storage could never be resized again, as FSDP does."""
    found = ctypes.CDLL("msvcrt" if sys.platform == "win32" else None).memcmp
    found.argtypes, found.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t], ctypes.c_int
    return found


_memcmp = _from_libc()
