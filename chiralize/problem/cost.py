"""The cost of one run of a network, to decide how many runs a question is worth."""

from __future__ import annotations

from chiralize.problem.network import Network

BATCH = 32
"""Samples of a batch that is put together of single ones."""
_WORK = 1e10
"""Multiplications of one batch: of costly networks it is fewer samples, since every check runs whole batches."""


def samples_of_a_batch(network: Network) -> int:
    """How many single samples are put together; as many as cost no more than a run should, two at least."""
    return min(BATCH, affordable_samples(network, _WORK, least=2))


def multiplications(network: Network) -> int:
    """Multiplications of one call of the examples, by its graph; where there is none, by its parameters."""
    return network.macs or multiplications_by_parameters(network)


def multiplications_a_sample(network: Network) -> float:
    """The same for each sample of the call."""
    return multiplications(network) / max(network.rows, 1)


def affordable_samples(network: Network, work: float, least: int = 1) -> int:
    """How many samples it can be run on for so many multiplications, but never fewer than `least`."""
    return max(least, int(work / max(multiplications_a_sample(network), 1)))


def multiplications_by_parameters(network: Network) -> int:
    """The same if every parameter were used once for every sample."""
    return network.parameter_count * network.rows
