"""A network with every speed-up of its chiral form that does not come from symmetry, to compare blocks with fairly.

Norms of batches are folded into the maps before them, convolutions whose windows do not overlap become products,
products go to oneDNN where layers of `chiralize.nn` do, and the graph takes its arguments without trees. Its maps stay
dense.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from torch import fx, nn
from torch.export import ExportedProgram

from chiralize.nn._product import linear
from chiralize.nn.conv import in_order, windows_are_apart
from chiralize.nn.deploy import windows
from chiralize.nn.deploy.graphs import CONVOLUTION, LINEAR, layer_at
from chiralize.nn.deploy.norms import fold_norms
from chiralize.nn.deploy.plain_calls import plain_call


def with_our_ways(program: ExportedProgram, with_layers: bool = False) -> nn.Module:
    """The network of a program in such a form; the same answers, up to rounding.

    with_layers: the chiral form has layers of `chiralize.nn`, not ops of torch alone.
    """
    graph = program.module(check_guards=False)
    assert isinstance(graph, fx.GraphModule)
    fold_norms(graph)
    nodes = [node for node in graph.graph.nodes if node.target is CONVOLUTION]
    layers = [layer_at(graph, node) for node in nodes]
    # All or none, as `windows.are_apart` asks for blocks: a single other convolution would need another order in
    # memory.
    if nodes and all(map(_is_apart, nodes, layers)):
        for node, layer in zip(nodes, layers, strict=True):
            _as_product(graph, node, layer)
    for node in graph.graph.nodes:
        if with_layers and node.target is LINEAR:
            node.target = linear
    plain_call(graph)
    graph.graph.lint()
    graph.recompile()
    return graph


def _is_apart(node: Any, layer: Any) -> bool:
    """Whether a convolution over frames has windows that do not overlap, as `windows` asks of blocks."""
    if not isinstance(layer, nn.Conv1d) or layer.groups != 1:
        return False
    shape = node.args[0].meta["val"].shape
    settings = SimpleNamespace(
        kernel=layer.kernel_size, stride=layer.stride, padding=layer.padding, dilation=layer.dilation
    )
    return len(shape) == 3 and windows_are_apart(settings, shape[-1])  # type: ignore[arg-type]


def _as_product(graph: fx.GraphModule, node: fx.Node, layer: nn.Conv1d) -> None:
    """Compute a convolution as a product, with a copy of the weight in the memory order of that product."""
    name, (x, _, *rest) = f"{node.name}_in_order", node.args
    graph.register_parameter(name, nn.Parameter(in_order(layer.weight.detach()), requires_grad=False))
    with graph.graph.inserting_before(node):
        weight = graph.graph.get_attr(name)
        args: Any = (x, weight, *(rest[:1] or [None]), layer.kernel_size[0])
        product = graph.graph.call_function(windows.product, args)
    product.meta.update(node.meta)
    node.replace_all_uses_with(product)
    graph.graph.erase_node(node)
