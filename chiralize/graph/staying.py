"""A network that asks for a GPU by itself (`.cuda()` in forward), run on the CPU.

Conversions copy a network to the CPU. There such a request ends in an error: no GPU is there, or tensors of two devices
meet. Numbers are the same on both, so the request is answered with the tensor itself.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from chiralize.graph.devices import CPU, device_of

_ELSEWHERE = ("cuda", "xpu", "mps")
_MOVES = (Tensor.cuda, Tensor.xpu)


class Staying(TorchFunctionMode):
    """Within, tensors of the CPU stay there, and new ones are made there. May be entered again and again.

    acted: whether anything so far asked for another device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.acted = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _MOVES and _stays(args[0]):
            self.acted = True
            return args[0]
        # `x.to("cuda")`, `x.to(torch.device(...))`, `x.to(0)` or `x.to(device=...)`: the device becomes that of x,
        # the rest of the request is met.
        if func is Tensor.to and _stays(args[0]):
            if any(map(_is_elsewhere, args[1:2])):
                self.acted = True
                args = (args[0], args[0].device, *args[2:])
            if _is_elsewhere(kwargs.get("device")):
                self.acted = True
                kwargs = {**kwargs, "device": args[0].device}
        # Functions that make tensors: `torch.zeros(3, device="cuda")`.
        if _is_elsewhere(kwargs.get("device")):
            self.acted = True
            kwargs = {**kwargs, "device": CPU}
        return func(*args, **kwargs)


def staying(module: nn.Module) -> contextlib.AbstractContextManager[Any]:
    """`Staying`, for a network that lies on the CPU; nothing for one elsewhere, which may have what it asks for."""
    return Staying() if device_of(module) == CPU else contextlib.nullcontext()


def _stays(tensor: Tensor) -> bool:
    """Whether a tensor lies on the CPU, or has no values."""
    return tensor.device.type in ("cpu", "meta")


def _is_elsewhere(device: object) -> bool:
    """Whether a device is another one than the CPU. Numbers are GPUs; -1 is what the CPU answers to `get_device`."""
    if isinstance(device, str):
        return device.partition(":")[0] in _ELSEWHERE
    if isinstance(device, torch.device):
        return device.type in _ELSEWHERE
    return isinstance(device, int) and not isinstance(device, bool)
