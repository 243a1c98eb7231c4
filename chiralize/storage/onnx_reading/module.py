"""An ONNX graph as a module: every node a submodule of its own name, every weight under its own name.

`reading` makes it; torch.export then captures it like any other network.  A node is a submodule, since torch.export
notes for every op the submodule that it comes from: so messages and reports name the node of the file.  A file with
the node `/first/MatMul` and the weight `first.weight` becomes a module with `nodes.first_MatMul` and `first.weight`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import Tensor, nn

from chiralize.storage.onnx_reading import movement, pointwise, products, recurrent
from chiralize.storage.onnx_reading.call import NodeCall, Operator
from chiralize.storage.onnx_reading.sizes import Numbers, arithmetic, as_tensor, is_numbers

OPERATORS: Mapping[str, Operator] = {
    **pointwise.OPERATORS,
    **movement.OPERATORS,
    **products.OPERATORS,
    **recurrent.OPERATORS,
}


def run(call: NodeCall, values: Sequence[Any]) -> tuple[Any, ...]:
    """The results of a node. Numbers that sizes are computed from stay Python's. Raises CaptureError.

    values: of its inputs, in their order, None where one is left out.
    """
    on_numbers = arithmetic(call.kind, call.get("fmod", 0))
    if on_numbers is not None and all(map(is_numbers, values)):
        call.check_numbers(prod(np.broadcast_shapes(*[value.shape for value in values])))
        result = on_numbers(*values)
        # Python's whole numbers have no end: one that is squared forty times fills the memory.
        call.require(all(map(_is_held, result.flat)), "it computes a whole number that 64 bits do not hold")
        return (result,)
    result = OPERATORS[call.kind](call, values)
    if isinstance(result, tuple):
        return result
    return (result,)


def _is_held(number: Any) -> bool:
    """Whether a number fits into an int64; all but Python's whole numbers do."""
    return not isinstance(number, int) or -(2**63) <= number < 2**63


class NodeModule(nn.Module):
    """One node, so that a graph says of each of its ops which node it comes from."""

    def __init__(self, call: NodeCall) -> None:
        super().__init__()
        self.call = call

    def forward(self, *values: Any) -> tuple[Any, ...]:
        """All results of the node."""
        return run(self.call, values)

    def extra_repr(self) -> str:
        """The operator, as it is printed."""
        return self.call.kind


