"""What a fit is followed by unasked: rounds of Gauss-Newton for a small network, up to a minute of training for a
larger one, or of rounds where training would have too few steps or leads astray.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

from chiralize.methods.refine.gauss_newton import SAMPLES
from chiralize.problem.data.cutting import rows_of
from chiralize.problem.network import Network

_ROUNDS = 12
_QUICK = 250_000
"""Multiplications of a sample up to which a network gets these rounds: they take seconds."""
_LEFT_OVER = 0.6
"""rho above which a fit layer by layer leaves enough for larger networks to be trained as well."""
_HOPELESS = 5.0
"""rho above which a result stays too far from the flip average, whatever follows."""
_WORK = 8e11  # multiplications: about a minute of one core
_PASSES = 5  # of the network on every sample of a step, derivatives counted by what they cost
_ORTHOGONAL = 5  # iterations in which Muon makes singular values equal
_CHEAPER = 5  # by which their products are, in bfloat16
_USES = 1000  # of a weight in a step: enough for gradients of little noise
_FEWEST_ROWS, _MOST_ROWS = 16, 256
_FEWEST_STEPS, _MOST_STEPS = 200, 1500
_RUNS = 46  # of the network on every sample of a round, derivatives counted by what they cost
_FEWEST_ROUNDS, _SAMPLES, _FEWEST_SAMPLES = 4, 1000, 200


@dataclass(frozen=True)
class Extra:
    """Steps of training on so many rows each, and what to do where there are none, or where they lead astray: rounds
    of Gauss-Newton on so many samples each.
    """

    steps: int = 0
    rows: int = 0
    rounds: int = 0
    samples: int = 0


def unasked(network: Network, rho: float) -> Extra:
    """What is worth its time for this network. rho: after its fit."""
    return affordable(*_sizes(network), rho)


def rows_for(network: Network) -> int:
    """Samples of a step of training for this network."""
    return rows_of_a_step(*_sizes(network))


def _sizes(network: Network) -> tuple[float, list[tuple[int, ...]]]:
    """Multiplications of a sample, and the shapes of all weights."""
    work = network.macs / rows_of((network.args, dict(network.kwargs)))
    shapes = [tuple(weight.shape) for weight in network.module.parameters() if weight.is_floating_point()]
    return work, shapes


def rows_of_a_step(work: float, shapes: Iterable[Sequence[int]]) -> int:
    """As many samples as use every weight about a thousand times, within limits."""
    rows = round(_USES * sum(map(prod, shapes)) / work)
    return min(max(rows, _FEWEST_ROWS), _MOST_ROWS)


def affordable(work: float, shapes: Iterable[Sequence[int]], rho: float) -> Extra:
    """The same for a network of so many multiplications a sample, and weights of these shapes.

    A step reads as many samples as use every weight about a thousand times: few where a weight works on all joints or
    frames of a sample.
    """
    if work <= _QUICK:
        return Extra(rounds=_ROUNDS, samples=SAMPLES)
    if not _LEFT_OVER < rho <= _HOPELESS:
        return Extra()
    shapes = list(shapes)
    rows = rows_of_a_step(work, shapes)
    steps = int(_WORK / (_PASSES * rows * work + sum(map(_orthogonalised, shapes)) / _CHEAPER))
    rounds, samples = _rounds(work)
    if steps < _FEWEST_STEPS:
        return Extra(rounds=rounds, samples=samples)
    return Extra(min(steps, _MOST_STEPS), rows, rounds, samples)


def _rounds(work: float) -> tuple[int, int]:
    """Rounds that a minute holds, and samples of a round: many rounds on few samples go further than few on many
    (decision 0020). None where even a few are too many.
    """
    samples = _WORK / (_RUNS * work)  # of all rounds together
    if samples < _FEWEST_ROUNDS * _FEWEST_SAMPLES:
        return 0, 0
    rounds = min(max(int(samples / _SAMPLES), _FEWEST_ROUNDS), _ROUNDS)
    return rounds, min(int(samples / rounds), _SAMPLES)


def _orthogonalised(shape: Sequence[int]) -> float:
    """Multiplications in which the singular values of a weight are made equal."""
    if len(shape) < 2:
        return 0.0
    short, long = sorted((shape[0], prod(shape[1:])))
    return _ORTHOGONAL * (2.0 * short**2 * long + short**3)
