"""Regions: stretches of a graph taken as one op. `average` runs both views through one; rules need not look inside.

A region is one call of a submodule, or a single op of the outermost forward. It is named by the module's path and a
number, `conv_in#0` for the first stretch of ops that belong to `conv_in`, or by the op alone, `node:softmax_1`.
Names are all that a passport keeps of regions, so they have to lead to the same ops each time the network is
captured.

    linear, norm_mean, norm_sub, linear_1    with region norm#0    ->    linear, norm#0, linear_1
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from heapq import heapify, heappop, heappush

import torch

from chiralize.graph.model import CapturedModel, Leaf, Node, Ref

TARGET = "region"
_SINGLE = "node:"


def path_of(region: str) -> str:
    """The module path of a region, empty for a single op."""
    if region.startswith(_SINGLE):
        return ""
    return region.rpartition("#")[0]


def is_region(name: str) -> bool:
    """Whether a name has the form of a region's name."""
    return name.startswith(_SINGLE) or name.rpartition("#")[2].isdecimal()


def around(captured: CapturedModel, regions: Sequence[str], name: str) -> tuple[str, ...] | None:
    """The regions with one more, or a larger one, that holds the op called `name`; None where no other is possible.

    captured: the whole graph.  name: a node of it, or of the graph with the regions collapsed.
    """
    held = next((region for region in regions if name == region or name in members(captured, region)), None)
    start = captured.by_name.get(name)
    if held is None and start is None:
        return None
    # The smallest that is a proper part of the graph, can be cut out of it, and gives what has an average; regions
    # inside it are swallowed.
    for candidate in _candidates(captured, start, held):
        inside = members(captured, candidate)
        collapsed = _collapsed(captured, candidate) if inside < captured.by_name.keys() else None
        if collapsed is not None and _gives_numbers(collapsed.by_name[candidate]):
            others = (region for region in regions if not members(captured, region) <= inside)
            return (*others, candidate)
    return None


def _gives_numbers(region: Node) -> bool:
    """Whether all results of a region have an average: a place or a truth value that others read has none."""
    return all(kind is None or kind.is_floating_point or kind.is_complex for kind in region.dtypes)


def _candidates(captured: CapturedModel, start: Node | None, held: str | None) -> Iterator[str]:
    """Regions round an op, the smallest first. held: the region that holds it already, which they have to exceed.

    The op alone where no module has it; else its module's stretch, then that of the module around it, and so on
    outwards.
    """
    path, seed = "", ""
    inner: set[str] = set()
    # path: the module to begin at.  seed: an op that has to be inside.  inner: what is averaged already.
    if held is not None:
        path, inner = path_of(held), members(captured, held)
        seed = next(iter(inner), "")
    if start is not None:
        seed = start.name
        if held is None:
            path = start.where.module
            if not path:
                yield _SINGLE + start.name
    while path:
        for run, names in enumerate(_runs(captured, path)):
            # Among the stretches of one module, that which holds the op, if it holds more than is averaged already.
            if seed in names and set(names) > inner:
                yield f"{path}#{run}"
        path = path.rpartition(".")[0]


def members(captured: CapturedModel, region: str) -> set[str]:
    """The nodes of a region, by name."""
    if region.startswith(_SINGLE):
        names = {region.removeprefix(_SINGLE)}
    else:
        path, _, number = region.rpartition("#")
        runs = _runs(captured, path)
        names = set(runs[int(number)]) if int(number) < len(runs) else set()
    # Ops that take one of several results go with the op that gave them, wherever they stand.
    picks = (node for node in captured.nodes if node.target == "getitem")
    return names | {pick.name for pick in picks if pick.arguments["value"].name in names}


def _runs(captured: CapturedModel, path: str) -> list[list[str]]:
    """The stretches of successive ops that belong to a module; ops that take an output of another do not count."""
    runs: list[list[str]] = []
    inside = False
    for node in captured.nodes:
        if node.target == "getitem":
            continue
        belongs = node.where.module == path or node.where.module.startswith(path + ".")
        if belongs and not inside:
            runs.append([])
        if belongs:
            runs[-1].append(node.name)
        inside = belongs
    return runs


def collapse(captured: CapturedModel, regions: Sequence[str]) -> CapturedModel:
    """The graph with every region as one node; regions that cannot be cut out of it are left as they are."""
    for region in regions:
        captured = _collapsed(captured, region) or captured
    return captured


