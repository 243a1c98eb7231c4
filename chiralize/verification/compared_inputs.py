"""On which inputs T is compared with other mirrors, and how many of these may be tried, by what a run costs.

`mirror_evidence` asks this before it compares. Real inputs are thinned to 256 samples in 16 calls, or fewer where the
network is costly, and run as one batch where that is cheap; sequences to 16 of 100 steps; without real inputs a few
random calls have to do.

Example: a network of 10⁷ multiplications a sample on 64 samples costs 6.4 * 10⁸ a mirror. Of the 10¹⁰ multiplications
for all mirrors together that makes 15, so that the least number of 16 is tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from math import ceil

from chiralize.errors import ModelRunError
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.rollouts import Steps
from chiralize.graph.running import Arguments, Call, Runner, random_calls
from chiralize.problem.cost import BATCH, affordable_samples, multiplications_a_sample
from chiralize.problem.data.cutting import in_one, in_rows, thinned
from chiralize.problem.data.forecasts import last_frames
from chiralize.problem.network import Network
from chiralize.verification.evidence.answers import FEWEST_ROWS, Answers, of_calls
from chiralize.verification.evidence.noise import looks_real

_ROWS, _CALLS = 256, 16  # samples and calls of real inputs at most
_NOISE_ROWS, _NOISE_CALLS, _NOISE_RUNS = 24, 8, 12  # on noise no mirror is refuted, so little is spent (decision 0026)
_STEPS, _MOST_STEPS, _SEQUENCES, FIRST = 100, 1600, 16, 4
"""Steps of a sequence along which mirrors are compared, of all together, and how many sequences at most; of these the
first suffice to drop a mirror that is far worse than T, and to look for several changes. Which foot goes first sets the
first steps of two views further apart than all later ones; and one clip, of one motion, spreads less than all clips do:
of four the gap of a right mirror was anything from 0.24 to 0.48."""
_WORK = 1e10  # multiplications to spend on all mirrors together
_LEAST_RUNS, _MOST_RUNS = 16, 160  # mirrors that are run on inputs of their own
_COSTLY, _FEWEST_RUNS = 5e11, 8
"""Multiplications, about half a minute, and how many mirrors are tried where the first inputs alone take so many."""


def evenly_taken(sequences: Sequence[Steps]) -> list[Steps]:
    """Some of the sequences, from all over their file, which mostly has like beside like."""
    lengths = sorted(min(len(steps), _STEPS) for steps in sequences)
    # By the median length: of 100 steps 16 sequences make 1,600, of 400 steps (cut to 100) likewise.
    count = min(len(sequences), _SEQUENCES, max(FIRST, _MOST_STEPS // max(lengths[len(lengths) // 2], 1)))
    return [sequences[number * len(sequences) // count][:_STEPS] for number in range(count)]


def answers_to(network: Network, runner: Runner, mirror: NetworkMirror, calls: Sequence[Call], real: bool) -> Answers:
    """The network's answers to the calls, which go in one batch where it takes batches of any size.

    Every other mirror needs a run of them, and many small runs cost their overhead alone: of a small network, 16 calls
    take ten times as long as one.

    mirror: T.  real: the calls are the user's, of which the first few are run before the others where runs are costly.
    """
    frames = last_frames(network.resolved) if real else None
    if real:
        samples = network.samples_in(calls[0])
        if _LEAST_RUNS * multiplications_a_sample(network) * samples * len(calls) > _WORK:
            return of_calls(runner, mirror, calls, ceil(FEWEST_ROWS / samples), frames)
    with suppress(ModelRunError):  # it may refuse the batch all the same
        return of_calls(runner, mirror, in_one(network, calls), frames=frames)
    return of_calls(runner, mirror, calls, frames=frames)


def random_inputs_of(network: Network, mirror: NetworkMirror, count: int) -> list[Call]:
    """Random calls in the shapes of the example, where inputs live."""
    example = Arguments.of(network.args, network.kwargs)
    return list(map(mirror.placed, random_calls(example, count, 0)))


def inputs_to_compare_on(network: Network, mirror: NetworkMirror, inputs: Sequence[Call]) -> tuple[list[Call], bool]:
    """Inputs on which mirrors are compared, and whether they are real."""
    rows = affordable_samples(network, _WORK / _LEAST_RUNS, 8, _ROWS)
    if inputs:
        rows = max(rows, BATCH)  # however costly: of fewer the network's gap is not known well enough to refuse it
        calls = in_rows(network, thinned(network, inputs, rows), rows)
        # Batches may be larger or smaller than the user's: thinned once more, now by the batches as they are.
        calls = thinned(network, calls, min(rows, _CALLS * network.samples_in(calls[0])))[:_CALLS]
        if looks_real(calls):
            return calls, True
    example: Call = (tuple(network.args), dict(network.kwargs))
    if looks_real([example]):
        return [example], True
    count = max(2, min(_NOISE_CALLS, min(rows, _NOISE_ROWS) // max(network.rows, 1)))
    return random_inputs_of(network, mirror, count), False


def runs_for(network: Network, calls: Sequence[Call], real: bool) -> int:
    """How many mirrors may be tried that need runs on inputs of their own: fewer where a run is costly."""
    if not real:
        return _NOISE_RUNS
    work = multiplications_a_sample(network)
    least = _FEWEST_RUNS if _LEAST_RUNS * FEWEST_ROWS * work > _COSTLY else _LEAST_RUNS
    return max(least, min(_MOST_RUNS, int(_WORK / max(work * sum(map(network.samples_in, calls)), 1))))
