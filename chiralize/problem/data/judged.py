"""Which of the user's inputs a verdict is run on.

Eight calls are as many as random ones. Of 2,000 single samples each holds 32, taken from all over the file; a network
that takes one sample a call is run on `most` of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TypeVar

from chiralize.errors import ModelRunError
from chiralize.graph.running import Call, Runner
from chiralize.problem.cost import affordable_samples
from chiralize.problem.data.cutting import in_common, leading
from chiralize.problem.data.inputs import stacked
from chiralize.problem.network import Network

RANDOM_ALONE = (
    "it was run on random inputs alone, and there is no proof for others: --calibration brings real inputs, which may "
    "reach what random ones do not"
)
_CALLS = 8
_ROWS = 32
_WORK = 2e10
"""Multiplications of a run on all of them; they are run on both sides, in float64."""
_Item = TypeVar("_Item")


def judged_on(network: Network, calls: Sequence[Call], most: int = _CALLS) -> Sequence[Call]:
    """Eight calls, of samples that are spread evenly over all that were given, or fewer where there are fewer.

    Few samples are put together, 32 in a call, where the network takes batches.  most: calls where it does not.
    Of a costly network there are fewer samples, and fewer calls.
    """
    if not calls:
        return []
    rows = network.samples_in(calls[0])
    affordable = affordable_samples(network, _WORK)
    # How many of the user's calls are put into one of the eight.
    together = 1
    if network.has_rows and leading(calls[0]).ndim and None not in network.resolved.inputs:
        together = min(_ROWS, affordable // _CALLS) // rows
    together = min(together, len(calls) // _CALLS)
    if together <= 1:
        return _spread(calls, min(most, max(affordable // rows, 1)))
    chosen = _spread(calls, _CALLS * together)
    # A program may refuse a larger batch: the first group is run to see.
    for common in in_common(network, calls):
        groups = [stacked(chosen[start : start + together], common) for start in range(0, len(chosen), together)]
        with suppress(ModelRunError), Runner(network.module) as runner:
            runner.run(groups[:1], {})
            return groups
    return _spread(calls, most)


def _spread(items: Sequence[_Item], most: int) -> list[_Item]:
    """So many of the items, evenly spread, the last among them; all where there are no more."""
    if len(items) <= most:
        return list(items)
    return [items[(index + 1) * len(items) // most - 1] for index in range(most)]
