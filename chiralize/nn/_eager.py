"""For ordinary tensors on the CPU: when layers may take other ways to the same numbers, and tensors that they keep.

Those ways (steps of autograd of their own, writing into results, weights kept between calls) hold only where nothing
looks at the ops: under a compiler, a tracer, a transform of `torch.func` or autocast, layers do op by op what their
equations say.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from chiralize.nn._private import is_transformed


def is_eager(x: Tensor, device: str = "cpu") -> bool:
    """Whether x is an ordinary tensor with entries on the CPU, and no compiler, tracer, transform or autocast is on.

    device: another kind of device that x is to lie on.
    """
    # In an order in which the usual case is soon over: behind a product nothing of this is in the cache.
    return (
        type(x) is Tensor
        and (x.is_cpu if device == "cpu" else x.device.type == device)
        and x.numel() > 0
        and not torch.compiler.is_compiling()
        and not is_traced()
        and not torch.is_autocast_enabled(device)
        and not is_transformed()
    )


STEPS_ON_GPUS = True
"""Whether what has many entries takes one step on a GPU as well, in place of one op after the other."""
MANY_ON_GPUS, _MANY_TRAINED_ON_GPUS, _MANY_CONVOLVED_ON_GPUS = 1 << 22, 1 << 25, 1 << 21
"""Entries from which memory limits a GPU, and not the calls, of which a step in Python takes more."""


def takes_one_step(x: Tensor, trained: bool = False) -> bool:
    """Whether `is_eager` where linear maps in one step are faster: on the CPU, or on a GPU with many entries.

    trained: with a step of autograd, which is Python's.
    """
    if x.is_cuda:
        least = _MANY_TRAINED_ON_GPUS if trained else MANY_ON_GPUS
        return STEPS_ON_GPUS and x.numel() >= least and is_eager(x, "cuda")
    return is_eager(x)


def is_traced() -> bool:
    """Whether `torch.jit.trace` is running."""
    return torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]  # in torch's pages, not in its list


def runs_on_cpu(x: Tensor) -> bool:
    """Whether `is_eager`, or compiled for the CPU; exported layers are written down as they are, not run."""
    if not torch.compiler.is_compiling():
        return is_eager(x)
    return x.device.type == "cpu" and not torch.compiler.is_exporting() and not torch.is_autocast_enabled("cpu")


def takes_products(x: Tensor) -> bool:
    """Whether a convolution whose windows are apart is faster as a product: on the CPU, on a GPU with many entries.

    Compiled for either as well, but not in what is exported.
    """
    if not x.is_cuda:
        return runs_on_cpu(x)
    if torch.compiler.is_compiling():
        return not torch.compiler.is_exporting() and not torch.is_autocast_enabled("cuda")
    return STEPS_ON_GPUS and x.numel() >= _MANY_CONVOLVED_ON_GPUS and is_eager(x, "cuda")


class Kept:
    """Tensors that are computed from parameters, kept for as long as these do not change.

    Only without gradients and on the CPU; they are made again where a parameter is no longer the copy that is kept
    beside them, whatever has written to it. Copies of a layer begin with nothing.
    """

    def __init__(self) -> None:
        self._kept: tuple[list[Tensor], list[Tensor]] | None = None

    def __call__(self, parameters: Sequence[Tensor], make: Callable[[], Sequence[Tensor]]) -> list[Tensor]:
        """The tensors that `make` returns, as long as it reads nothing but `parameters`."""
        # Kept tensors have no history: gradients would end there.
        # On another device a comparison would wait for all that is queued there.
        if torch.is_grad_enabled() or parameters[0].device.type != "cpu":
            self._kept = None
            return list(make())
        if self._kept is None or not _equal(self._kept[0], parameters):
            self._kept = [parameter.detach().clone() for parameter in parameters], list(make())
        return self._kept[1]

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return Kept, ()


def _equal(copies: Sequence[Tensor], parameters: Sequence[Tensor]) -> bool:
    """Whether these are still the parameters of which copies were made."""
    return len(copies) == len(parameters) and all(map(_same_numbers, copies, parameters))


def _same_numbers(before: Tensor, now: Tensor) -> bool:
    """Whether both are equal; compared as they lie in memory where possible, which takes a fifth of the time."""
    if before.dtype != now.dtype or before.shape != now.shape:
        return False
    if type(now) not in (Tensor, nn.Parameter) or not (before.is_contiguous() and now.is_contiguous()):
        return torch.equal(before, now)
    return not _memcmp(before.data_ptr(), now.data_ptr(), before.numel() * before.element_size())


def _from_libc() -> Callable[[int, int, int], int]:
    """C's memcmp; through `Tensor.numpy` the storage could never be resized again, as FSDP does."""
    memcmp = ctypes.CDLL("msvcrt" if sys.platform == "win32" else None).memcmp
    memcmp.argtypes, memcmp.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t], ctypes.c_int
    return memcmp


_memcmp = _from_libc()
