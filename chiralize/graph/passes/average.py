"""Local averaging: both views of the input run through one stretch of a network, the rest stays single.

Where a submodule m cannot commute with T (LayerNorm over entries that carry signs, a convolution along the joint
axis), (m(x) + T m(T x)) / 2 does, for any m. Only that stretch costs twice.
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
    """T on a tensor whose leading factors of an axis (a batch merged into it) may have any size.

    Where an axis has the size that it was recorded with, for good, it is one gather along the whole of it.
    """

    def __init__(self, representation: TensorRepresentation) -> None:
        super().__init__()
        self.sign = float(representation.sign)
        self.places: list[tuple[int, bool, bool]] = []
        for place, axis in enumerate(representation.axes):
            if axis.moving:
                action = axis.moving[0].kronecker(*axis.moving[1:])
                self.places.append((place, action.size < axis.size, action.is_sign_free))
                self.register_buffer(f"partner_{place}", torch.tensor(action.partner), persistent=False)
                self.register_buffer(f"sign_{place}", torch.tensor(action.sign), persistent=False)
                starts = torch.arange(0, axis.size, action.size)[:, None]
                self.register_buffer(
                    f"whole_{place}", (starts + torch.tensor(action.partner)).flatten(), persistent=False
                )

    def forward(self, tensor: Tensor) -> Tensor:
        for place, led, sign_free in self.places:
            partner, sign, whole = (self._buffers[f"{name}_{place}"] for name in ("partner", "sign", "whole"))
            assert partner is not None and sign is not None and whole is not None
            size = tensor.shape[place]
            if led and type(size) is int and size == len(whole):  # not so where it is open
                led, partner, sign = False, whole, sign.repeat(len(whole) // len(partner))
            rows = tensor.unflatten(place, (-1, len(partner))) if led else tensor
            rows = rows.index_select(place + led, partner)
            if not sign_free:
                rows = rows * sign.to(tensor.dtype).reshape([-1] + [1] * (rows.ndim - place - led - 1))
            tensor = rows.flatten(place, place + 1) if led else rows
        return -tensor if self.sign < 0 else tensor


class Averaged(nn.Module):
    """(m(x) + T m(T x)) / 2 for a graph m of several inputs and outputs.

    inputs: representation per argument, None for weights and sizes, which both views share.
    """

    def __init__(
        self,
        inner: fx.GraphModule,
        inputs: Sequence[TensorRepresentation | None],
        outputs: Sequence[TensorRepresentation],
    ) -> None:
        super().__init__()
        self.inner = inner
        self.turn_inputs = nn.ModuleList([nn.Identity() if rep is None else Turned(rep) for rep in inputs])
        self.turn_outputs = nn.ModuleList([Turned(rep) for rep in outputs])

    def forward(self, *values: Any) -> tuple[Tensor, ...]:
        first = self.inner(*values)
        second = self.inner(*(turn(value) for turn, value in zip(self.turn_inputs, values, strict=True)))
        pairs = zip(self.turn_outputs, first, second, strict=True)
        return tuple(0.5 * (ours + turn(theirs)) for turn, ours, theirs in pairs)


def average(
    module: fx.GraphModule,
    regions: Mapping[str, tuple[Collection[str], Sequence[str], Sequence[str], Representations]],
) -> fx.GraphModule:
    """Put both views round stretches of a graph, in place; returns the module.

    regions: (ops, values that flow in, values that flow out, their representations), by node names, under the name
    that the stretch gets in the result.
    """
    dead = dead_calls(module.graph)
    for node in reversed(list(module.graph.nodes)):
        if node.name in dead:
            module.graph.erase_node(node)
    for name, (ops, entries, results, (inputs, outputs)) in regions.items():
        nodes = {node.name: node for node in module.graph.nodes}
        inside = [node for node in module.graph.nodes if node.name in ops]
        outer = list(dict.fromkeys(other for node in inside for other in node.all_input_nodes if other.name not in ops))
        known = dict(zip(entries, inputs, strict=True))
        turned = [known.get(node.name) for node in outer]
        inner = _extracted(inside, outer, [nodes[result] for result in results])
        module.add_submodule(name, Averaged(inner, turned, outputs))
        with module.graph.inserting_after(inside[-1]):
            call = module.graph.call_module(name, tuple(outer))
        after = call
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
    return values[index]


def _extracted(inside: Sequence[fx.Node], outer: Sequence[fx.Node], results: Sequence[fx.Node]) -> fx.GraphModule:
    """Some nodes as a module of their own; what they read comes as arguments."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {node: graph.placeholder(f"value_{place}") for place, node in enumerate(outer)}
    for node in inside:
        copies[node] = graph.node_copy(node, lambda other: copies[other])
    graph.output(tuple(copies[node] for node in results))
    return fx.GraphModule({}, graph)
