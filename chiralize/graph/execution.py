"""Running a captured graph op by op, so that a step can look at values in the middle of a network.

`run` yields every value in turn and forgets it after its last reader; `settled` runs only what depends on weights.
Ops are run by their schema, so that arguments have names: {input: Ref("x")} becomes op(input=values["x"]).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch

from chiralize.graph.isolation import Isolated, draws
from chiralize.graph.model import CapturedModel, Leaf, Node, Ref, Where, refs_in

Values = dict[str, Any]


def _slice_scattered(
    base: torch.Tensor,
    part: torch.Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> torch.Tensor:
    """`slice_scatter` with its ends counted from the front."""
    size = base.shape[dim]
    # Python's own rules for negative and missing ends.
    first, last, _ = slice(start, end).indices(size)
    return torch.slice_scatter(base, part, dim, first, last, step)


RUN_AS: Mapping[Any, Any] = {
    torch.ops.aten.view.default: torch.ops.aten.reshape.default,
    torch.ops.aten._unsafe_view.default: torch.ops.aten.reshape.default,
    torch.ops.aten.copy.default: lambda old, new, *_: new.to(old.device, old.dtype).expand(old.shape),
    torch.ops.aten.detach.default: lambda value: value,
    torch.ops.aten.slice_scatter.default: _slice_scattered,
}
"""By op, what is run instead of it. `view` fails where values lie in memory otherwise than when the graph was made;
`copy`, which functional programs are left with, has no derivative, nor has `detach`, where a state leaves its step:
what runs a graph here asks how answers depend on weights, whatever training was to leave alone. Where `slice_scatter`
counts from the end, vmap does not.
"""
_REORDERING = {"aten.transpose.int", "aten.flatten.using_ints"}


def start(captured: CapturedModel, inputs: Sequence[torch.Tensor], weights: Mapping[str, Any] | None = None) -> Values:
    """Values of all leaves, by name: `inputs` and `weights` where they are given, else what the graph holds."""
    values: Values = {leaf.name: leaf.tensor.detach() for leaf in captured.leaves.values()}
    values.update(weights or {})
    # Without inputs there is nothing to pair: leaves then come by name, among the weights.
    values.update(zip(captured.inputs, inputs, strict=bool(inputs)))
    return values


def run(
    captured: CapturedModel, read: Sequence[torch.Tensor] | Mapping[str, torch.Tensor]
) -> Iterator[tuple[str, torch.Tensor]]:
    """Run a graph and yield (name, value) of every node that is a single tensor, in order.

    A value is dropped after its last reader, so that a large network needs little memory.

    read: the inputs, or leaves by name.
    """
    if isinstance(read, Mapping):
        values = start(captured, (), read)
    else:
        values = start(captured, read)
    # Results as well: who wants one takes it when it is yielded.
    freed = last_readers(captured.nodes, ())
    with torch.no_grad():
        for node in captured.nodes:
            values[node.name] = evaluate(node, values)
            if isinstance(values[node.name], torch.Tensor):
                yield node.name, values[node.name]
            for name in freed.get(node.name, ()):
                del values[name]


def evaluate(node: Node, values: Mapping[str, Any]) -> Any:
    """The result of one op, given the values that it reads, by name."""
    if node.target == "getitem":
        return values[node.arguments["value"].name][node.arguments["index"]]
    # A region returns a list, from which `getitem` nodes take its results.
    if node.inner is not None:
        return _inside(node.inner, [values[name] for name in node.names_read])
    op, keywords = overload(node.target), arguments(node, values)
    # The same numbers in every run, and none taken from the process's own generator.
    if draws(op):
        with Isolated():
            return op(**keywords)
    return called(op, keywords)


def called(op: Any, keywords: Mapping[str, Any]) -> Any:
    """The result of an op, or of what is run instead of it, for arguments in the order of its schema."""
    if op in RUN_AS:
        return RUN_AS[op](*keywords.values())
    return op(**keywords)


def _inside(captured: CapturedModel, operands: Sequence[torch.Tensor]) -> list[Any]:
    """The results of a region, which is taken as one op."""
    values = start(captured, operands)
    for node in captured.nodes:
        values[node.name] = evaluate(node, values)
    return [values[name] for name in captured.answers]


def arguments(node: Node, values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an op by schema name, with values in the place of references."""
    return with_values(node.arguments, values.__getitem__)


def with_values(arguments: Mapping[str, Any], value_of: Callable[[str], Any]) -> dict[str, Any]:
    """Arguments with what `value_of` gives for a name in the place of every reference, also within lists."""
    return {name: _filled(argument, value_of) for name, argument in arguments.items()}


def _filled(argument: Any, value_of: Callable[[str], Any]) -> Any:
    """One argument, or one entry of a list. Not a closure: one that calls itself would keep all values alive."""
    if isinstance(argument, Ref):
        return value_of(argument.name)
    if isinstance(argument, (list, tuple)):
        return [_filled(entry, value_of) for entry in argument]
    return argument


