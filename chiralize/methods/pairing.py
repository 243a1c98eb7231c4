"""Which hidden units are each other's mirror image: what is known of a network, at its inputs or without.

`ways.match` and `ways.project` take a chooser from here, and inference asks it, space by space: given a hidden space
of n units and what is known of the others, which involution of n entries is it, and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chiralize.infer.hidden.activations import activation_scores
from chiralize.infer.hidden.assign import Chooser
from chiralize.infer.hidden.match import FromActivations, FromWeights
from chiralize.infer.records import RepMap, Space
from chiralize.problem.data.cutting import as_captured, tensors
from chiralize.problem.earlier import keeping
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.symmetry.involution import SignedPermutation


def by_weights(network: Network, fixed_points: bool = True) -> FromWeights:
    """By what units read and what reads them."""
    graph = network.graph()
    return FromWeights(graph, fixed_points, keeping(graph, network.others.earlier))


def pairing_of(problem: Problem, fixed_points: bool = True) -> Chooser:
    """By activations where there are inputs, else by weights. fixed_points: a unit may be its own image."""
    network = problem.network
    weights = by_weights(network, fixed_points)
    if not problem.batches.inputs:
        return weights

    def choose(spaces: Sequence[Space], repmap: RepMap) -> Mapping[int, tuple[SignedPermutation, str]]:
        """By the correlation of what units do on x and on T x."""
        batches = (network.centered(tensors(call)) for call in as_captured(network, problem.batches.seen))
        scores = activation_scores(network.graph(), repmap, spaces, network.resolved.inputs, batches)
        return FromActivations(scores, weights, fixed_points)(spaces, repmap)

    return choose
