"""Ops that Python writes in parts, read as the one op that they are.

A tensor filled part by part, in a loop, is a stack or a concatenation, and so is one that grows there. Parts of a
tensor that are put together again, such as all but one (`cat([x[:, :i], x[:, i + 1:]])`), are a list of its entries. A
product that is only summed up is an inner product, in which the signs of the factors have to agree, not to be absent.

    as it is written                                        as it is read
    out[:, 0] = left; out[:, 1] = right                     out = stack([left, right], 1)
    xs = cat([xs, x_1], 1); xs = cat([xs, x_2], 1)          xs = cat([xs, x_1, x_2], 1)
    (a * b).sum(-1)                                         sum([a, b]): the rule of a sum takes both factors
    cat([x[:, :i], x[:, i + 1:]], 1)                        x[:, [0, ..., i - 1, i + 1, ...]] (`with_selections`)

Each op by itself would have to be equivariant; as a whole more is possible. A tensor in which only the left arm has
been written is not symmetric, the finished one is. `Inference` reads every graph like this before its rules run; the
network itself stays as it is. The last form is a repair, tried where a graph is refused without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, pairwise
from typing import Any

import torch

from chiralize.graph.model import CapturedModel, Leaf, Node, Ref
from chiralize.graph.traits import Entry, Join, Overwrite, Scaling, Slice, Sum, Total, Trait, Write
from chiralize.graph.written import CAT, INDEX_SELECT, STACK, UNSQUEEZE
from chiralize.infer.calls import BareCalls, names_read, shapes_by_name
from chiralize.infer.registry import traits
from chiralize.infer.taking import taken, takes

_EMPTY = (0,)
"""The shape of an empty vector."""


def canonical(captured: CapturedModel) -> tuple[CapturedModel, Mapping[str, str]]:
    """The graph with every chain of writes that fills a whole axis, and is read only at its end, as one op.

    And the nodes that were left out since they change nothing, each with the value that it was. A sum of a product that
    nothing else reads has its factors for an operand; the product stays, and nothing reads it any more.
    """
    # Idle ops first: x[:] between two writes would be a second reader of the first one's result.
    captured, same = _without_idle(captured)
    captured = _with_whole_joins(captured)
    if not any(map(_is_write, captured.nodes)):
        return _with_inner_products(captured), same
    nodes = captured.by_name
    users: dict[str, list[Node]] = {}
    for node in captured.nodes:
        for ref in node.reads:
            users.setdefault(ref.name, []).append(node)
    results = set(captured.results)
    # By the last write of a chain, what stands for the whole chain: the join, and rows that it reads.
    filled: dict[str, list[Node]] = {}
    for node in captured.nodes:
        if _is_write(node) and not _is_step(node, users, results):
            whole = _filled(node, nodes, users, results)
            if whole is not None:
                filled[node.name] = whole
    nodes_in_order = chain.from_iterable(filled.get(node.name, [node]) for node in captured.nodes)
    return _with_inner_products(_without_dead(replace(captured, nodes=tuple(nodes_in_order)))), same


def _without_idle(captured: CapturedModel) -> tuple[CapturedModel, Mapping[str, str]]:
    """Reading or writing `[:]` changes nothing, nor does adding 0, as Python's `sum` does."""
    same: dict[str, str] = {}
    nodes: list[Node] = []
    shapes = shapes_by_name(captured)
    for node in captured.nodes:
        node = replace(node, arguments={key: _renamed(value, same) for key, value in node.arguments.items()})
        # Names of idle ops before this one are replaced already, so `same` never leads to another idle op.
        # Whether a slice or a write covers all of its operand is seen by the shapes.
        ref = _whole(node)
        if isinstance(ref, Ref) and node.shapes[0] == shapes[ref.name] and _is_idle(node):
            same[node.name] = ref.name
        else:
            nodes.append(node)
    outputs = tuple(same.get(name or "", name) for name in captured.outputs)
    mutations = {leaf: same.get(name, name) for leaf, name in captured.mutations.items()}
    return replace(captured, nodes=tuple(nodes), outputs=outputs, mutations=mutations), same


def _trait(node: Node) -> Trait | None:
    """What kind of op a node is; None for a kind that has no name."""
    return traits().get(node.target)


