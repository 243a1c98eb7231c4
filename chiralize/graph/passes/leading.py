"""A linear map in front of a program's input and one behind each of its outputs, all of them the identity.

    x  ->  led_in = 1  ->  the network  ->  led_out_0 = 1  ->  y

The network computes what it did before. But what lies between the maps may be written in another basis, since the
maps are weights, which can be fitted like all others: `methods/reduce/joints_in_place` does so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
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
    names = [LED_IN, *map(name_of_map_out, range(len(out)))]
    module = without(program, names)
    if module is None:
        return None
    inputs = placeholders(module)
    end = next(node for node in module.graph.nodes if node.op == "output")
    answers = end.all_input_nodes
    if len(inputs) != 1 or len(answers) != len(out):
        return None
    dtype = float_type(module)
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


def without(program: ExportedProgram, names: Sequence[str]) -> GraphModule | None:
    """The program as a module to be written into; None where it has weights of these names."""
    module = program.module(check_guards=False)
    assert isinstance(module, GraphModule)
    unhooked(module)
    taken = {*dict(module.named_parameters()), *dict(module.named_buffers())}
    return module if taken.isdisjoint(names) else None


def float_type(module: GraphModule) -> torch.dtype:
    """That of its weights."""
    return next((tensor.dtype for tensor in module.parameters() if tensor.is_floating_point()), torch.float32)


def others(rank: int, moved: Sequence[int]) -> list[int]:
    """The axes of a value that are not among these."""
    return sorted({*range(rank)} - {*moved})


def after_map(module: GraphModule, value: Node, order: Sequence[int], last: int, name: str, weight: Tensor) -> Node:
    """A value with its axes in another order, the last of them as one, which a new weight "out in" maps.

    It is copied first: callers may lay out their numbers otherwise than the examples lie, and a graph would not look.
    """
    module.register_parameter(name, torch.nn.Parameter(weight))
    call = module.graph.call_function
    rows = call(torch.permute, (value, list(order)))
    rows = call(torch.clone, (rows,), {"memory_format": torch.contiguous_format})
    rows = call(torch.flatten, (rows, -last))
    return call(torch.nn.functional.linear, (rows, module.graph.get_attr(name)))


def _mapped(module: GraphModule, value: Node, name: str, along: Led, dtype: torch.dtype) -> Node:
    """A value after the map of that name, whose weight is the identity."""
    rank = value.meta["val"].ndim
    # The mapped axes last, as one; afterwards apart again, and all axes in their old order.
    order = [*others(rank, along.axes), *along.axes]
    rows = after_map(module, value, order, len(along.axes), name, torch.eye(along.size, dtype=dtype))
    call = module.graph.call_function
    rows = call(torch.unflatten, (rows, -1, along.sizes))
    return call(torch.permute, (rows, list(map(order.index, range(rank)))))
