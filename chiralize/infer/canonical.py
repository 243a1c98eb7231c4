"""What Python writes in parts, read as the one op that it is.

A tensor filled part by part, in a loop, is a stack or a concatenation, and so is one that grows there; parts of a
tensor that are put together again, such as all but one (`cat([x[:, :i], x[:, i + 1:]])`), are a list of its entries; a
product that is only summed up is an inner product, in which the signs of the factors have to agree, not to be absent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from chiralize.graph.model import CapturedModel, Leaf, Node, Ref
from chiralize.infer.calls import BareCalls
from chiralize.infer.taking import TAKERS, taken

_SINGLE = "aten.select_scatter.default"
_WRITES = (_SINGLE, "aten.slice_scatter.default")
_TEMPLATES = ("aten.select.int", "aten.slice.Tensor")
_WHOLE = {"aten.slice.Tensor": "self", "aten.slice_scatter.default": "src", "aten.add.Tensor": "self"}
_COPY = "aten.copy.default"
_JOIN, _LIST = "aten.cat.default", "aten.index_select.default"
_PRODUCT = "aten.mul.Tensor"
_SUMS = ("aten.sum.dim_IntList", "aten.sum.default", "aten.mean.dim", "aten.mean.default")


def canonical(captured: CapturedModel) -> tuple[CapturedModel, Mapping[str, str]]:
    """The graph with every chain of writes that fills a whole axis, and is read only at its end, as one op.

    And the nodes that were left out since they change nothing, each with the value that it was. A sum of a product that
    nothing else reads has its factors for an operand; the product stays, and nothing reads it any more.
    """
    captured, same = _without_idle(captured)
    captured = _with_whole_joins(captured)
    if not any(node.target in _WRITES for node in captured.nodes):
        return _with_inner_products(captured), same
    nodes = {node.name: node for node in captured.nodes}
    users: dict[str, list[Node]] = {}
    for node in captured.nodes:
        for ref in node.reads:
            users.setdefault(ref.name, []).append(node)
    kept = {*captured.outputs, *captured.mutations.values()}
    filled: dict[str, list[Node]] = {}
    for node in captured.nodes:
        if node.target in _WRITES and not _is_step(node, users, kept):
            whole = _filled(node, nodes, users, kept)
            if whole is not None:
                filled[node.name] = whole
    new = (one for node in captured.nodes for one in filled.get(node.name, [node]))
    return _with_inner_products(_without_dead(replace(captured, nodes=tuple(new)))), same


def _without_idle(captured: CapturedModel) -> tuple[CapturedModel, Mapping[str, str]]:
    """Reading or writing `[:]` changes nothing, nor does adding 0, as Python's `sum` does."""
    same: dict[str, str] = {}
    nodes: list[Node] = []
    shapes = {name: leaf.shape for name, leaf in captured.leaves.items()} | {
        node.name: node.shapes[0] for node in captured.nodes
    }
    for node in captured.nodes:
        node = replace(node, arguments={key: _renamed(value, same) for key, value in node.arguments.items()})
        ref = node.arguments.get(_WHOLE.get(node.target, ""))
        if isinstance(ref, Ref) and shapes[ref.name] == node.shapes[0] and _is_idle(node):
            same[node.name] = ref.name
        else:
            nodes.append(node)
    outputs = tuple(same.get(name, name) if name else None for name in captured.outputs)
    mutations = {leaf: same.get(name, name) for leaf, name in captured.mutations.items()}
    return replace(captured, nodes=tuple(nodes), outputs=outputs, mutations=mutations), same


def _with_whole_joins(captured: CapturedModel) -> CapturedModel:
    """A concatenation that only another one along the same axis reads is a part of that one: a list that a loop grows.

    The mirror may leave the whole list alone, and no beginning of it.
    """
    readers = _readers(captured)
    joins: dict[str, Node] = {}
    for node in captured.nodes:
        if node.target != _JOIN:
            continue
        own: list[Ref] = []
        for ref in node.arguments["tensors"]:
            inner = joins.get(ref.name)
            whole = inner is not None and readers[ref.name] == 1 and _dim(inner) == _dim(node)
            own += joins.pop(ref.name).arguments["tensors"] if whole else [ref]
        joins[node.name] = replace(node, arguments={**node.arguments, "tensors": own})
    nodes = (joins.get(node.name) if node.target == _JOIN else node for node in captured.nodes)
    return replace(captured, nodes=tuple(node for node in nodes if node is not None))


