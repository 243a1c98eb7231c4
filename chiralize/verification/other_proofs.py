"""More ways to a proof, for a network that passes on numbers and that pairs of similar weights do not prove.

Each of them is a whole proof, so it is enough that one holds; none can approve what is not equivariant. The first takes
the network as an average over both views, whatever lies between them. The others say which hidden units are each
other's mirror images: those that answer to T x as the other ones answer to x, or none (the mirror leaves the channels
alone, as in networks where only joints move).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chiralize.errors import UnsupportedError
from chiralize.graph.mirror import NetworkMirror
from chiralize.infer.hidden.activations import activation_scores
from chiralize.infer.hidden.assign import Chooser
from chiralize.infer.hidden.match import FromActivations, FromWeights
from chiralize.infer.records import RepMap, Space
from chiralize.problem.data.cutting import tensors
from chiralize.problem.mirror import analyse
from chiralize.problem.network import Network
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.verification import certificate
from chiralize.verification.average_proof import why_no_average
from chiralize.verification.drift import random_inputs
from chiralize.verification.verdicts import CertificateVerdict

_CALLS = 16  # random calls whose activations pair units
_AVERAGE = "two views averaged: T exchanges them"


def another_proof(
    network: Network, mirror: NetworkMirror, known: Mapping[str, TensorRepresentation]
) -> tuple[CertificateVerdict, RepMap | None] | None:
    """The first proof that holds, with the representations that it used; None where there is none.

    known: representations of weights, by name.  Networks with states are left to their own proof. So are those that
    draw numbers, and those with stretches that are averaged. The RepMap is None for an average, which needs none.
    """
    captured = network.captured
    if captured is None or captured.mutations or captured.drawing or network.treatment.regions or mirror.states:
        return None
    if None in network.resolved.inputs or None in network.resolved.outputs:
        return None
    centers = {"input_centers": mirror.input_centers, "output_centers": mirror.output_centers}
    if why_no_average(captured, mirror.inputs, mirror.outputs, {}, **centers) is None:
        proof = CertificateVerdict(True, len(captured.nodes), len(captured.weights), notes=(_AVERAGE,))
        return proof, None
    for chooser in _choosers(network):
        try:
            repmap, _ = analyse(network, chooser, known)
        except UnsupportedError:
            continue
        # A chooser may guess: the certificate looks at every weight under what it chose.
        proof = certificate.judge(network.graph(), repmap)
        if proof.passed:
            return proof, repmap
    return None


def _choosers(network: Network) -> Iterator[Chooser]:
    """The ways to say which hidden units are partners, made when they are asked for."""
    yield _by_answers(network)
    yield _unmoved


def _by_answers(network: Network) -> Chooser:
    """A chooser that pairs units by their answers to random x and to T x."""
    weights = FromWeights(network.graph())

    def choose(spaces: Sequence[Space], repmap: RepMap) -> Any:
        """Match the units of every space by their activations."""
        calls = random_inputs(network.args, network.kwargs, _CALLS, 3, network.around)
        batches = (network.centered(tensors(call)) for call in calls)
        scores = activation_scores(network.graph(), repmap, spaces, network.resolved.inputs, batches)
        return FromActivations(scores, weights)(spaces, repmap)

    return choose


def _unmoved(spaces: Sequence[Space], repmap: RepMap) -> Any:
    """Choose every unit to be its own mirror image."""
    return {space.key: (SignedPermutation.identity(space.size), "left alone") for space in spaces}
