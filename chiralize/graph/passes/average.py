"""Local averaging: both views of the input run through one stretch of a network, the rest stays single.

Where a submodule m cannot commute with T (LayerNorm over entries that carry signs, a convolution along the joint
axis), (m(x) + T m(T x)) / 2 does, for any m. Only that stretch costs twice. In the graph, its ops go into a module
of their own:

    linear, norm, linear_1    ->    linear, Averaged(norm), linear_1
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from chiralize.graph.tracing import dead_calls
from chiralize.symmetry.representation import TensorRepresentation

Representations = tuple[Sequence[TensorRepresentation], Sequence[TensorRepresentation]]


class Turned(nn.Module):
    """T on a tensor. Other factors that lead an axis (a batch merged into it) may have any size.

    An axis that always has the size which it was recorded with is gathered at once, along the whole of it.
    axes: (index of an axis that T moves, whether other factors lead it, whether T negates none of its entries).
    """

    def __init__(self, representation: TensorRepresentation) -> None:
        super().__init__()
        self.sign = float(representation.sign)
        self.axes: list[tuple[int, bool, bool]] = []
        for index, axis in enumerate(representation.axes):
            if axis.moving:
                # The part of the axis that T moves; where it is smaller than the axis, other factors lead it: "(led
                # moved)".
                action = axis.moving[0].kronecker(*axis.moving[1:])
                self.axes.append((index, action.size < axis.size, action.is_sign_free))
                partner = torch.tensor(action.partner)
                # Partners along the whole axis: those of each repetition, shifted to its place.
                whole = torch.arange(0, axis.size, action.size)[:, None] + partner
                self.register_buffer(f"partner_{index}", partner, persistent=False)
                self.register_buffer(f"sign_{index}", torch.tensor(action.sign), persistent=False)
                self.register_buffer(f"whole_{index}", whole.flatten(), persistent=False)

    def forward(self, tensor: Tensor) -> Tensor:
        """T applied to a tensor, axis by axis."""
        for index, led, sign_free in self.axes:
            buffers = self._buffers
            partner, sign, whole = buffers[f"partner_{index}"], buffers[f"sign_{index}"], buffers[f"whole_{index}"]
            assert partner is not None and sign is not None and whole is not None
            size = tensor.shape[index]
            if led and type(size) is int and size == len(whole):  # an open size is no int
                led, partner, sign = False, whole, sign.repeat(len(whole) // len(partner))
            if led:
                rows = tensor.unflatten(index, (-1, len(partner)))
            else:
                rows = tensor
            rows = rows.index_select(index + led, partner)
            if not sign_free:
                rows = rows * sign.to(tensor.dtype).reshape([-1] + [1] * (rows.ndim - index - led - 1))
            tensor = rows.flatten(index, index + 1) if led else rows
        return -tensor if self.sign < 0 else tensor


class Averaged(nn.Module):
    """(m(x) + T m(T x)) / 2 for a graph m of several inputs and outputs.

    inputs: representation per argument, None for weights and sizes, which both views share.  outputs: per result.
    """

    def __init__(
        self,
        inner: fx.GraphModule,
        inputs: Sequence[TensorRepresentation | None],
        outputs: Sequence[TensorRepresentation],
    ) -> None:
        super().__init__()
        self.inner = inner
        self.turn_inputs = nn.ModuleList()
        for rep in inputs:
            self.turn_inputs.append(nn.Identity() if rep is None else Turned(rep))
        self.turn_outputs = nn.ModuleList(map(Turned, outputs))

    def forward(self, *values: Any) -> tuple[Tensor, ...]:
        """The average of both views, output by output."""
        first = self.inner(*values)
        second = self.inner(*(turn(value) for turn, value in zip(self.turn_inputs, values, strict=True)))
        pairs = zip(self.turn_outputs, first, second, strict=True)
        return tuple(0.5 * (ours + turn(theirs)) for turn, ours, theirs in pairs)


def average(
    module: fx.GraphModule,
    regions: Mapping[str, tuple[Collection[str], Sequence[str], Sequence[str], Representations]],
) -> fx.GraphModule:
    """Run both views through stretches of a graph, changed in place; returns the module.

    regions: by the name that a stretch gets in the result, (names of its ops, of the values that flow in, of those
    that flow out, their representations).
    """
    dead = dead_calls(module.graph)
    for node in reversed(list(module.graph.nodes)):
        if node.name in dead:
            module.graph.erase_node(node)
    for name, (ops, entries, results, (inputs, outputs)) in regions.items():
        nodes = {node.name: node for node in module.graph.nodes}
        inside = [node for node in module.graph.nodes if node.name in ops]
        # What flows in, in the order in which it is read: values, and weights too.
        read: dict[fx.Node, None] = {}
        for node in inside:
            read |= dict.fromkeys(other for other in node.all_input_nodes if other.name not in ops)
        outer = list(read)
        known = dict(zip(entries, inputs, strict=True))
        inner = _extracted(inside, outer, [nodes[result] for result in results])
        module.add_submodule(name, Averaged(inner, [known.get(node.name) for node in outer], outputs))
        with module.graph.inserting_after(inside[-1]):
            call = module.graph.call_module(name, tuple(outer))
        after = call
        # Readers outside take the results from the call; then nothing reads the old ops.
        for index, result in enumerate(results):
            with module.graph.inserting_after(after):
                after = module.graph.call_function(_item, (call, index))
            nodes[result].replace_all_uses_with(after)
        for node in reversed(inside):
            module.graph.erase_node(node)
    module.graph.lint()
    module.recompile()
    return module


def _item(values: Sequence[Tensor], index: int) -> Tensor:
    """One result of a call."""
    return values[index]


def _extracted(inside: Sequence[fx.Node], outer: Sequence[fx.Node], results: Sequence[fx.Node]) -> fx.GraphModule:
    """Some nodes as a module of their own; its arguments are the values that they read from other nodes."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {node: graph.placeholder(f"value_{index}") for index, node in enumerate(outer)}
    for node in inside:
        copies[node] = graph.node_copy(node, lambda other: copies[other])
    graph.output(tuple(copies[node] for node in results))
    return fx.GraphModule({}, graph)