def _dim(join: Node) -> int:
    return join.arguments.get("dim", 0) % max(len(join.shapes[0] or ()), 1)


def _readers(captured: CapturedModel) -> Counter[str]:
    """How often every value is read, results included."""
    readers = Counter(ref.name for node in captured.nodes for ref in node.reads)
    readers.update(name for name in (*captured.outputs, *captured.mutations.values()) if name)
    return readers


def _with_inner_products(captured: CapturedModel) -> CapturedModel:
    nodes = {node.name: node for node in captured.nodes}
    readers = _readers(captured)

    def joined(node: Node) -> Node:
        product = nodes.get(node.arguments["self"].name) if node.target in _SUMS else None
        if product is None or product.target != _PRODUCT or readers[product.name] > 1 or len(product.reads) < 2:
            return node
        return replace(node, arguments={**node.arguments, "self": list(product.reads)})

    return replace(captured, nodes=tuple(map(joined, captured.nodes)))


def _is_idle(node: Node) -> bool:
    other = node.arguments.get("other", 0)
    return node.arguments.get("step", 1) == 1 and isinstance(other, (int, float)) and other == 0


def _renamed(value: Any, same: Mapping[str, str]) -> Any:
    if isinstance(value, Ref):
        return Ref(same.get(value.name, value.name))
    return [_renamed(item, same) for item in value] if isinstance(value, (list, tuple)) else value


def _is_step(node: Node, users: Mapping[str, Sequence[Node]], kept: set[str | None]) -> bool:
    """Whether the result is only written to once more: templates of what is overwritten do not count."""
    readers = users.get(node.name, [])
    writes = [user for user in readers if user.target in _WRITES and user.arguments["self"] == Ref(node.name)]
    rest = [user for user in readers if user not in writes]
    overwritten = all(user.target in _TEMPLATES and _is_template(user, users) for user in rest)
    return len(writes) == 1 and overwritten and node.name not in kept


def _is_template(node: Node, users: Mapping[str, Sequence[Node]]) -> bool:
    """A part that is only looked at for its shape, and overwritten."""
    return all(
        user.target == _COPY and user.arguments["self"] == Ref(node.name) and user.arguments["src"] != Ref(node.name)
        for user in users.get(node.name, [])
    )


def _filled(
    last: Node, nodes: Mapping[str, Node], users: Mapping[str, Sequence[Node]], kept: set[str | None]
) -> list[Node] | None:
    """The chain that ends here as one op (its last), None unless it writes every entry of one axis just once."""
    shape: list[int] = list(last.shapes[0] or ())
    dim = last.arguments.get("dim", 0) % max(len(shape), 1)
    parts: dict[tuple[int, int], tuple[Node, Ref]] = {}
    node: Node | None = last
    while node is not None:
        place, source = _place(node, shape[dim]), _source(node, nodes)
        if node.arguments.get("dim", 0) % len(shape) != dim or place is None or source is None or place in parts:
            return None
        parts[place] = node, source
        before = nodes.get(node.arguments["self"].name)
        node = before if before is not None and before.target in _WRITES and _is_step(before, users, kept) else None
    ordered = sorted(parts)
    ends = [0, *(stop for _, stop in ordered)]
    if len(parts) < 2 or ends[-1] != shape[dim] or any(start != end for (start, _), end in zip(ordered, ends)):  # noqa: B905
        return None
    writes = [parts[place] for place in ordered]
    if all(node.target == _SINGLE for node, _ in writes):
        sources = [source for _, source in writes]
        return [replace(last, target="aten.stack.default", arguments={"tensors": sources, "dim": dim})]
    rows = {
        node.name: replace(
            node, name=f"{node.name} row", target="aten.unsqueeze.default", arguments={"self": source, "dim": dim},
            shapes=((*shape[:dim], 1, *shape[dim + 1 :]),), read=frozenset({0}),
        )
        for node, source in writes
        if node.target == _SINGLE
    }  # fmt: skip
    tensors = [Ref(rows[node.name].name) if node.name in rows else source for node, source in writes]
    return [*rows.values(), replace(last, target="aten.cat.default", arguments={"tensors": tensors, "dim": dim})]