@dataclass(frozen=True)
class Step:
    """A node and the names of what it reads ("" for what is left out) and gives."""

    call: NodeCall
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class OnnxModule(nn.Module):
    """The graph of an ONNX file in torch. It returns a dictionary of its outputs, under their names.

    parameters, buffers: stored tensors by their names in the graph.  numbers: those that sizes are computed from.
    titles: names for those that have one of an exporter's.  metadata: texts of the file.  sizes: of every input, as
    the file declares them, texts where it leaves one open.
    """

    metadata: Mapping[str, str] = MappingProxyType({})
    sizes: Sequence[tuple[int | str, ...]] = ()

    def __init__(
        self,
        steps: Sequence[Step],
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        numbers: Mapping[str, Numbers],
        inputs: Sequence[str],
        outputs: Sequence[str],
        titles: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self.numbers = dict(numbers)
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        # Names in the graph may hold any character: `paths` says under which path of this module each tensor is.
        self.paths: dict[str, str] = {}
        for name, tensor in parameters.items():
            self.paths[name] = _register(self, titles.get(name, name), nn.Parameter(tensor))
        for name, tensor in buffers.items():
            self.paths[name] = _register(self, titles.get(name, name), tensor)
        self.steps: list[tuple[str, Step]] = []
        nodes: dict[str, nn.Module] = {}
        for step in steps:
            # The name of the submodule of a node: `/first/MatMul` becomes first_MatMul.
            key = _free(re.sub(r"\W+", "_", step.call.name).strip("_") or step.call.kind, nodes)
            nodes[key] = NodeModule(step.call)
            self.steps.append((key, step))
        self.nodes = nn.ModuleDict(nodes)

    def forward(self, *tensors: Tensor, **named: Tensor) -> dict[str, Tensor]:
        """All outputs by name."""
        rest = iter(tensors)
        values: dict[str, Any] = {}  # of inputs, stored values and results so far, by their names in the graph
        for name in self.inputs:
            known = identifier(name)
            values[name] = named[known] if known in named else next(rest)
        values.update(self.numbers)
        for name, path in self.paths.items():
            values[name] = _at(self, path)
        # Steps stand in an order in which each value is computed before it is read.
        for key, step in self.steps:
            read = [values.get(name) for name in step.inputs]  # what is left out has no name, and no value
            values.update(zip(step.outputs, self.nodes[key](*read), strict=False))
        return {identifier(name): as_tensor(values[name]) for name in self.outputs}


def with_names(inputs: Sequence[str]) -> type[OnnxModule]:
    """The class whose forward has the names of these inputs, which programs and files made of it take over.

    It is OnnxModule itself where two inputs have one name in Python.
    """
    names = [identifier(name) for name in inputs]
    if len(set(names)) < len(names):
        return OnnxModule

    def forward(self: OnnxModule, *tensors: Tensor, **named: Tensor) -> dict[str, Tensor]:
        """All outputs by name."""
        return OnnxModule.forward(self, *tensors, **named)

    first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    forward.__signature__ = inspect.Signature([first, *parameters])  # type: ignore[attr-defined]
    return type(OnnxModule.__name__, (OnnxModule,), {"forward": forward, "__doc__": OnnxModule.__doc__})


def identifier(name: str) -> str:
    """A name of the graph as one that Python takes: `in-1` becomes `in_1`, `0` becomes `_0`."""
    plain = re.sub(r"\W", "_", name)
    if plain.isidentifier():
        return plain
    return f"_{plain}"


def _free(wish: str, taken: Mapping[str, Any]) -> str:
    """A name for a submodule that no other has, and no attribute of a table of modules."""
    name = wish if not hasattr(nn.ModuleDict, wish) else f"{wish}_"
    number = 1
    while name in taken:
        number += 1
        name = f"{wish}_{number}"
    return name


def _register(root: nn.Module, name: str, tensor: Tensor) -> str:
    """Put a tensor into a module under the path that its name says; returns the path.

    `layers.0.weight` gets submodules `layers` and `layers.0`.  A name that would meet something else (`forward`, or a
    tensor `layers` where there is a submodule `layers`) becomes one word, with as many `_` behind it as it takes.
    """
    path = [re.sub(r"\W", "_", part) or "_" for part in name.split(".")]  # torch allows neither "" nor dots in a part
    if not _fits(root, path):
        path = ["_".join(path)]
        while not _fits(root, path):
            path = [f"{path[0]}_"]
    owner = root
    for part in path[:-1]:
        if part not in owner._modules:
            owner.add_module(part, nn.Module())
        owner = owner.get_submodule(part)
    if isinstance(tensor, nn.Parameter):
        owner.register_parameter(path[-1], tensor)
    else:
        owner.register_buffer(path[-1], tensor)
    return ".".join(path)


def _fits(root: nn.Module, path: Sequence[str]) -> bool:
    """Whether a path leads through modules alone, to something that is not there yet.

    `nodes` is left free: the submodules of the nodes are put there when all tensors have theirs.
    """
    owner: nn.Module = root
    for part in path[:-1]:
        if part not in owner._modules:  # from here on submodules would be new, with no attributes but a module's
            return not hasattr(owner, part) and part != "nodes" and not hasattr(nn.Module, path[-1])
        owner = owner.get_submodule(part)
    return not hasattr(owner, path[-1]) and path[-1] != "nodes"


def _at(module: nn.Module, path: str) -> Tensor:
    owner, _, name = path.rpartition(".")
    return getattr(module.get_submodule(owner), name)