def _collapsed(captured: CapturedModel, region: str) -> CapturedModel | None:
    """The graph with a region as one node; None where it depends on itself from outside, or holds a state."""
    names = members(captured, region)
    inside = [node for node in captured.nodes if node.name in names]
    outside = [node for node in captured.nodes if node.name not in names]
    if not inside or names & set(captured.mutations.values()):
        return None
    read = _read_by(inside) - names
    leaves = {name: captured.leaves[name] for name in read if name in captured.leaves}
    if any(leaf.kind == "state" for leaf in leaves.values()):
        return None
    # Results: what is read outside, or returned. Inner values that nobody else reads are not seen any more.
    used = _read_by(outside) | set(captured.outputs)
    results = [node for node in inside if node.name in used and node.shapes[0] is not None]
    inner = _inner(captured, inside, results, read)
    # One node for the region; its results are taken from it under their old names, so readers do not change.
    where = replace(inside[0].where, module=path_of(region) or inside[0].where.module)
    operands = {"operands": [Ref(name) for name in inner.inputs]}
    dtypes = tuple(next(iter(node.dtypes), None) for node in results)
    call = Node(region, TARGET, operands, inner.output_shapes, frozenset(range(len(results))), where, inner, dtypes)
    picks = []
    for index, node in enumerate(results):
        arguments = {"value": Ref(region), "index": index}
        shapes, first = (node.shapes[0],), frozenset({0})
        picks.append(Node(node.name, "getitem", arguments, shapes, first, node.where, dtypes=(dtypes[index],)))
    # The region as a whole may have to come later than its first op, and what reads it later still. If it reads what
    # depends on itself (a branch that leaves and comes back), no order does.
    ordered = _sorted([call, *picks, *outside], {name: index for index, name in enumerate(captured.by_name)})
    if ordered is None:
        return None
    # Weights that only the region reads are in its inner graph now.
    needed = _read_by(ordered) | set(captured.outputs) | set(captured.mutations)
    remaining = {name: leaf for name, leaf in captured.leaves.items() if leaf.kind == "input" or name in needed}
    return replace(captured, leaves=remaining, nodes=tuple(ordered))


def _read_by(nodes: Sequence[Node]) -> set[str]:
    """Names of all values that these nodes read."""
    return set().union(*(node.names_read for node in nodes))


def _inner(captured: CapturedModel, inside: Sequence[Node], results: Sequence[Node], read: set[str]) -> CapturedModel:
    """The ops of a region as a graph of its own. read: names of the leaves and values that they take from outside."""
    inputs: dict[str, Leaf] = {}
    stored: dict[str, Leaf] = {}
    for name, leaf in captured.leaves.items():
        if name in read:
            of_kind = inputs if leaf.kind == "input" else stored
            of_kind[name] = leaf
    for node in captured.nodes:
        if node.name in read:
            inputs[node.name] = _entry(node)
    outputs = tuple(node.name for node in results)
    shapes = tuple(node.shapes[0] or () for node in results)
    return CapturedModel(inputs | stored, tuple(inside), tuple(inputs), outputs, shapes, {})


def _entry(node: Node) -> Leaf:
    """A value that flows into a region, as an input of it: its shape and dtype without its numbers."""
    tensor = torch.empty(node.shapes[0] or (), dtype=next(iter(node.dtypes), None), device="meta")
    return Leaf(node.name, "input", (node.name,), tensor)


def _sorted(nodes: Sequence[Node], positions: Mapping[str, int]) -> list[Node] | None:
    """The nodes, each after what it reads, otherwise in order; None where they read each other in a circle.

    positions: of the nodes in the graph; new nodes come as soon as they can. The ops of one module stay together, as
    `_runs` looks for them.
    """
    names = {node.name for node in nodes}
    # Kahn's algorithm: a node is ready when nothing that it reads is missing; of the ready ones the earliest in the
    # graph comes first.
    missing = {node.name: names.intersection(node.names_read) for node in nodes}
    readers: dict[str, list[int]] = {}
    for number, node in enumerate(nodes):
        for name in missing[node.name]:
            readers.setdefault(name, []).append(number)
    ready = [(positions.get(node.name, -1), number) for number, node in enumerate(nodes) if not missing[node.name]]
    heapify(ready)
    ordered: list[Node] = []
    while ready:
        done = nodes[heappop(ready)[1]]
        ordered.append(done)
        for number in readers.get(done.name, ()):
            reader = nodes[number]
            missing[reader.name].discard(done.name)
            if not missing[reader.name]:
                heappush(ready, (positions.get(reader.name, -1), number))
    if len(ordered) != len(nodes):
        return None
    return ordered


def inner_graphs(captured: CapturedModel) -> Mapping[str, CapturedModel]:
    """The graph inside every region of a collapsed graph, by the region's name."""
    return {node.name: node.inner for node in captured.nodes if node.inner is not None}
