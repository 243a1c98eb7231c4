"""Which graph does an exported program become, and which of its buffers may a conversion change?

One of ops that have a rule, each spelled in one way. `graph` knows no rules, so it is told here which ops may stay
whole; of all others torch says what they consist of.

A float buffer with one axis may be a statistic, a mean or a spread per feature, which is converted as a weight is. It
is one only where it meets values that have a number per feature along its axis:

    (x - mean) / (var + 1e-5).sqrt()              mean, var: statistics of the features of x
    (arange(t)[:, None] * frequencies).cos()      met by positions: a constant, of a rotary or sinusoidal embedding
    (x[..., None] * frequencies).sin()            x has one entry along that axis: a constant, of Fourier features

Constants are never changed unasked. What is not clearly a statistic is a constant.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch.export import ExportedProgram

from chiralize.graph.capture import read
from chiralize.graph.model import CapturedModel, Leaf, Node
from chiralize.graph.traits import BatchNorm, Join, Movement, Normalised, Pointwise, Scaling, Sum
from chiralize.graph.writes import functional
from chiralize.infer.constants import uniform
from chiralize.infer.rule import traits
from chiralize.infer.spelling import WHOLE, spelled_graph


def captured(
    program: ExportedProgram, args: Sequence[Any], kwargs: Mapping[str, Any], tables: Container[str] = ()
) -> CapturedModel:
    """The graph of an exported program at the sizes of the example inputs. Raises CaptureError.

    tables: keys of constants that are to transform as a hidden axis does.
    """
    return with_statistics(spelled_graph(read(functional(program, WHOLE), args, kwargs, tables)))


def with_statistics(graph: CapturedModel) -> CapturedModel:
    """The graph with statistics that are none as constants."""
    leaves = dict(graph.leaves)
    tables = _made_of_constants(graph)
    for leaf in graph.leaves.values():
        if leaf.kind == "statistic" and not _is_per_feature(leaf, graph, tables):
            leaves[leaf.name] = replace(leaf, kind="constant")
    return replace(graph, leaves=leaves)


def _made_of_constants(graph: CapturedModel) -> set[str]:
    """Constants of several numbers, and what is computed from constants alone with one of these among them."""
    constants = {leaf.name for leaf in graph.leaves.values() if leaf.kind == "constant"}
    tables = {name for name in constants if uniform(graph.leaves[name].tensor) is None}
    for node in graph.nodes:
        if constants.issuperset(node.names_read):
            constants.add(node.name)
            # What an op makes of no tensor at all (`arange`) is such a constant, too.
            if not node.reads or not tables.isdisjoint(node.names_read):
                tables.add(node.name)
    return tables


def _is_per_feature(leaf: Leaf, graph: CapturedModel, tables: Container[str]) -> bool:
    """Whether a buffer, or what is computed from it and from single numbers, meets its features wherever it is read."""
    carriers, count = {leaf.name}, leaf.tensor.numel()
    for node in graph.nodes:
        if carriers.isdisjoint(node.names_read):
            continue
        trait = traits().get(node.target)
        if isinstance(trait, BatchNorm | Normalised):
            continue
        others = [name for name in node.names_read if name not in carriers]
        moves = isinstance(trait, Movement) and not isinstance(trait, Join) and not trait.blends
        if not (moves or isinstance(trait, Pointwise | Sum | Scaling)) or any(name in tables for name in others):
            return False
        numbers = [name for name in others if _is_one_number(name, graph)]
        if len(numbers) == len(others) and graph.shapes[node.name] != ():
            carriers.add(node.name)
        elif not all(_has_axis(name, node, carriers, graph, count) for name in others if name not in numbers):
            return False
    return True


def _is_one_number(name: str, graph: CapturedModel) -> bool:
    """Whether a value is a constant of one number."""
    leaf = graph.leaves.get(name)
    return leaf is not None and leaf.kind == "constant" and uniform(leaf.tensor) is not None


def _has_axis(name: str, node: Node, carriers: Container[str], graph: CapturedModel, count: int) -> bool:
    """Whether a value that a statistic meets has an entry for each of its numbers, along the axis where they lie."""
    ours = next(graph.shapes[reader] for reader in node.names_read if reader in carriers)
    theirs = graph.shapes[name]
    # Counted from the last axis, as broadcasting does; one number meets anything.
    along = [position for position, size in enumerate(ours[::-1]) if size > 1]
    return count == 1 or all(
        position < len(theirs) and theirs[::-1][position] == ours[::-1][position] for position in along
    )