def _place(node: Node, size: int) -> tuple[int, int] | None:
    """The entries that a write replaces."""
    if node.target == _SINGLE:
        entry = node.arguments["index"] % size
        return entry, entry + 1
    start, stop, step = slice(node.arguments.get("start"), node.arguments.get("end")).indices(size)
    return (start, stop) if node.arguments.get("step", 1) == step == 1 and stop > start else None


def _source(node: Node, nodes: Mapping[str, Node]) -> Ref | None:
    """What is written, without the copy onto the part that it replaces; None if it would have to be stretched."""
    ref = node.arguments["src"]
    copy = nodes.get(ref.name)
    if copy is None or copy.target != _COPY:
        return ref
    source = copy.arguments["src"]
    own = nodes.get(source.name)
    return source if own is not None and own.shapes[0] == copy.shapes[0] else None


def unread(captured: CapturedModel) -> frozenset[str]:
    """Products that nothing reads, since they are taken together with their sum."""
    read = {ref.name for node in captured.nodes for ref in node.reads}
    products = frozenset(node.name for node in captured.nodes if node.target == _PRODUCT)
    return products - read - {*captured.outputs, *captured.mutations.values()}


def _without_dead(captured: CapturedModel, kept: frozenset[str] = frozenset()) -> CapturedModel:
    """The graph without ops that nobody reads any more."""
    wanted = {*captured.outputs, *captured.mutations.values(), *kept}
    alive: list[Node] = []
    for node in reversed(captured.nodes):
        if node.name in wanted:
            wanted.update(ref.name for ref in node.reads)
            alive.append(node)
    return replace(captured, nodes=tuple(reversed(alive)))


# ---- parts of one tensor that meet again -------------------------------------------------------------------------
def parts_joined_with(name: str, captured: CapturedModel) -> frozenset[str]:
    """Concatenations that put parts of one tensor together again, along the axis that they were taken from.

    Those of the tensor that the node `name` takes a part of, if one of them reads that.
    """
    readers = [node for node in captured.nodes if node.target == _JOIN and Ref(name) in node.reads]
    if not any(_entries(node, captured) for node in readers):
        return frozenset()
    source = next(node for node in captured.nodes if node.name == name).reads[0]
    found = {node.name: _entries(node, captured) for node in captured.nodes if node.target == _JOIN}
    return frozenset(own for own, parts in found.items() if parts is not None and parts[0] == source)


def with_selections(captured: CapturedModel, names: frozenset[str]) -> CapturedModel:
    """The graph with these concatenations as lists of the entries of what their parts were taken from."""
    if not names:
        return captured
    leaves, nodes = dict(captured.leaves), list(captured.nodes)
    for place, node in enumerate(nodes):
        found = _entries(node, captured) if node.name in names else None
        if found is not None:
            source, dim, entries = found
            index = Leaf(f"{node.name} list", "constant", (f"{node.name} list",), torch.tensor(entries), node.where)
            leaves[index.name] = replace(index, stored=False)
            arguments = {"self": source, "dim": dim, "index": Ref(index.name)}
            nodes[place] = replace(node, target=_LIST, arguments=arguments)
    return _without_dead(replace(captured, leaves=leaves, nodes=tuple(nodes)), unread(captured))


def _entries(join: Node, captured: CapturedModel) -> tuple[Ref, int, tuple[int, ...]] | None:
    """Tensor, axis and entries where all operands are parts of one tensor, taken along the axis that joins them."""
    nodes, bare = {node.name: node for node in captured.nodes}, BareCalls(captured)
    dim = _dim(join)
    sources: set[str] = set()
    entries: list[int] = []
    for ref in join.reads:
        node = nodes.get(ref.name)
        part = taken(bare(node)) if node is not None and node.target in TAKERS else None
        if node is None or part is None or part.dim != dim or part.single or len(part.entries) != 1:
            return None
        sources.add(node.reads[0].name)
        entries += part.entries[0]
    return (Ref(sources.pop()), dim, tuple(entries)) if len(sources) == 1 else None
