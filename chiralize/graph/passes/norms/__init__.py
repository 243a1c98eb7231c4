"""Making one-sided normalisers symmetric, while the network computes the same.

(x - m) / s, a batch norm on the raw input, or the shift and scale of learned parameters, has numbers per coordinate. Of
one-sided data they are no fixed points of T, and moving them alone would let all weights behind them read other values
than they were trained on. Any m' and s' do as well, if what reads the result makes up for them:

    W (x - m) / s + b  =  W' (x - m') / s' + b',      W' = W diag(s' / s),      b' = b + W (m' - m) / s.

So m' = P m, s' = P s, and values behind them are old = scale * new + shift, entry by entry. This is followed through
everything that moves entries, shifts or scales them, to the weights that take it up: W the scale, the first bias or
batch norm's mean behind it what W makes of the shift. Where it meets anything else (a clamp, an activation, a
convolution that pads a shifted value with zeros, the network's result) the tensors that it came from stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from chiralize.graph.model import CapturedModel, Leaf, Node
from chiralize.graph.passes.centering.graph import Graph
from chiralize.graph.passes.norms.maps import Stuck
from chiralize.graph.passes.norms.walk import Walk
from chiralize.graph.traits import BatchNorm, Scaling, Sum, Traits
from chiralize.symmetry import reynolds
from chiralize.symmetry.representation import TensorRepresentation

__all__ = ["Absorbed", "Blocked", "absorb"]

_ENTRYWISE = (Sum, BatchNorm, Scaling)


@dataclass(frozen=True)
class Blocked:
    """A tensor that stays one-sided.  moved: as in `Absorbed`.  at: the op that its change cannot pass.

    shift, scales: by how much values before that op would be shifted, and the smallest and largest factor.
    """

    leaf: Leaf
    moved: float
    at: Node | None
    shift: float
    scales: tuple[float, float]


@dataclass(frozen=True)
class Absorbed:
    """The outcome for a graph.

    values: new tensors by leaf.  moved: |p - P p| / |p| of those made symmetric.  takers: weights that make up for it.
    blocked: tensors that stay one-sided.
    """

    values: Mapping[str, Tensor]
    moved: Mapping[str, float]
    takers: tuple[str, ...]
    blocked: tuple[Blocked, ...]


def absorb(captured: CapturedModel, representations: Mapping[str, TensorRepresentation], traits: Traits) -> Absorbed:
    """Make tensors that shift or scale entries symmetric, as far as weights can make up for it exactly.

    Tensors whose change cannot be made up for are left out one after the other, until the rest goes through.
    representations: of leaves, by name, as far as they are known; tensors of hidden spaces stay as they are.
    traits: by op, what kind of op it is.
    """
    graph = Graph(captured, {}, traits)
    apart: dict[str, float] = {}
    for name, rep in representations.items():
        moved = _apart(graph, name, rep)
        if moved is not None:
            apart[name] = moved
    blocked: list[Blocked] = []
    while apart:
        tensors = {name: graph.leaves[name].tensor.detach() for name in apart}
        symmetric = {name: reynolds.project(tensor, representations[name]) for name, tensor in tensors.items()}
        try:
            taken = Walk(graph, symmetric).taken()
        except Stuck as stuck:
            # Each turn drops at least one tensor, so the loop ends. The rest is walked anew, since what a reader takes
            # up may come from several tensors.
            for name in sorted(stuck.sources or apart):
                moved = apart.pop(name)
                blocked.append(Blocked(graph.leaves[name], moved, stuck.at, stuck.shift, stuck.scales))
            continue
        return Absorbed({**symmetric, **taken}, apart, tuple(taken), tuple(blocked))
    return Absorbed({}, {}, (), tuple(blocked))


def _apart(graph: Graph, name: str, rep: TensorRepresentation) -> float | None:
    """How far a tensor that shifts or scales entries is from symmetric; None if it is symmetric or does neither."""
    leaf = graph.leaves[name]
    # What forward computes has no key under which a new value could be stored.
    if leaf.kind not in ("parameter", "statistic", "constant") or not leaf.stored:
        return None
    if not leaf.tensor.is_floating_point() or rep.is_trivial:
        return None
    # An ordinary weight, which is multiplied and summed up, is left to the projection.
    readers = graph.readers(name)
    if not readers or not all(isinstance(graph.trait(node), _ENTRYWISE) for node in readers):
        return None
    moved = reynolds.distance(leaf.tensor, rep)
    # Less is the rounding of numbers that are symmetric already.
    if moved > 8 * torch.finfo(leaf.tensor.dtype).eps:
        return moved
    return None