def _is_write(node: Node) -> bool:
    """Whether an op replaces entries of one axis."""
    return isinstance(_trait(node), Write)


def _is_single(node: Node) -> bool:
    """Whether an op replaces one entry of an axis."""
    trait = _trait(node)
    return isinstance(trait, Write) and trait.is_single


def _is_join(node: Node) -> bool:
    """Whether an op is a concatenation."""
    trait = _trait(node)
    return isinstance(trait, Join) and not trait.adds_axis


def _is_product(node: Node) -> bool:
    """Whether an op multiplies entry by entry."""
    trait = _trait(node)
    return isinstance(trait, Scaling) and not trait.divides


def _whole(node: Node) -> Any:
    """The operand that an op leaves as it is, where it reads or writes all of it or adds nothing."""
    match _trait(node):
        case Slice() if "end" in node.arguments:
            return node.arguments["self"]
        case Write(is_single=False):
            return node.arguments["src"]
        case Sum(is_turned=False):
            return node.arguments["self"]
    return None


def _with_whole_joins(captured: CapturedModel) -> CapturedModel:
    """A concatenation that only another one along the same axis reads is a part of that one: a list that a loop grows.

    The mirror may leave the whole list alone, and no beginning of it. Such lists begin with an empty vector, which
    torch takes beside tensors of any axes and which adds nothing: it is left out.
    """
    readers, shapes = _readers(captured), shapes_by_name(captured)
    joins: dict[str, Node] = {}
    for node in captured.nodes:
        if not _is_join(node):
            continue
        parts: list[Ref] = []
        for ref in node.arguments["tensors"]:
            if shapes.get(ref.name) == _EMPTY != node.shapes[0]:
                continue
            inner = joins.get(ref.name)
            # Popped, not copied: a beginning that something else reads has to stay a value of its own.
            if inner is not None and readers[ref.name] == 1 and _dim(inner) == _dim(node):
                parts += joins.pop(ref.name).arguments["tensors"]
            else:
                parts.append(ref)
        joins[node.name] = replace(node, arguments={**node.arguments, "tensors": parts})
    nodes = [joins.get(node.name, node) for node in captured.nodes if not _is_join(node) or node.name in joins]
    return replace(captured, nodes=tuple(nodes))


def _dim(join: Node) -> int:
    """The axis along which a concatenation joins, counted from the front."""
    return join.arguments.get("dim", 0) % max(len(join.shapes[0] or ()), 1)


def _readers(captured: CapturedModel) -> Counter[str]:
    """How often every value is read, results included."""
    readers = Counter(names_read(*captured.nodes))
    readers.update(captured.results)
    return readers


def _with_inner_products(captured: CapturedModel) -> CapturedModel:
    """Sums over axes of a product that they alone read take the factors of the product for their operand.

    By themselves `a * b` and the sum demand more: the sum wants no signs along its axis, and the product, where both
    factors are unknown, wants one without signs. For a sum of a product the signs of both only have to be the same.
    """
    nodes = captured.by_name
    readers = _readers(captured)

    def joined(node: Node) -> Node:
        """A sum with the factors of its product for an operand; any other node as it is."""
        if not isinstance(_trait(node), Total):
            return node
        product = nodes.get(node.arguments["self"].name)
        # A product that something else reads, too, has to be a value with a representation of its own.
        if product is None or not _is_product(product) or readers[product.name] > 1 or len(product.reads) < 2:
            return node
        return replace(node, arguments={**node.arguments, "self": list(product.reads)})

    return replace(captured, nodes=tuple(map(joined, captured.nodes)))


def _is_idle(node: Node) -> bool:
    """Whether a slice or write that covers all, or a sum, leaves its operand as it is."""
    other = node.arguments.get("other", 0)
    return node.arguments.get("step", 1) == 1 and isinstance(other, (int, float)) and other == 0


def _renamed(value: Any, same: Mapping[str, str]) -> Any:
    """An argument of an op that reads what idle ops were made from, in place of them."""
    if isinstance(value, Ref):
        return Ref(same.get(value.name, value.name))
    if isinstance(value, (list, tuple)):
        return [_renamed(item, same) for item in value]
    return value


