"""The cost of one run of a network, to decide how many runs a question is worth."""

from __future__ import annotations

from chiralize.problem.network import Network


def multiplications(network: Network) -> int:
    """Multiplications of one call of the examples, by its graph; where there is none, by its parameters."""
    return network.macs or multiplications_by_parameters(network)


def multiplications_by_parameters(network: Network) -> int:
    """The same if every parameter were used once for every sample."""
    return network.parameter_count * network.rows
