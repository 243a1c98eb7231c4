"""Which ops, read together, are one?

A tensor filled part by part, in a loop, is a stack or a concatenation, and so is one that grows there. A product that
is only summed up is an inner product, in which the signs of the factors have to agree, not to be absent.

    as it is written                                        as it is read
    out[:, 0] = left; out[:, 1] = right                     out = stack([left, right], 1)
    xs = cat([xs, x_1], 1); xs = cat([xs, x_2], 1)          xs = cat([xs, x_1, x_2], 1)
    (a * b).sum(-1)                                         sum([a, b]): the rule of a sum takes both factors

Each op by itself would have to be equivariant; as a whole more is possible. A tensor in which only the left arm has
been written is not symmetric, the finished one is. `Inference` reads every graph like this before its rules run; the
network itself stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, pairwise
from typing import Any

from chiralize.graph.model import CapturedModel, Node, Ref
from chiralize.graph.traits import Join, Scaling, Slice, Sum, Total, Trait, Write
from chiralize.infer.rule import traits

_EMPTY = (0,)
"""The shape of an empty vector."""
_CAT, _COPY, _RESHAPE, _STACK = (f"aten.{name}.default" for name in ("cat", "copy", "reshape", "stack"))


def canonical(captured: CapturedModel) -> tuple[CapturedModel, Mapping[str, str | None]]:
    """The graph with such ops as one, and the nodes that were left out.

    Of those, some change nothing: each has the value that it was. Products that are taken together with their sum have
    None, since nothing reads them any more.
    """
    # Idle ops first: x[:] between two writes would be a second reader of the first one's result.
    captured, idle = _without_idle(captured)
    captured = _with_filled(_with_whole_joins(captured))
    captured, products = _with_inner_products(captured)
    return captured, {**idle, **dict.fromkeys(products)}


def _trait(node: Node) -> Trait | None:
    """What kind of op a node is; None for a kind that has no name."""
    return traits().get(node.target)


def _dim(node: Node) -> int:
    """The axis along which an op joins or writes, counted from the front."""
    return (node.arguments.get("dim") or 0) % max(len(node.shapes[0] or ()), 1)


# ---- ops that change nothing -----------------------------------------------------------------------------------------
def _without_idle(captured: CapturedModel) -> tuple[CapturedModel, Mapping[str, str]]:
    """Reading or writing `[:]` changes nothing, nor does adding 0, as Python's `sum` does."""
    same: dict[str, str] = {}
    nodes: list[Node] = []
    for node in captured.nodes:
        node = replace(node, arguments={key: _renamed(value, same) for key, value in node.arguments.items()})
        # Names of idle ops before this one are replaced already, so `same` never leads to another idle op.
        whole = _idle(node)
        # Whether a slice or a write covers all of its operand is seen by the shapes.
        if isinstance(whole, Ref) and node.shapes[0] == captured.shapes[whole.name]:
            same[node.name] = whole.name
        else:
            nodes.append(node)
    outputs = tuple(same.get(name or "", name) for name in captured.outputs)
    mutations = {leaf: same.get(name, name) for leaf, name in captured.mutations.items()}
    return replace(captured, nodes=tuple(nodes), outputs=outputs, mutations=mutations), same


def _idle(node: Node) -> Any:
    """The operand that an op would leave as it is, if it had the shape of the result; None for other ops."""
    match _trait(node):
        case Slice() if node.arguments.get("step", 1) == 1:
            return node.arguments["self"]
        case Write(is_single=False) if node.arguments.get("step", 1) == 1:
            return node.arguments["src"]
        case Sum(is_turned=False) if not isinstance(node.arguments["other"], Ref) and node.arguments["other"] == 0:
            return node.arguments["self"]
    return None


def _renamed(value: Any, same: Mapping[str, str]) -> Any:
    """An argument of an op that reads what idle ops were made from, in place of them."""
    if isinstance(value, Ref):
        return Ref(same.get(value.name, value.name))
    if isinstance(value, (list, tuple)):
        return [_renamed(item, same) for item in value]
    return value


# ---- lists that a loop grows -----------------------------------------------------------------------------------------
def _with_whole_joins(captured: CapturedModel) -> CapturedModel:
    """A concatenation that only another one along the same axis reads is a part of that one: a list that a loop grows.

    The mirror may leave the whole list alone, and no beginning of it. Such lists begin with an empty vector, which
    torch takes beside tensors of any axes and which adds nothing: it is left out.
    """
    readers, results = captured.read_counts, set(captured.results)
    joins: dict[str, Node] = {}
    for node in captured.nodes:
        if not _is_join(node):
            continue
        parts: list[Ref] = []
        for ref in node.arguments["tensors"]:
            if captured.shapes.get(ref.name) == _EMPTY != node.shapes[0]:
                continue
            inner = joins.get(ref.name)
            # Popped, not copied: a beginning that something else reads has to stay a value of its own.
            is_step = readers[ref.name] == 1 and ref.name not in results
            if inner is not None and is_step and _dim(inner) == _dim(node):
                parts += joins.pop(ref.name).arguments["tensors"]
            else:
                parts.append(ref)
        joins[node.name] = replace(node, arguments={**node.arguments, "tensors": parts})
    nodes = [joins.get(node.name, node) for node in captured.nodes if not _is_join(node) or node.name in joins]
    return replace(captured, nodes=tuple(nodes))


def _is_join(node: Node) -> bool:
    """Whether an op is a concatenation."""
    trait = _trait(node)
    return isinstance(trait, Join) and not trait.adds_axis


