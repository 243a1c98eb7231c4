"""How does T act on the weights of a network that holds chiral layers? By the layers' records, for a proof to check.

The parameters of such a layer are coordinates, of which T moves none. What it makes of them (the dense weights of a
recurrent layer, the statistics of a normalisation) is a weight of the graph, under the name and the representation that
torch's layer has for it:

    norm.weight_even  ->  index_select  ->  batch_norm(weight=...)        becomes        norm.weight  ->  batch_norm

A proof looks at it as at any other weight: a record that is wrong fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from chiralize.graph.execution import evaluate
from chiralize.graph.model import CapturedModel, Leaf, Node, Ref
from chiralize.nn.module import ChiralModule, prefixed
from chiralize.symmetry.representation import TensorRepresentation

Known = dict[str, TensorRepresentation]


def with_layers(captured: CapturedModel, module: nn.Module) -> tuple[CapturedModel, Known]:
    """The graph with weights in place of the ops that compute them, and how T acts on the weights of chiral layers.

    captured: the graph of `module`. Without such layers it is the same graph, and nothing is known.
    """
    known: Known = {}
    blocks: set[str] = set()
    tables: set[str] = set()
    for path, layer in module.named_modules(remove_duplicate=False):
        if isinstance(layer, ChiralModule):
            prefix = f"{path}." if path else ""
            shapes = {f"{prefix}{name}": tensor.shape for name, tensor in layer.state_dict().items() if tensor.ndim}
            blocks |= shapes.keys()
            tables |= {f"{prefix}{name}" for name, _ in layer.named_buffers()}
            known |= prefixed(prefix, layer.dense_representations())
            known |= {name: TensorRepresentation.trivial(shape) for name, shape in shapes.items()}
    return (_settled(captured, blocks, tables) if blocks else captured), known


def _settled(captured: CapturedModel, blocks: set[str], tables: set[str]) -> CapturedModel:
    """The graph in which values computed from blocks (and constants) alone are parameters, which are stored nowhere.

    tables: buffers of the layers, which hold how T moves entries.
    """
    leaves = dict(captured.leaves)
    held = {leaf.name for leaf in leaves.values() if blocks.intersection(leaf.names)}
    still = {leaf.name for leaf in leaves.values() if leaf.kind == "constant" or tables.intersection(leaf.names)}
    values = {name: leaf.tensor.detach() for name, leaf in leaves.items() if name in held | still}
    nodes: list[Node] = []
    for node in captured.nodes:
        read = set(node.names_read)
        if read & held and read <= values.keys() and len(node.shapes) == 1:
            with torch.no_grad():
                values[node.name] = evaluate(node, values)
            held.add(node.name)
        else:
            nodes.append(node)
    for node in nodes:
        for name, argument in _arguments(node):
            # The first label holds: once a value is a leaf, later readers do not rename it.
            if name in held and name not in leaves:
                label = f"{node.where.module}.{argument}" if node.where.module else argument
                leaves[name] = Leaf(name, "parameter", (label,), values[name], node.where, stored=False)
    return replace(captured, leaves=leaves, nodes=tuple(nodes))


def _arguments(node: Node) -> Iterator[tuple[str, str]]:
    """(value, name of the argument) of what an op reads; the weights of a recurrent layer are called as torch's."""
    for argument, value in node.arguments.items():
        if argument == "params" and not isinstance(value, Ref):
            yield from zip((ref.name for ref in value), _recurrent_names(node), strict=False)
        else:
            yield from ((name, argument) for name in _names_in(value))


def _names_in(value: Any) -> Sequence[str]:
    """The values that an argument names: itself, or the entries of a list."""
    entries = value if isinstance(value, (list, tuple)) else [value]
    return [entry.name for entry in entries if isinstance(entry, Ref)]


def _recurrent_names(node: Node) -> list[str]:
    """Names of the weights of a fused recurrent op in the order of its list, such as `weight_ih_l0_reverse`."""
    directions = ("", "_reverse")[: 1 + bool(node.arguments["bidirectional"])]
    layers, biases = node.arguments["num_layers"], node.arguments["has_biases"]
    # Weights of one layer and direction: two, four with biases, and one more where there is a projection.
    each = len(node.arguments["params"]) // (layers * len(directions))
    kinds = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if biases else []), "weight_hr"][:each]
    suffixes = [f"l{layer}{direction}" for layer in range(layers) for direction in directions]
    return [f"{kind}_{suffix}" for suffix in suffixes for kind in kinds]
