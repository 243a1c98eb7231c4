"""Networks of chiral layers: what their own records say of the weights, for the certificate to check.

The parameters of such a layer are coordinates, of which T moves none. What it makes of them alone (the dense weights of
a recurrent layer, the statistics of a normalisation) is a weight of the graph, under the name and the representation
that the layer has for it. The certificate looks at it as at any other weight: a record that is wrong fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from chiralize.execution import Values, evaluate
from chiralize.nn import ChiralModule
from chiralize.records import CapturedModel, Leaf, Node
from chiralize.representation import TensorRepresentation
from chiralize.rules._registry import overload
from chiralize.subject import Subject

Representations = dict[str, TensorRepresentation]


def with_layers(subject: Subject) -> tuple[Subject, Representations]:
    """The subject, dense weights in the place of what makes them, and the representations that its layers record."""
    layers = {name: layer for name, layer in subject.module.named_modules() if isinstance(layer, ChiralModule)}
    captured = subject.captured
    if captured is None or not layers:
        return subject, {}
    known = {
        _joined(prefix, name): TensorRepresentation.trivial(own.shape)
        for prefix, layer in layers.items()
        for name, own in layer.state_dict(keep_vars=True).items()
    }
    tables = {_joined(prefix, name) for prefix, layer in layers.items() for name, _ in layer.named_buffers()}
    captured, dense = _with_dense(captured, layers, tables | known.keys())
    return replace(subject, captured=captured), {**known, **dense}


def _with_dense(
    captured: CapturedModel, layers: Mapping[str, ChiralModule], own: Set[str]
) -> tuple[CapturedModel, Representations]:
    """The graph with a leaf for every value that follows from the layers' own tensors, and what is known of those."""
    ours = [leaf for leaf in captured.leaves.values() if leaf.is_weight and own & set(leaf.names)]
    values: Values = {leaf.name: leaf.tensor.detach() for leaf in captured.leaves.values() if leaf.kind == "constant"}
    values |= {leaf.name: leaf.tensor.detach() for leaf in ours}
    sources = {leaf.name: leaf.names[0] for leaf in ours}
    kept: list[Node] = []
    made: dict[str, Node] = {}
    with torch.no_grad():
        for node in captured.nodes:
            found = [sources[ref.name] for ref in node.reads if ref.name in sources]
            if found and all(ref.name in values for ref in node.reads) and _is_deterministic(node):
                values[node.name], sources[node.name], made[node.name] = evaluate(node, values), found[0], node
            else:
                kept.append(node)
    wanted = {ref.name for node in kept for ref in node.reads} | {name for name in captured.outputs if name}
    leaves, known = dict(captured.leaves), {}
    records = {prefix: _Record(prefix, layer) for prefix, layer in layers.items()}
    for name in filter(wanted.__contains__, made):
        within = [record for prefix, record in records.items() if sources[name].startswith(_joined(prefix, ""))]
        label, representation = next(filter(None, (record.of(values[name]) for record in within)), (name, None))
        leaves[name] = Leaf(name, "parameter", (label,), values[name], made[name].where, stored=False)
        known |= {} if representation is None else {label: representation}
    return replace(captured, leaves=leaves, nodes=tuple(kept)), known


class _Record:
    """What a layer says of its dense weights."""

    def __init__(self, prefix: str, layer: ChiralModule) -> None:
        self.prefix, self.layer = prefix, layer

    @cached_property
    def dense(self) -> list[tuple[str, Tensor, TensorRepresentation]]:
        """Name, value and representation of each."""
        reps = self.layer.dense_representations()
        with torch.no_grad():
            return [(name, value, reps[name]) for name, value in self.layer.dense().items() if name in reps]

    def of(self, value: Tensor) -> tuple[str, TensorRepresentation] | None:
        """The name and the representation of a dense weight of this layer; None for any other value."""
        for name, own, representation in self.dense:
            if own.dtype == value.dtype and torch.equal(own, value):
                return _joined(self.prefix, name), representation
        return None


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _is_deterministic(node: Node) -> bool:
    return node.target == "getitem" or torch.Tag.nondeterministic_seeded not in overload(node.target).tags
