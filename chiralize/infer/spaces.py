"""Which weights carry hidden spaces, and which are only added."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from chiralize.graph.model import CapturedModel, Leaf, Node, Ref, Where
from chiralize.infer.records import Space
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
        for place, axis in enumerate(rep.axes):
            for var in (own for own in variables((axis,)) if own.size > 1):
                order.setdefault(var.id, (var, f"{leaf.names[0]}[{place}]", leaf.where))
    return tuple(
        Space(
            key, label, label.rpartition("[")[0].rpartition(".")[0], var.size, depth, key in sign_free,
            key in cofactors, where,
        )
        for depth, (key, (var, label, where)) in enumerate(order.items())
    )  # fmt: skip


def _cofactors(rep: SymbolicRepresentation) -> set[int]:
    """Unknowns that stand beside a larger one in a product, such as heads beside the channels of a head."""
    found: set[int] = set()
    for axis in rep.axes:
        factors = [term for term in axis if isinstance(term, Var)]
        leading = max(factors, key=lambda term: term.size, default=None)
        found |= {term.id for term in factors if leading is not None and term.id != leading.id}
    return found


def added_weights(node: Node, captured: CapturedModel) -> Iterator[str]:
    """Weights that an op adds along an axis that they do not have: with signs there they can only be zero."""
    if "bias" in node.arguments:
        refs = [node.arguments["bias"]]
    else:
        refs = list(node.reads) if node.target == "aten.add.Tensor" else []
    for ref in refs:
        leaf = captured.leaves.get(ref.name) if isinstance(ref, Ref) else None
        if leaf is not None and leaf.kind == "parameter" and leaf.shape != node.shapes[0]:
            yield leaf.name
