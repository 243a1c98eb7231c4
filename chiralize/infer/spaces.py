"""Which weights carry hidden spaces, and which are only added.

When a propagation has come to rest, axes that are still unknown are hidden spaces: of fc1.weight [H, 34] and fc2.weight
[51, H] the unknown H is one space, called `fc1.weight[0]` after the first weight that has it. An axis of heads x
channels has two unknowns, and is two spaces, of which the smaller one is a cofactor.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from chiralize.graph.model import CapturedModel, Leaf, Node, Where
from chiralize.graph.traits import Sum
from chiralize.infer.records import Space
from chiralize.infer.registry import traits
from chiralize.symmetry.symbolic import SymbolicRepresentation, Var, variables


def free_spaces(
    weights: Iterable[tuple[Leaf, SymbolicRepresentation]], sign_free: Collection[int]
) -> tuple[Space, ...]:
    """Every unknown of some weight, in the order in which the network writes them.

    weights: in the order of the graph.  sign_free: unknowns that may carry no sign.
    """
    order: dict[int, tuple[Var, str, Where]] = {}
    cofactors: set[int] = set()
    for leaf, rep in weights:
        cofactors |= _cofactors(rep)
        for dim, axis in enumerate(rep.axes):
            for var in variables((axis,)):
                # An unknown of one entry is a sign, which propagation settles by itself.
                if var.size > 1:
                    order.setdefault(var.id, (var, f"{leaf.names[0]}[{dim}]", leaf.where))
    spaces: list[Space] = []
    for depth, (key, (var, label, where)) in enumerate(order.items()):
        module = label.rpartition("[")[0].rpartition(".")[0]
        spaces.append(Space(key, label, module, var.size, depth, key in sign_free, key in cofactors, where))
    return tuple(spaces)


def _cofactors(rep: SymbolicRepresentation) -> set[int]:
    """Unknowns that stand beside a larger one in a product, such as heads beside the channels of a head."""
    cofactors: set[int] = set()
    for axis in rep.axes:
        factors = [term for term in axis if isinstance(term, Var)]
        leading = max(factors, key=lambda term: term.size, default=None)
        cofactors |= {term.id for term in factors if leading is not None and term.id != leading.id}
    return cofactors


def added_weights(node: Node, captured: CapturedModel) -> Iterator[str]:
    """Weights that an op adds along an axis that they do not have: with signs there they can only be zero."""
    refs = list(node.reads) if isinstance(traits().get(node.target), Sum) else []
    if "bias" in node.arguments:
        refs = [node.arguments["bias"]]
    for ref in refs:
        leaf = captured.leaf_of(ref)
        if leaf is not None and leaf.kind == "parameter" and leaf.shape != node.shapes[0]:
            yield leaf.name
