"""Weights that one number goes into or comes out of, and that take its sign where the mirror negates it.

An axis of one entry has no place for a sign. So the weight of shape (n, 1) that reads an input, and the one of shape
(1, n) that an output comes from, have an open sign of their own. So has the bias of one number beside the latter.
Within the network no mirror has to negate a single unit: there they have none, and what is odd is refused behind it.

    nn.Linear(34, 64), tanh, nn.Linear(64, 1)     the last weight (1, 64) may be odd: a turn to the left becomes one to
                                                  the right
    nn.Linear(1, 64), tanh, nn.Linear(64, 34)     the first weight (64, 1) reads a number that the mirror may negate

`given.Known` asks for these leaves once a network; `Answers` starts them with an open sign.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

from chiralize.graph.model import CapturedModel, Node
from chiralize.graph.traits import Sum
from chiralize.infer.calls import shapes_by_name
from chiralize.infer.registry import traits

Readers = Mapping[str, Sequence[Node]]
"""By value, the nodes that read it."""


def weights_of_one_number(captured: CapturedModel) -> frozenset[str]:
    """The names of these leaves.

    Weights of one row that an output comes from, or that read inputs and nothing that is computed from weights.
    """
    readers = dict[str, list[Node]]()
    for node in captured.nodes:
        for name in node.names_read:
            readers.setdefault(name, []).append(node)
    chosen = set[str]()
    for name in filter(captured.is_weight, captured.leaves):
        # (n, 1) or (1, n) and more axes behind them, as of a convolution; (1, 1) is one number itself.
        shape = captured.leaves[name].shape
        if min(shape[:2]) != 1 or max(shape[:2]) == 1 or _is_in_groups(name, readers):
            continue
        is_last = _comes_out(name, readers, captured) and not _is_behind_one(name, readers, captured)
        if is_last or _reads_no_weight(name, readers, captured):
            chosen.add(name)
            if shape[0] == 1:
                chosen.update(_biases_beside(name, readers, captured))
    return frozenset(chosen)


def _is_in_groups(name: str, readers: Readers) -> bool:
    """Whether a convolution in groups reads a weight: its second size is that of a group, and every group has signs of
    its own.
    """
    return any(node.arguments.get("groups", 1) != 1 for node in readers.get(name, ()))


def _biases_beside(name: str, readers: Readers, captured: CapturedModel) -> Iterable[str]:
    """Biases of one number that are read together with a weight: they take on the same sign."""
    for node in readers.get(name, ()):
        for other in node.names_read:
            leaf = captured.leaves.get(other)
            if leaf is not None and leaf.kind == "parameter" and leaf.shape == (1,):
                yield other


def _values_beside(name: str, readers: Readers, captured: CapturedModel) -> set[str]:
    """What is read together with a weight, other weights left out: a cell reads several at once."""
    values = set[str]()
    for node in readers.get(name, ()):
        values.update(node.names_read)
    return values - set(filter(captured.is_weight, values))


def _sources(names: Iterable[str], captured: CapturedModel, without: Container[str] = ()) -> set[str]:
    """All that values are computed from, nodes and leaves, and they themselves; not through the nodes of `without`."""
    sources, left = set[str](), list(names)
    while left:
        name = left.pop()
        if name not in sources and name not in without and name in captured.by_name:
            left += captured.by_name[name].names_read
        sources.add(name)
    return sources


def _reads_no_weight(name: str, readers: Readers, captured: CapturedModel) -> bool:
    """Whether what is read with a weight is computed from inputs and from no weights."""
    return not any(map(captured.is_weight, _sources(_values_beside(name, readers, captured), captured)))


def _is_behind_one(name: str, readers: Readers, captured: CapturedModel) -> bool:
    """Whether all that is read with a weight comes through a single unit.

    An op that is not odd keeps that unit even, and what is odd behind it would be 0. Beside a unit that only weighs
    what goes past it, as a score of attention does, an output may be odd.
    """
    values = _values_beside(name, readers, captured)
    single = set[str]()
    for source in filter(captured.is_weight, _sources(values, captured)):
        if _is_single(source, readers, captured):
            single.update(node.name for node in readers[source])
    past = _sources(values, captured, single)
    return bool(single) and not any(leaf.kind == "input" and leaf.name in past for leaf in captured.leaves.values())


def _is_single(name: str, readers: Readers, captured: CapturedModel) -> bool:
    """Whether one unit comes out of a weight. One of a single row whose values have one number themselves reads an
    input, and has as many units as columns.
    """
    if captured.leaves[name].shape[0] != 1 or _is_added(name, readers):
        return False
    shapes = shapes_by_name(captured)
    read = map(shapes.get, _values_beside(name, readers, captured))
    return not any(shape and len(shape) > 1 and shape[-1] == 1 for shape in read)


def _is_added(name: str, readers: Readers) -> bool:
    """Whether a weight, or what is made of it alone, is only added to other values: one row for all samples."""
    known, left = traits(), [name]
    while left:
        source = left.pop()
        for node in readers.get(source, ()):
            # A token or a position is stretched or cast before it is added.
            if set(node.names_read) == {source}:
                left.append(node.name)
            elif not isinstance(known.get(node.target), Sum):
                return False
    return True


def _comes_out(name: str, readers: Readers, captured: CapturedModel) -> bool:
    """Whether no value that is computed from a weight is read together with another weight."""
    seen, left = set[str](), list[Node]()
    # The weight's own reader may read a bias, too, so the search begins behind it.
    for node in readers.get(name, ()):
        left += readers.get(node.name, ())
    while left:
        node = left.pop()
        if node.name in seen:
            continue
        seen.add(node.name)
        if any(map(captured.is_weight, node.names_read)):
            return False
        left += readers.get(node.name, ())
    return True
