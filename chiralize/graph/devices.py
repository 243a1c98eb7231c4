"""Where a network lies. Analysis, fits and verdicts run on the CPU: a network from elsewhere is copied there first,
and what became of it goes back. Training towards the original's answers runs where the network was.

Devices are in more places than `module.to` knows: in plain attributes, and written into the ops of graphs (`zeros(3,
device="cuda:0")`). `moved` reaches all of them; `lent` moves a network for a while.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass
from torch.fx.node import map_aggregate
from torch.utils._pytree import tree_map_only

from chiralize.errors import UsageError
from chiralize.errors.words import first_line
from chiralize.graph.copies import replaced
from chiralize.graph.tensors import tensors_in

Module = TypeVar("Module", bound=nn.Module)
Model = TypeVar("Model", nn.Module, ExportedProgram)
Values = TypeVar("Values")
CPU = torch.device("cpu")


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


def named(name: str) -> torch.device:
    """The device of that name, such as `cuda:1`. Raises UsageError where this machine has none."""
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError("--device", "there is no CUDA device here", "leave --device out")
    try:
        torch.empty(1, device=name).cpu()
    except (RuntimeError, NotImplementedError) as error:
        raise UsageError("--device", f"{name!r}: {first_line(error)}", "leave --device out") from error
    return CPU if torch.device(name).type == "cpu" else torch.device(name)  # cpu:0 is no other one


def on(device: torch.device, values: Values) -> Values:
    """Arguments with all of their tensors on a device."""
    return tree_map_only(Tensor, lambda tensor: tensor.to(device), values)


def on_cpu(model: Model) -> Model:
    """The network itself where all of it is on the CPU, or has no values (`meta`); else a copy there."""
    if isinstance(model, ExportedProgram):
        if any(map(_is_elsewhere, tensors_in([*model.state_dict.values(), *model.constants.values()]))):
            return move_to_device_pass(copy.deepcopy(model), "cpu")
        return model
    tensors = [*model.parameters(), *model.buffers()]  # a TorchScript module has these not among its attributes
    for part in model.modules():
        tensors += tensors_in(vars(part))
    values = {tensor: tensor.detach().cpu() for tensor in tensors if _is_elsewhere(tensor)}
    if values:
        return moved(replaced(model, values), CPU)
    return model


def moved(module: Module, device: torch.device) -> Module:
    """The module, moved in place: all tensors that it holds, and the devices that its graphs make tensors on.

    Returns the module itself.
    """

    def moved_name(argument: Any) -> Any:
        """The new device in place of a device that an op is called with."""
        if isinstance(argument, torch.device):
            return device
        return argument

    module.to(device)
    for part in module.modules():
        # Plain attributes, which `module.to` leaves where they are.
        for name, value in vars(part).items():
            if any(tensor.device != device for tensor in tensors_in(value)):
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


def with_doubles(device: torch.device) -> torch.device:
    """The device if it has float64, else the CPU."""
    try:
        torch.empty(0, dtype=torch.float64, device=device)
    except TypeError:
        return CPU
    return device


@contextmanager
def lent(device: torch.device, *modules: nn.Module) -> Iterator[None]:
    """Within, networks of the CPU are on another device."""
    used = modules if device != CPU else ()
    try:
        for module in used:
            moved(module, device)
        yield
    finally:
        for module in used:
            moved(module, CPU)


def _is_elsewhere(tensor: Tensor) -> bool:
    """Whether a tensor holds numbers that are not on the CPU; one on `meta` holds none."""
    return tensor.device.type not in ("cpu", "meta")
