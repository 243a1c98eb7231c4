"""Where a network lies. Analysis, fits and verdicts run on the CPU: a network from elsewhere is copied there first, and
what became of it goes back. Training towards the original's answers runs where the network was.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass
from torch.fx.node import map_aggregate
from torch.utils._pytree import tree_leaves, tree_map_only

from chiralize.errors import UsageError, first_line
from chiralize.graph.copies import replaced

Module = TypeVar("Module", bound=nn.Module)
Model = TypeVar("Model", nn.Module, ExportedProgram)
Values = TypeVar("Values")
CPU = torch.device("cpu")


def device_of(model: nn.Module | ExportedProgram) -> torch.device:
    """The one device that all parameters and buffers lie on; the CPU where there are none, or several."""
    held = model.state_dict.values() if isinstance(model, ExportedProgram) else (*model.parameters(), *model.buffers())
    found = {own.device for own in held}
    return found.pop() if len(found) == 1 else CPU


def named(name: str) -> torch.device:
    """A device that there is here. Raises UsageError."""
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError("--device", "there is no CUDA device here", "leave --device out")
    try:
        torch.empty(1, device=name).cpu()
    except (RuntimeError, NotImplementedError) as error:
        raise UsageError("--device", f"{name!r}: {first_line(error)}", "leave --device out") from error
    return CPU if torch.device(name).type == "cpu" else torch.device(name)  # cpu:0 is no other one


def on(device: torch.device, values: Values) -> Values:
    """Arguments with all of their tensors on a device."""
    return tree_map_only(Tensor, lambda own: own.to(device), values)


def on_cpu(model: Model) -> Model:
    """The network itself where all of it is on the CPU, or has no values (`meta`); else a copy there."""
    if isinstance(model, ExportedProgram):
        tensors = [own for own in chain(model.state_dict.values(), model.constants.values()) if isinstance(own, Tensor)]
        return move_to_device_pass(copy.deepcopy(model), "cpu") if any(map(_is_elsewhere, tensors)) else model
    attributes = chain.from_iterable(tree_leaves(vars(part)) for part in model.modules())
    held = chain(model.parameters(), model.buffers(), attributes)  # a TorchScript module has the former elsewhere
    elsewhere = [own for own in held if isinstance(own, Tensor) and _is_elsewhere(own)]
    return moved(replaced(model, {own: own.detach().cpu() for own in elsewhere}), CPU) if elsewhere else model


def moved(module: Module, device: torch.device) -> Module:
    """The module, moved in place: all tensors that it holds, and what its graphs make where they were captured."""
    module.to(device)
    for part in module.modules():
        for name, value in vars(part).items():
            if any(isinstance(own, Tensor) and own.device != device for own in tree_leaves(value)):
                vars(part)[name] = on(device, value)
        if isinstance(part, fx.GraphModule):
            for node in part.graph.nodes:
                node.args = map_aggregate(node.args, lambda own: device if isinstance(own, torch.device) else own)
                if node.kwargs.get("device") is not None:  # a device, or its name
                    node.update_kwarg("device", device)
                if node.target is torch.ops.aten.to.device:
                    node.update_arg(1, device)
            part.recompile()
    return module


def with_doubles(device: torch.device) -> torch.device:
    """The device, or the CPU for one without float64."""
    try:
        torch.empty(0, dtype=torch.float64, device=device)
    except TypeError:
        return CPU
    return device


@contextmanager
def lent(device: torch.device, *modules: nn.Module) -> Iterator[None]:
    """Networks of the CPU on another device meanwhile."""
    used = modules if device != CPU else ()
    try:
        for own in used:
            moved(own, device)
        yield
    finally:
        for own in used:
            moved(own, CPU)


def _is_elsewhere(tensor: Tensor) -> bool:
    return tensor.device.type not in ("cpu", "meta")