def _is_step(node: Node, users: Mapping[str, Sequence[Node]], results: set[str]) -> bool:
    """Whether a result is read by one further write only. Parts of it that are read for their shape only do not
    count.
    """
    readers = users.get(node.name, [])
    # A loop writes into its last result: the next write is the one reader that counts.
    writes = [user for user in readers if _is_write(user) and user.arguments["self"] == Ref(node.name)]
    rest = [user for user in readers if user not in writes]
    overwritten = all(isinstance(_trait(user), (Entry, Slice)) and _is_template(user, users) for user in rest)
    return len(writes) == 1 and overwritten and node.name not in results


def _is_template(node: Node, users: Mapping[str, Sequence[Node]]) -> bool:
    """Whether a part is read for its shape only, and overwritten."""
    # To copy onto a part, that part is read; nothing of its numbers is left.
    whole = Ref(node.name)
    for user in users.get(node.name, []):
        arguments = user.arguments
        if not isinstance(_trait(user), Overwrite) or arguments["self"] != whole or arguments["src"] == whole:
            return False
    return True


def _filled(
    last: Node, nodes: Mapping[str, Node], users: Mapping[str, Sequence[Node]], results: set[str]
) -> list[Node] | None:
    """The chain that ends here as one op (its last), None unless it writes every entry of one axis just once.

    Entries that were written one by one are stacked; runs of entries are concatenated, single ones among them as rows
    with an axis of one entry.
    """
    shape: list[int] = list(last.shapes[0] or ())
    dim = last.arguments.get("dim", 0) % max(len(shape), 1)
    parts: dict[tuple[int, int], tuple[Node, Ref]] = {}
    node = last
    # From the last write back to the first: each reads the tensor in which the one before it has written.
    while True:
        span, source = _span(node, shape[dim]), _source(node, nodes)
        # Another axis, a strided run, a source that is stretched, or the same run twice: no join says that.
        if node.arguments.get("dim", 0) % len(shape) != dim or span is None or source is None or span in parts:
            return None
        parts[span] = node, source
        before = nodes.get(node.arguments["self"].name)
        if before is None or not _is_write(before) or not _is_step(before, users, results):
            break
        node = before
    ordered = sorted(parts)
    adjacent = all(left[1] == right[0] for left, right in pairwise(ordered))
    # Only writes that fill the axis from end to end leave nothing of the tensor that was written to.
    if len(parts) < 2 or not adjacent or ordered[0][0] != 0 or ordered[-1][1] != shape[dim]:
        return None
    return _join_of([parts[span] for span in ordered], last, dim)


def _join_of(writes: Sequence[tuple[Node, Ref]], last: Node, dim: int) -> list[Node]:
    """The parts of a filled axis as a stack, or as rows and a concatenation; in the order of a graph.

    writes: every write with what it writes, along the axis.  last: the write at the end of the chain, whose name and
    shapes the join takes over, since readers know it by these.
    """
    # Entries one by one have no axis of their own to be concatenated along.
    if all(_is_single(node) for node, _ in writes):
        sources = [source for _, source in writes]
        return [replace(last, target=str(STACK), arguments={"tensors": sources, "dim": dim})]
    shape = last.shapes[0] or ()
    rows: list[Node] = []
    tensors: list[Ref] = []
    for node, source in writes:
        if _is_single(node):
            rows.append(_row(node, source, dim, (*shape[:dim], 1, *shape[dim + 1 :])))
            source = Ref(rows[-1].name)
        tensors.append(source)
    return [*rows, replace(last, target=str(CAT), arguments={"tensors": tensors, "dim": dim})]


def _row(write: Node, source: Ref, dim: int, shape: tuple[int, ...]) -> Node:
    """The tensor that a write puts into one entry, with the axis along which that entry stands."""
    arguments = {"self": source, "dim": dim}
    row = replace(write, name=f"{write.name} row", target=str(UNSQUEEZE), arguments=arguments)
    return replace(row, shapes=(shape,), read=frozenset({0}))