def settled(captured: CapturedModel, names: Collection[str]) -> CapturedModel:
    """The graph in which values computed from the weights `names` alone are parameters themselves.

    Layers that hold even and odd blocks make their dense weight in forward. It becomes a leaf that is stored nowhere,
    named as in the torch layer: `module.weight`, by the module and the argument of the op that reads it. A weight
    whose axes are only reordered stays what it is.
    """
    leaves = dict(captured.leaves)
    held = {leaf.name for leaf in leaves.values() if set(leaf.names) & set(names)}
    values: Values = {leaf.name: leaf.tensor.detach() for leaf in leaves.values() if leaf.kind == "constant"}
    values |= {name: leaves[name].tensor.detach() for name in held}
    nodes: list[Node] = []
    reordered = set(held)
    for node in captured.nodes:
        read = set(node.names_read)
        # Made of weights of layers (and constants) alone.
        if read & held and read <= values.keys() and len(node.shapes) == 1 and _is_deterministic(node):
            with torch.no_grad():
                values[node.name] = evaluate(node, values)
            held.add(node.name)
            # What is made of weights is a leaf, and its op goes. A reordered weight keeps its op: it stays the stored
            # one.
            if node.target not in _REORDERING or not read <= reordered:
                continue
            reordered.add(node.name)
        nodes.append(node)
    results = captured.results
    nodes = _read(nodes, results, reordered)
    # (value, the name that it gets, where it is read).
    labels: list[tuple[str, str, Where]] = []
    for node in nodes:
        labels.extend((name, f"{node.where.module}.{argument}", node.where) for name, argument in _named(node))
    labels.extend((name, name, Where()) for name in results)
    for name, label, where in labels:
        # The first label wins: once a value is a leaf, later readers do not rename it.
        if name in held and name not in leaves and name not in reordered:
            leaves[name] = Leaf(name, "parameter", (label,), values[name], where, stored=False)
    return replace(captured, leaves=leaves, nodes=tuple(nodes))


def _read(nodes: Sequence[Node], results: Collection[str], optional: Collection[str]) -> list[Node]:
    """The nodes in order, those in `optional` only where something reads them. results: names that are read at the
    end.
    """
    needed: list[Node] = []
    wanted = set(results)
    for node in reversed(nodes):
        if node.name not in optional or node.name in wanted:
            needed.append(node)
            wanted.update(node.names_read)
    return needed[::-1]


def _is_deterministic(node: Node) -> bool:
    """Whether a node gives the same result each time."""
    return node.target == "getitem" or not draws(overload(node.target))


def _named(node: Node) -> Iterator[tuple[str, str]]:
    """(value, name of the argument) of what an op reads; the weights of a recurrent layer are called as torch's."""
    for argument, value in node.arguments.items():
        if argument == "params" and not isinstance(value, Ref):
            yield from zip((ref.name for ref in value), _recurrent_names(node), strict=False)
        else:
            yield from ((ref.name, argument) for ref in refs_in([value]))


def _recurrent_names(node: Node) -> list[str]:
    """Names of the weights of a fused recurrent op in the order of its list, such as `weight_ih_l0_reverse`."""
    directions = ("", "_reverse")[: 1 + bool(node.arguments["bidirectional"])]
    layers, biases = node.arguments["num_layers"], node.arguments["has_biases"]
    # Weights of one layer and direction: two, four with biases, and one more where there is a projection.
    each = len(node.arguments["params"]) // (layers * len(directions))
    kinds = ["weight_ih", "weight_hh"]
    if biases:
        kinds += ["bias_ih", "bias_hh"]
    kinds = [*kinds, "weight_hr"][:each]  # the last one only where the hidden state is projected
    return [f"{kind}_l{layer}{direction}" for layer in range(layers) for direction in directions for kind in kinds]


def last_readers(nodes: Sequence[Node], results: Iterable[str]) -> dict[str, list[str]]:
    """By node, the values that nobody reads after it; `results` are needed to the end and are left out."""
    last: dict[str, str] = {}
    for node in nodes:
        last |= dict.fromkeys(node.names_read, node.name)
    for name in results:
        last.pop(name, None)
    return by_reader(last)


def by_reader(last: Mapping[str, str]) -> dict[str, list[str]]:
    """By node, the values whose last reader it is. last: the last reader of every value."""
    freed: dict[str, list[str]] = {}
    for name, reader in last.items():
        freed.setdefault(reader, []).append(name)
    return freed


def arguments_of(node: torch.fx.Node) -> dict[str, Any]:
    """The arguments of a call that are given, by the names of its schema."""
    schema = node.target._schema  # type: ignore[union-attr]
    named = dict(zip((argument.name for argument in schema.arguments), node.args, strict=False))
    return {**named, **node.kwargs}


def out_of_place(target: str) -> str:
    """The name of the op that returns what another one writes: of aten.relu_.default that of aten.relu; else as it is.

    >>> out_of_place("aten.relu_.default")
    'aten.relu.default'
    """
    namespace, _, rest = target.partition(".")
    name, _, variant = rest.partition(".")
    if variant and not name.endswith("__"):
        return f"{namespace}.{name.removesuffix('_')}.{variant}"
    return target


@cache
def overload(target: str) -> Any:
    """The torch operator of a name such as `aten.add.Tensor`."""
    namespace, name, variant = target.split(".")
    return getattr(getattr(getattr(torch.ops, namespace), name), variant)
