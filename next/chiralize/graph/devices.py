"""Where a network lies, and how it is taken elsewhere and back.

Analysis, fits and verdicts run on the CPU: a network from elsewhere is copied there first, and what became of it goes
back. Devices are in more places than `module.to` knows: in plain attributes, and written into the ops of graphs
(`zeros(3, device="cuda:0")`). `moved` reaches all of them; `Staying` answers a network that asks for a GPU by itself.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass
from torch.fx.node import map_aggregate
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

Module = TypeVar("Module", bound=nn.Module)
Model = TypeVar("Model", nn.Module, ExportedProgram)
Values = TypeVar("Values")
CPU = torch.device("cpu")
_ELSEWHERE = ("cuda", "xpu", "mps")
_MOVES = (Tensor.cuda, Tensor.xpu)


def device_of(model: nn.Module | ExportedProgram) -> torch.device:
    """The one device that all parameters and buffers lie on; the CPU where there are none, or several."""
    if isinstance(model, ExportedProgram):
        held = model.state_dict.values()
    else:
        held = (*model.parameters(), *model.buffers())
    devices = {tensor.device for tensor in held}
    if len(devices) == 1:
        return devices.pop()
    return CPU


def on(device: torch.device, values: Values) -> Values:
    """Arguments with all of their tensors on a device."""
    return tree_map_only(Tensor, lambda tensor: tensor.to(device), values)


def on_cpu(model: Model) -> Model:
    """The network itself where all of it is on the CPU, or has no values (`meta`); else a copy there."""
    if isinstance(model, ExportedProgram):
        held = [*model.state_dict.values(), *model.constants.values()]
    else:
        held = [*model.parameters(), *model.buffers(), *map(vars, model.modules())]
    tensors = [leaf for leaf in tree_leaves(held) if isinstance(leaf, Tensor)]
    if all(tensor.device.type in ("cpu", "meta") for tensor in tensors):
        return model
    if isinstance(model, ExportedProgram):
        return move_to_device_pass(copy.deepcopy(model), "cpu")
    return moved(copy.deepcopy(model), CPU)


def moved(module: Module, device: torch.device) -> Module:
    """The module, moved in place: all tensors that it holds, and the devices that its graphs make tensors on.

    Returns the module itself.
    """

    def moved_name(argument: Any) -> Any:
        """The new device in place of a device that an op is called with."""
        return device if isinstance(argument, torch.device) else argument

    module.to(device)
    for part in module.modules():
        # Plain attributes, which `module.to` leaves where they are.
        for name, value in vars(part).items():
            if any(isinstance(leaf, Tensor) and leaf.device != device for leaf in tree_leaves(value)):
                vars(part)[name] = on(device, value)
        if isinstance(part, fx.GraphModule):
            for node in part.graph.nodes:
                node.args = map_aggregate(node.args, moved_name)
                if node.kwargs.get("device") is not None:  # a device, or its name
                    node.update_kwarg("device", device)
                if node.target is torch.ops.aten.to.device:
                    node.update_arg(1, device)
            part.recompile()
    return module


class Staying(TorchFunctionMode):
    """Within, tensors of the CPU stay there, and new ones are made there.

    A network that asks for a GPU by itself (`.cuda()` in forward) would fail in the copy on the CPU. Numbers are the
    same on both, so the request is answered with the tensor itself.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _MOVES and _stays(args[0]):
            return args[0]
        # `x.to("cuda")`, `x.to(torch.device(...))`, `x.to(0)` or `x.to(device=...)`: the device becomes that of x,
        # the rest of the request is met.
        if func is Tensor.to and _stays(args[0]):
            if any(map(_is_elsewhere, args[1:2])):
                args = (args[0], args[0].device, *args[2:])
            if _is_elsewhere(kwargs.get("device")):
                kwargs = {**kwargs, "device": args[0].device}
        # Functions that make tensors: `torch.zeros(3, device="cuda")`.
        if _is_elsewhere(kwargs.get("device")):
            kwargs = {**kwargs, "device": CPU}
        return func(*args, **kwargs)


def _stays(tensor: Tensor) -> bool:
    return tensor.device.type in ("cpu", "meta")


def _is_elsewhere(device: object) -> bool:
    """Whether a device is another one than the CPU. Numbers are GPUs; -1 is what the CPU answers to `get_device`."""
    if isinstance(device, str):
        return device.partition(":")[0] in _ELSEWHERE
    if isinstance(device, torch.device):
        return device.type in _ELSEWHERE
    return isinstance(device, int) and not isinstance(device, bool)