def _span(node: Node, size: int) -> tuple[int, int] | None:
    """The entries that a write replaces, as (first, behind the last); None where they are no run or none at all."""
    if _is_single(node):
        entry = node.arguments["index"] % size
        return entry, entry + 1
    start, stop, step = slice(node.arguments.get("start"), node.arguments.get("end")).indices(size)
    if node.arguments.get("step", 1) == step == 1 and stop > start:
        return start, stop
    return None


def _source(node: Node, nodes: Mapping[str, Node]) -> Ref | None:
    """The tensor that is written, before it is copied onto the part that it replaces; None if it is stretched there.

    `out[:, 0] = left` is captured as select, copy of `left` onto that, and a write of the copy.
    """
    ref = node.arguments["src"]
    copy = nodes.get(ref.name)
    if copy is None or not isinstance(_trait(copy), Overwrite):
        return ref
    source = copy.arguments["src"]
    source_node = nodes.get(source.name)
    if source_node is not None and source_node.shapes[0] == copy.shapes[0]:
        return source
    return None


def unread(captured: CapturedModel) -> frozenset[str]:
    """Products that nothing reads, since they are taken together with their sum.

    They stay in the graph, so that they have a representation, and are checked, in the end.
    """
    products = frozenset(node.name for node in captured.nodes if _is_product(node))
    return products.difference(names_read(*captured.nodes), captured.results)


def _without_dead(captured: CapturedModel, also: frozenset[str] = frozenset()) -> CapturedModel:
    """The graph without ops whose results nothing reads any more."""
    wanted = {*captured.results, *also}
    alive: list[Node] = []
    for node in reversed(captured.nodes):
        if node.name in wanted:
            wanted.update(names_read(node))
            alive.append(node)
    return replace(captured, nodes=tuple(reversed(alive)))


# ---- parts of one tensor that meet again -------------------------------------------------------------------------
def parts_joined_with(name: str, captured: CapturedModel) -> frozenset[str]:
    """Concatenations that put parts of one tensor together again, along the axis that they were taken from.

    Those of the tensor that the node `name` takes a part of, if one of them reads that.
    """
    readers = filter(_is_join, captured.readers(name))
    if not any(_entries(node, captured) for node in readers):
        return frozenset()
    source = captured.by_name[name].reads[0]
    entries = {node.name: _entries(node, captured) for node in captured.nodes if _is_join(node)}
    return frozenset(joined for joined, parts in entries.items() if parts is not None and parts[0] == source)


def with_selections(captured: CapturedModel, names: frozenset[str]) -> CapturedModel:
    """The graph with these concatenations as lists of the entries of what their parts were taken from."""
    if not names:
        return captured
    # x[:, :i] and x[:, i + 1:] joined again become index_select(x, 1, list), the list a constant leaf that no file has.
    leaves, nodes = dict(captured.leaves), list(captured.nodes)
    for position, node in enumerate(nodes):
        if node.name in names and (selection := _entries(node, captured)) is not None:
            source, dim, entries = selection
            index = Leaf(f"{node.name} list", "constant", (f"{node.name} list",), torch.tensor(entries), node.where)
            leaves[index.name] = replace(index, stored=False)
            arguments = {"self": source, "dim": dim, "index": Ref(index.name)}
            nodes[position] = replace(node, target=str(INDEX_SELECT), arguments=arguments)
    return _without_dead(replace(captured, leaves=leaves, nodes=tuple(nodes)), unread(captured))


def _entries(join: Node, captured: CapturedModel) -> tuple[Ref, int, tuple[int, ...]] | None:
    """Tensor, axis and entries where all operands are parts of one tensor, taken along the axis that joins them."""
    nodes, bare = captured.by_name, BareCalls(captured)
    dim = _dim(join)
    sources: set[str] = set()
    entries: list[int] = []
    # Operands that came in, single entries and several outputs of a split are no parts that a list could name.
    for ref in join.reads:
        node = nodes.get(ref.name)
        if node is None or not takes(node.target):
            return None
        part = taken(bare(node))
        if part is None or part.dim != dim or part.single or len(part.entries) != 1:
            return None
        sources.add(node.reads[0].name)
        entries += part.entries[0]
    if len(sources) != 1:
        return None
    return Ref(sources.pop()), dim, tuple(entries)
