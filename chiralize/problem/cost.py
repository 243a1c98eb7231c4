"""The cost of one run of a network, to decide how many runs a question is worth.

Costs are counted in multiplications of the captured graph. Steps have a budget of these, and `affordable_samples` is
budget / (multiplications of a sample), within bounds (decisions 0088, 0089).
"""

from __future__ import annotations

from math import inf

from chiralize.problem.network import Network

BATCH = 32
"""Samples of a batch that is put together of single ones."""
_WORK = 1e10
"""Multiplications of one batch: of costly networks it is fewer samples, since every check runs whole batches."""
CLIP = 100
"""How often a weight works on a sample that is a clip, on all joints and frames (decision 0088)."""
_VERDICT, _DRAWS, _FEWEST_DRAWS = 2e10, 8, 3
"""Multiplications of a verdict's random inputs, and how many they are. Each is run on both sides, in float64."""


def samples_of_a_batch(network: Network) -> int:
    """How many single samples are put together; as many as cost no more than a run should, two at least."""
    return affordable_samples(network, _WORK, 2, BATCH)


def draws(network: Network, asked: int | None) -> int:
    """How many random inputs a verdict takes: as many as were asked for, else 8, and 3 of a costly network."""
    if asked is not None:
        return asked
    return affordable_samples(network, _VERDICT, _FEWEST_DRAWS, _DRAWS)


def batch_sizes(network: Network) -> tuple[int, ...]:
    """Sizes of the batch to verify at, smaller ones of a costly network; a graph refuses those it was not made for."""
    sizes = 1, 2, affordable_samples(network, _VERDICT, 3, 5)
    least = network.floors.get("batch", 1)  # below it the original has no answer
    return tuple(size for size in sizes if size >= least)


def multiplications(network: Network) -> int:
    """Multiplications of one call of the examples, by its graph; where there is none, by its parameters."""
    return network.macs or multiplications_by_parameters(network)


def multiplications_a_sample(network: Network) -> float:
    """The same for each sample of the call."""
    return multiplications(network) / max(network.rows, 1)


def uses_of_a_weight(network: Network) -> float:
    """How often a weight works on a sample, in the mean."""
    return multiplications_a_sample(network) / max(network.parameter_count, 1)


def affordable_samples(network: Network, work: float, least: int = 1, most: float = inf) -> int:
    """How many samples it can be run on for so many multiplications: `least` at least, and `most` at most."""
    affordable = work / max(multiplications_a_sample(network), 1)
    return max(least, int(min(affordable, most)))


def multiplications_by_parameters(network: Network) -> int:
    """The same if every parameter were used once for every sample."""
    return network.parameter_count * network.rows
