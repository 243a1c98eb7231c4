"""Running a captured graph op by op, so that a step can look at values in the middle of a network."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from chiralize.graph.isolation import Isolated, draws
from chiralize.graph.model import CapturedModel, Leaf, Node, Ref, Where

Values = dict[str, Any]
RUN_AS: Mapping[Any, Any] = {
    torch.ops.aten.view.default: torch.ops.aten.reshape.default,
    torch.ops.aten.copy.default: lambda own, other, *_: other.to(own.device, own.dtype).expand(own.shape),
}
"""What is run in the place of an op: values may be laid out otherwise than where the graph was made; `copy`, which
functional programs are left with, has no derivative."""
_REORDERING = {"aten.transpose.int", "aten.flatten.using_ints"}


def start(captured: CapturedModel, inputs: Sequence[torch.Tensor], weights: Mapping[str, Any] | None = None) -> Values:
    """The leaves by name, `inputs` and `weights` in the place of the graph's own."""
    values: Values = {leaf.name: leaf.tensor.detach() for leaf in captured.leaves.values()}
    values.update(weights or {})
    values.update(zip(captured.inputs, inputs, strict=bool(inputs)))
    return values


def run(
    captured: CapturedModel, read: Sequence[torch.Tensor] | Mapping[str, torch.Tensor]
) -> Iterator[tuple[str, torch.Tensor]]:
    """The values of all nodes that are single tensors, in order; none is kept longer than it is read.

    read: the inputs, or leaves by name.
    """
    values = start(captured, (), read) if isinstance(read, Mapping) else start(captured, read)
    freed = last_readers(captured.nodes, ())
    with torch.no_grad():
        for node in captured.nodes:
            values[node.name] = evaluate(node, values)
            if isinstance(values[node.name], torch.Tensor):
                yield node.name, values[node.name]
            for name in freed.get(node.name, ()):
                del values[name]


def evaluate(node: Node, values: Mapping[str, Any]) -> Any:
    """What one op returns."""
    if node.target == "getitem":
        return values[node.arguments["value"].name][node.arguments["index"]]
    if node.inner is not None:
        return _inside(node.inner, [values[ref.name] for ref in node.reads])
    op, given = overload(node.target), arguments(node, values)
    if op in RUN_AS:
        return RUN_AS[op](*given.values())
    if draws(op):
        with Isolated():
            return op(**given)
    return op(**given)


def _inside(captured: CapturedModel, operands: Sequence[torch.Tensor]) -> list[Any]:
    """The results of a stretch that is taken as one op."""
    values = start(captured, operands)
    for node in captured.nodes:
        values[node.name] = evaluate(node, values)
    return [values[name] for name in captured.outputs if name is not None]


def arguments(node: Node, values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an op by schema name, with values in the place of references."""
    return {name: _plain(value, values) for name, value in node.arguments.items()}


def _plain(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, Ref):
        return values[value.name]
    return [_plain(item, values) for item in value] if isinstance(value, (list, tuple)) else value


def settled(captured: CapturedModel, names: Collection[str]) -> CapturedModel:
    """The graph with what it makes of some weights alone as parameters of its own, stored nowhere.

    names: of those weights, in the model.  Layers that hold blocks make dense weights like this; one is called as in
    the torch layer, `module.weight`, by the module and the argument of the op that reads it. A weight whose axes are
    only put in another order stays what it is.
    """
    leaves = dict(captured.leaves)
    held = {leaf.name for leaf in leaves.values() if set(leaf.names) & set(names)}
    values: Values = {leaf.name: leaf.tensor.detach() for leaf in leaves.values() if leaf.kind == "constant"}
    values |= {name: leaves[name].tensor.detach() for name in held}
    nodes: list[Node] = []
    reordered = set(held)
    for node in captured.nodes:
        own = {ref.name for ref in node.reads}
        if own & held and own <= values.keys() and len(node.shapes) == 1 and _is_deterministic(node):
            with torch.no_grad():
                values[node.name] = evaluate(node, values)
            held.add(node.name)
            if node.target not in _REORDERING or not own <= reordered:
                continue
            reordered.add(node.name)
        nodes.append(node)
    results = [(name, name, Where()) for name in (*captured.outputs, *captured.mutations.values()) if name is not None]
    nodes = _read(nodes, {name for name, _, _ in results}, reordered)
    reads = [(name, f"{node.where.module}.{own}", node.where) for node in nodes for name, own in _named(node)]
    for name, label, where in (*reads, *results):
        if name in held and name not in leaves and name not in reordered:
            leaves[name] = Leaf(name, "parameter", (label,), values[name], where, stored=False)
    return replace(captured, leaves=leaves, nodes=tuple(nodes))


def _read(nodes: Sequence[Node], results: Collection[str], optional: Collection[str]) -> list[Node]:
    """The nodes, those in `optional` only where something reads them."""
    found: list[Node] = []
    wanted = set(results)
    for node in reversed(nodes):
        if node.name not in optional or node.name in wanted:
            found.append(node)
            wanted.update(ref.name for ref in node.reads)
    return found[::-1]


def _is_deterministic(node: Node) -> bool:
    return node.target == "getitem" or not draws(overload(node.target))


def _named(node: Node) -> Iterator[tuple[str, str]]:
    """(value, name of the argument) of what an op reads; the weights of a recurrent layer are called as torch's."""
    for argument, value in node.arguments.items():
        if isinstance(value, Ref):
            yield value.name, argument
        elif argument == "params":
            yield from zip((ref.name for ref in value), _recurrent_names(node), strict=False)
        elif isinstance(value, (list, tuple)):
            yield from ((item.name, argument) for item in value if isinstance(item, Ref))


def _recurrent_names(node: Node) -> list[str]:
    """Names of the weights of a fused recurrent op in the order of its list."""
    directions = ("", "_reverse")[: 1 + bool(node.arguments["bidirectional"])]
    layers, biases = node.arguments["num_layers"], node.arguments["has_biases"]
    each = len(node.arguments["params"]) // (layers * len(directions))
    kinds = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if biases else []), "weight_hr"][:each]
    return [f"{kind}_l{layer}{direction}" for layer in range(layers) for direction in directions for kind in kinds]


def last_readers(nodes: Sequence[Node], kept: Iterable[str]) -> dict[str, list[str]]:
    """For every node the values that nobody needs after it; those in `kept` are needed to the end."""
    last = {ref.name: node.name for node in nodes for ref in node.reads}
    held = set(kept)
    found: dict[str, list[str]] = {}
    for name, reader in last.items():
        if name not in held:
            found.setdefault(reader, []).append(name)
    return found


def overload(target: str) -> Any:
    """The torch operator called e.g. `aten.add.Tensor`."""
    namespace, name, variant = target.split(".")
    return getattr(getattr(getattr(torch.ops, namespace), name), variant)
