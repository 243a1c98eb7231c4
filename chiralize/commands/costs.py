"""How large a network is, and how much one call of it computes."""

from __future__ import annotations

from chiralize.infer import macs_of
from chiralize.problem.network import Network


def parameter_count(network: Network) -> int:
    """How many numbers the parameters of a network hold."""
    return sum(parameter.numel() for parameter in network.module.parameters())


def macs_of_call(network: Network) -> int:
    """Multiplications of a call with the examples; 0 where there is no graph to count them on."""
    return macs_of(network.captured) if network.captured is not None else 0