# ---- inner products --------------------------------------------------------------------------------------------------
def _with_inner_products(captured: CapturedModel) -> tuple[CapturedModel, Sequence[str]]:
    """Sums over axes of a product that they alone read take the factors of the product for their operand.

    By themselves `a * b` and the sum demand more: the sum wants no signs along its axis, and the product, where both
    factors are unknown, wants one without signs. For a sum of a product the signs of both only have to be the same.
    Returns the names of these products as well, which are no nodes any more.
    """
    results = set(captured.results)
    whole: dict[str, Node] = {}
    products: list[str] = []
    for node in captured.nodes:
        if isinstance(_trait(node), Total):
            product = captured.by_name.get(node.arguments["self"].name)
            # A product that something else reads, too, has to be a value with a representation of its own.
            if product is not None and _is_product(product) and captured.read_counts[product.name] == 1:
                if len(product.reads) == 2 and product.name not in results:
                    products.append(product.name)
                    whole[node.name] = replace(node, arguments={**node.arguments, "self": list(product.reads)})
    nodes = [whole.get(node.name, node) for node in captured.nodes if node.name not in products]
    return replace(captured, nodes=tuple(nodes)), products


def _is_product(node: Node) -> bool:
    """Whether an op multiplies entry by entry."""
    trait = _trait(node)
    return isinstance(trait, Scaling) and not trait.divides


# ---- tensors that a loop fills ---------------------------------------------------------------------------------------
def _with_filled(captured: CapturedModel) -> CapturedModel:
    """Every chain of writes that fills a whole axis, and is read only at its end, as a stack or a concatenation."""
    filled: dict[str, list[Node]] = {}
    for node in captured.nodes:
        if isinstance(_trait(node), Write) and not _is_step(node, captured):
            whole = _filled(node, captured)
            if whole is not None:
                filled[node.name] = whole
    if not filled:
        return captured
    nodes = chain.from_iterable(filled.get(node.name, [node]) for node in captured.nodes)
    return _without_dead(replace(captured, nodes=tuple(nodes)))


def _is_step(node: Node, captured: CapturedModel) -> bool:
    """Whether a result is read by one further write only: a loop writes into its last result."""
    readers = captured.readers(node.name)
    is_written = len(readers) == 1 and isinstance(_trait(readers[0]), Write)
    return is_written and readers[0].arguments["self"] == Ref(node.name) and node.name not in captured.results


def _filled(last: Node, captured: CapturedModel) -> list[Node] | None:
    """The chain that ends here as one op (its last), None unless it writes every entry of one axis just once.

    Entries that were written one by one are stacked; runs of entries are concatenated, single ones among them as rows
    with an axis of one entry.
    """
    shape = last.shapes[0] or ()
    dim, node = _dim(last), last
    parts: dict[tuple[int, int], tuple[Node, Ref]] = {}
    # From the last write back to the first: each reads the tensor in which the one before it has written.
    while True:
        span, source = _span(node, shape[dim]), _source(node, captured)
        # Another axis, a strided run, a source that is stretched, or the same run twice: no join says that.
        if _dim(node) != dim or span is None or source is None or span in parts:
            return None
        parts[span] = node, source
        before = captured.by_name.get(node.arguments["self"].name)
        if before is None or not isinstance(_trait(before), Write) or not _is_step(before, captured):
            break
        node = before
    ordered = sorted(parts)
    is_run = all(left[1] == right[0] for left, right in pairwise(ordered))
    # Only writes that fill the axis from end to end leave nothing of the tensor that was written to.
    if len(parts) < 2 or not is_run or ordered[0][0] != 0 or ordered[-1][1] != shape[dim]:
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
        return [replace(last, target=_STACK, arguments={"tensors": sources, "dim": dim})]
    shape = last.shapes[0] or ()
    rows: list[Node] = []
    tensors: list[Ref] = []
    for node, source in writes:
        if _is_single(node):
            name, row = f"{node.name} row", (*shape[:dim], 1, *shape[dim + 1 :])
            arguments = {"self": source, "shape": list(row)}
            rows.append(replace(node, name=name, target=_RESHAPE, arguments=arguments, shapes=(row,)))
            source = Ref(name)
        tensors.append(source)
    return [*rows, replace(last, target=_CAT, arguments={"tensors": tensors, "dim": dim})]


def _is_single(node: Node) -> bool:
    """Whether an op replaces one entry of an axis."""
    trait = _trait(node)
    return isinstance(trait, Write) and trait.is_single


def _span(node: Node, size: int) -> tuple[int, int] | None:
    """The entries that a write replaces, as (first, behind the last); None where they are no run or none at all."""
    if _is_single(node):
        entry = node.arguments["index"] % size
        return entry, entry + 1
    start, stop, _ = slice(node.arguments.get("start"), node.arguments.get("end")).indices(size)
    return (start, stop) if node.arguments.get("step", 1) == 1 and stop > start else None


def _source(node: Node, captured: CapturedModel) -> Ref | None:
    """The tensor that is written, before it is copied onto the part that it replaces; None if it is stretched there."""
    ref = node.arguments["src"]
    copy = captured.by_name.get(ref.name)
    if copy is None or copy.target != _COPY:
        return ref
    source = copy.arguments["src"]
    return source if captured.shapes[source.name] == copy.shapes[0] else None


def _without_dead(captured: CapturedModel) -> CapturedModel:
    """The graph without ops whose results nothing reads any more."""
    wanted = set(captured.results)
    alive: list[Node] = []
    for node in reversed(captured.nodes):
        if node.name in wanted:
            wanted.update(node.names_read)
            alive.append(node)
    return replace(captured, nodes=tuple(reversed(alive)))
