"""Values inside a graph that are given twice along their channels: a map where weights read them, and one behind
weights that give them. The network computes what it did before.

    "... joint channel"  ->  map in  ->  "... joint (view channel)"  ->  padded weights  ->  map out  ->  as before

A map writes "moved view" from "moved", the second view 0 at first, and the views lie along the channels, "(view
channel)"; a map out reads both, and takes the first. Weights between them are padded with zeros. All of these are
weights, which can be fitted like all others: `methods/reduce/views_inside` fits them so that the second view becomes
the mirrored one, and layers along the joints keep the joints in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from chiralize.graph.passes.leading import LED_IN, Led, after_map, float_type, name_of_map_out, others, without


@dataclass(frozen=True)
class PaddedWeight:
    """A weight that reads a doubled value, or gives one. node: its op.  axis: that of the channels.  bias: its name."""

    node: str
    name: str
    axis: int
    bias: str | None = None


@dataclass(frozen=True)
class DoubledValue:
    """A value by the name of its node. moved: what the mirror moves.  channel: the axis along which views will lie.

    weights: all that read it along the channels, or the one that gives it.
    """

    node: str
    moved: Led
    channel: int
    weights: tuple[PaddedWeight, ...]


def name_of_map_in(index: int) -> str:
    """The name of the map at the value with this number, of those that are read."""
    return f"{LED_IN}_{index}"


def doubled(
    program: ExportedProgram, read: Sequence[DoubledValue], given: Sequence[DoubledValue]
) -> GraphModule | None:
    """The network with a map at every one of these values; None where it has weights of these names, or no such nodes.

    read: values that weights read twice from there on.  given: values that weights gave twice up to there.
    """
    names = [*map(name_of_map_in, range(len(read))), *map(name_of_map_out, range(len(given)))]
    module = without(program, names)
    if module is None:
        return None
    nodes = {node.name: node for node in module.graph.nodes}
    for value in (*read, *given):
        # The values were chosen on the captured graph, whose names need not be those of this program.
        if value.node not in nodes or not all(weight.node in nodes for weight in value.weights):
            return None
    dtype = float_type(module)
    for index, value in enumerate(read):
        source = nodes[value.node]
        with module.graph.inserting_before(_following(source)):
            twice = _twice(module, source, name_of_map_in(index), value, dtype)
        for weight in value.weights:
            nodes[weight.node].replace_input_with(source, twice)
    for index, value in enumerate(given):
        source = nodes[value.node]
        readers = list(source.users)
        with module.graph.inserting_before(_following(source)):
            once = _once(module, source, name_of_map_out(index), value, dtype)
        for reader in readers:
            reader.replace_input_with(source, once)
    for value in (*read, *given):
        for weight in value.weights:
            _pad(module, weight)
    module.graph.lint()
    module.recompile()
    return module


def _following(node: Node) -> Node:
    """The first node behind one, and behind all inputs."""
    following = node.next
    while following.op == "placeholder":
        following = following.next
    return following


def _pad(module: GraphModule, padded: PaddedWeight) -> None:
    """As many zeros behind the numbers of a weight, along its channels; and of its bias."""
    for name, axis in ((padded.name, padded.axis), (padded.bias, 0)):
        if name is not None:
            owner, _, key = name.rpartition(".")
            part = module.get_submodule(owner)
            numbers = getattr(part, key).detach()
            setattr(part, key, torch.nn.Parameter(torch.cat([numbers, torch.zeros_like(numbers)], axis)))


def _twice(module: GraphModule, source: Node, name: str, value: DoubledValue, dtype: torch.dtype) -> Node:
    """A value "... moved ... channel" as "... moved ... (view channel)"."""
    size, moved, rank = value.moved.size, value.moved.axes, source.meta["val"].ndim
    # "moved view moved": the identity into the first view, 0 into the second.
    weight = torch.zeros(size, 2, size, dtype=dtype)
    weight[range(size), 0, range(size)] = 1.0
    order = [*others(rank, moved), *moved]
    rows = after_map(module, source, order, len(moved), name, weight.flatten(0, 1))
    call = module.graph.call_function
    rows = call(torch.unflatten, (rows, -1, (*value.moved.sizes, 2)))
    # The axes in their old order, the new axis of views in front of the channels, with which it is then merged.
    back = list(map(order.index, range(rank)))
    back.insert(value.channel, rank)
    return call(torch.flatten, (call(torch.permute, (rows, back)), value.channel, value.channel + 1))


def _once(module: GraphModule, source: Node, name: str, value: DoubledValue, dtype: torch.dtype) -> Node:
    """A value "... moved ... (view channel)" as "... moved ... channel"."""
    size, moved, rank = value.moved.size, value.moved.axes, source.meta["val"].ndim
    # "moved (moved view)": the first view out, the second not read.
    weight = torch.zeros(size, size, 2, dtype=dtype)
    weight[range(size), range(size), 0] = 1.0
    call = module.graph.call_function
    views = call(torch.unflatten, (source, value.channel, (2, -1)))
    before = [*others(rank, moved), *moved]
    order = list[int]()
    for axis in before:
        order.append(axis + (axis >= value.channel))  # the views have their axis in front of the channels
    rows = after_map(module, views, [*order, value.channel], len(moved) + 1, name, weight.flatten(1))
    rows = call(torch.unflatten, (rows, -1, value.moved.sizes))
    return call(torch.permute, (rows, list(map(before.index, range(rank)))))
