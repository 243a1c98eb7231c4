"""Running a captured graph op by op, so that a step can look at values in the middle of a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch

from chiralize.records import CapturedModel, Node, Ref
from chiralize.rules._registry import overload

Values = dict[str, Any]


def start(captured: CapturedModel, inputs: Sequence[torch.Tensor], weights: Mapping[str, Any] | None = None) -> Values:
    """The leaves by name, `inputs` and `weights` in the place of the graph's own."""
    values: Values = {leaf.name: leaf.tensor.detach() for leaf in captured.leaves.values()}
    values.update(weights or {})
    values.update(zip(captured.inputs, inputs, strict=bool(inputs)))
    return values


def run(captured: CapturedModel, inputs: Sequence[torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """The values of all nodes that are single tensors, in order."""
    values = start(captured, inputs)
    with torch.no_grad():
        for node in captured.nodes:
            values[node.name] = evaluate(node, values)
            if isinstance(values[node.name], torch.Tensor):
                yield node.name, values[node.name]


def evaluate(node: Node, values: Mapping[str, Any]) -> Any:
    """What one op returns."""
    if node.target == "getitem":
        return values[node.arguments["value"].name][node.arguments["index"]]
    return overload(node.target)(**arguments(node, values))


def arguments(node: Node, values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an op by schema name, with values in the place of references."""

    def plain(value: Any) -> Any:
        if isinstance(value, Ref):
            return values[value.name]
        return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

    return {name: plain(value) for name, value in node.arguments.items()}


def last_readers(nodes: Sequence[Node], kept: Iterable[str]) -> dict[str, list[str]]:
    """For every node the values that nobody needs after it; those in `kept` are needed to the end."""
    last = {ref.name: node.name for node in nodes for ref in node.reads}
    held = set(kept)
    found: dict[str, list[str]] = {}
    for name, reader in last.items():
        if name not in held:
            found.setdefault(reader, []).append(name)
    return found
