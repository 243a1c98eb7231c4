"""The cost of one run of a network, to decide how many runs a question is worth."""

from __future__ import annotations

from chiralize.infer import macs_of
from chiralize.problem.network import Network


def multiplications(network: Network) -> int:
    """Multiplications of one call of the examples, by its graph; where there is none, by its parameters."""
    work = macs_of(network.captured) if network.captured is not None else 0
    return work or multiplications_by_parameters(network)


def multiplications_by_parameters(network: Network) -> int:
    """The same if every parameter were used once for every sample."""
    return sum(parameter.numel() for parameter in network.module.parameters()) * network.rows
