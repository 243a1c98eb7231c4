"""A stretch of a graph taken as one op: `average` puts both views round it, and the rules need not look inside.

A region is what one call of a submodule computes, or a single op of the outermost forward. It is named by the module's
path and a number, `conv_in#0` for the first stretch of ops that belong to it, or by the op alone, `node:softmax_1`.
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
    return "" if region.startswith(_SINGLE) else region.rpartition("#")[0]


def is_region(name: str) -> bool:
    """Whether a name is one that a region can have."""
    return name.startswith(_SINGLE) or name.rpartition("#")[2].isdecimal()


def around(captured: CapturedModel, regions: Sequence[str], name: str) -> tuple[str, ...] | None:
    """The regions with one more (or a larger one) that holds the op called `name`; None where there is none left.

    captured: the whole graph.  name: a node of it, or of the graph with the regions collapsed.
    """
    held = next((region for region in regions if name == region or name in members(captured, region)), None)
    start = next((node for node in captured.nodes if node.name == name), None)
    if held is None and start is None:
        return None
    for candidate in _candidates(captured, start, held):
        inside = members(captured, candidate)
        kept = tuple(own for own in regions if not members(captured, own) <= inside)
        if inside < {node.name for node in captured.nodes} and _collapsed(captured, candidate) is not None:
            return (*kept, candidate)
    return None


def _candidates(captured: CapturedModel, start: Node | None, held: str | None) -> Iterator[str]:
    """Stretches round an op, the smallest first."""
    if held is None and start is not None and not start.where.module:
        yield _SINGLE + start.name
        return
    inner = members(captured, held) if held is not None else set()
    path = path_of(held) if held is not None else start.where.module if start else ""
    seed = start.name if start is not None else next(iter(inner), "")
    while path:
        for run, names in enumerate(_runs(captured, path)):
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
    picks = {node.name for node in captured.nodes if node.target == "getitem" and node.arguments["value"].name in names}
    return names | picks


def _runs(captured: CapturedModel, path: str) -> list[list[str]]:
    """The stretches of successive ops that belong to a module."""
    runs: list[list[str]] = []
    inside = False
    for node in captured.nodes:
        if node.target == "getitem":
            continue
        own = node.where.module == path or node.where.module.startswith(path + ".")
        if own and not inside:
            runs.append([])
        if own:
            runs[-1].append(node.name)
        inside = own
    return runs


def collapse(captured: CapturedModel, regions: Sequence[str]) -> CapturedModel:
    """The graph with every region as one node; regions that are not there are left out."""
    for region in regions:
        captured = _collapsed(captured, region) or captured
    return captured


def _collapsed(captured: CapturedModel, region: str) -> CapturedModel | None:
    """None where the region is no part that can be cut out: it depends on itself from outside, or keeps state."""
    names = members(captured, region)
    inside = [node for node in captured.nodes if node.name in names]
    outside = [node for node in captured.nodes if node.name not in names]
    if not inside or names & set(captured.mutations.values()):
        return None
    read = {ref.name for node in inside for ref in node.reads} - names
    leaves = {name: captured.leaves[name] for name in read if name in captured.leaves}
    if any(leaf.kind == "state" for leaf in leaves.values()):
        return None
    flowing = [name for name in _in_order(captured) if name in read and (
        name not in leaves or leaves[name].kind == "input")]  # fmt: skip
    shapes = {node.name: node.shapes[0] for node in captured.nodes}
    used = {ref.name for node in outside for ref in node.reads} | set(captured.outputs)
    results = [node for node in inside if node.name in used and node.shapes[0] is not None]
    entries = {name: leaves.get(name) or _entry(name, shapes[name] or ()) for name in flowing}
    inner = CapturedModel(
        {**entries, **{name: leaf for name, leaf in leaves.items() if leaf.kind != "input"}}, tuple(inside),
        tuple(flowing), tuple(node.name for node in results), tuple(node.shapes[0] or () for node in results), {},
    )  # fmt: skip
    call = Node(
        region, TARGET, {"operands": [Ref(name) for name in flowing]}, inner.output_shapes,
        frozenset(range(len(results))), replace(inside[0].where, module=path_of(region) or inside[0].where.module),
        inner,
    )  # fmt: skip
    picks = [
        Node(
            node.name, "getitem", {"value": Ref(region), "index": place}, (node.shapes[0],), frozenset({0}), node.where
        )
        for place, node in enumerate(results)
    ]
    ordered = _sorted([call, *picks, *outside], {node.name: place for place, node in enumerate(captured.nodes)})
    if ordered is None:
        return None
    needed = {ref.name for node in ordered for ref in node.reads} | set(captured.outputs) | set(captured.mutations)
    kept = {name: leaf for name, leaf in captured.leaves.items() if leaf.kind == "input" or name in needed}
    return replace(captured, leaves=kept, nodes=tuple(ordered))


def _in_order(captured: CapturedModel) -> Iterator[str]:
    yield from captured.leaves
    yield from (node.name for node in captured.nodes)


def _entry(name: str, shape: tuple[int, ...]) -> Leaf:
    """A value that flows into a region, as an input of it."""
    return Leaf(name, "input", (name,), torch.empty(shape, device="meta"))


def _sorted(nodes: Sequence[Node], places: Mapping[str, int]) -> list[Node] | None:
    """The nodes, each after what it reads, otherwise in order; None where they read each other in a circle.

    places: of the nodes in the graph; nodes that are new come as soon as they can. What one module computes stays
    together, as `_runs` finds it.
    """
    names = {node.name for node in nodes}
    missing = {node.name: {ref.name for ref in node.reads} & names for node in nodes}
    readers: dict[str, list[int]] = {}
    for number, node in enumerate(nodes):
        for name in missing[node.name]:
            readers.setdefault(name, []).append(number)
    ready = [(places.get(node.name, -1), number) for number, node in enumerate(nodes) if not missing[node.name]]
    heapify(ready)
    ordered: list[Node] = []
    while ready:
        done = nodes[heappop(ready)[1]]
        ordered.append(done)
        for number in readers.get(done.name, ()):
            reader = nodes[number]
            missing[reader.name].discard(done.name)
            if not missing[reader.name]:
                heappush(ready, (places.get(reader.name, -1), number))
    return ordered if len(ordered) == len(nodes) else None


def inner_graphs(captured: CapturedModel) -> Mapping[str, CapturedModel]:
    """What every region of a collapsed graph computes, by the region's name."""
    return {node.name: node.inner for node in captured.nodes if node.inner is not None}
