"""A linear map in front of a program's input and one behind each of its outputs, all of them the identity.

The network computes what it did before. But what lies between the maps may be written in another basis, since the
maps are weights, which can be fitted like all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from chiralize.graph.fixed_sizes import placeholders, unhooked

LED_IN, LED_OUT = "led_in", "led_out"
"""The names of the maps in the result."""


@dataclass(frozen=True)
class Led:
    """The axes of a tensor that a map reads and writes together, in order, and their sizes."""

    axes: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers the map reads and writes."""
        return prod(self.sizes)


def name_of_map_out(index: int) -> str:
    """The name of the map behind output `index`."""
    return f"{LED_OUT}_{index}"


def led(program: ExportedProgram, into: Led, out: Sequence[Led | None]) -> GraphModule | None:
    """The network of one input with a map in front and one behind each output; None where it has more inputs, where
    an output is returned twice, or where weights have these names.

    out: of each output; None for one that is not led out.
    """
    module = program.module(check_guards=False)
    assert isinstance(module, GraphModule)
    unhooked(module)
    inputs = placeholders(module)
    end = next(node for node in module.graph.nodes if node.op == "output")
    answers = end.all_input_nodes
    taken = {name for name, _ in [*module.named_parameters(), *module.named_buffers()]}
    names = [LED_IN, *map(name_of_map_out, range(len(out)))]
    if len(inputs) != 1 or len(answers) != len(out) or taken & set(names):
        return None
    dtype = next((tensor.dtype for tensor in module.parameters() if tensor.is_floating_point()), torch.float32)
    (pose,) = inputs
    readers = list(pose.users)
    with module.graph.inserting_before(pose.next):
        turned = _mapped(module, pose, LED_IN, into, dtype)
    for reader in readers:
        reader.replace_input_with(pose, turned)
    with module.graph.inserting_before(end):
        for name, answer, along in zip(names[1:], answers, out, strict=True):
            if along is not None:
                end.replace_input_with(answer, _mapped(module, answer, name, along, dtype))
    module.graph.lint()
    module.recompile()
    return module


def _mapped(module: GraphModule, value: Node, name: str, along: Led, dtype: torch.dtype) -> Node:
    """A value after the map of that name, whose weight is the identity.

    It is copied first: callers may lay out their numbers otherwise than the examples lie, and a graph would not look.
    """
    module.register_parameter(name, torch.nn.Parameter(torch.eye(along.size, dtype=dtype)))
    rank = value.meta["val"].ndim
    before = [axis for axis in range(rank) if axis not in along.axes]
    order = [*before, *along.axes]
    back = [order.index(axis) for axis in range(rank)]
    call = module.graph.call_function
    rows = call(torch.permute, (value, order))
    rows = call(torch.clone, (rows,), {"memory_format": torch.contiguous_format})
    rows = call(torch.flatten, (rows, -len(along.axes)))
    rows = call(torch.nn.functional.linear, (rows, module.graph.get_attr(name)))
    rows = call(torch.unflatten, (rows, -1, along.sizes))
    return call(torch.permute, (rows, back))
