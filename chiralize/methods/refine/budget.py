"""What a fit is followed by unasked: rounds for a small network, steps of training for a larger one, for a minute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

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
_FEWEST_STEPS, _MOST_STEPS = 150, 1500


@dataclass(frozen=True)
class Extra:
    """Rounds of Gauss-Newton, or steps of training with so many samples each."""

    rounds: int = 0
    steps: int = 0
    rows: int = 0


def unasked(network: Network, rho: float) -> Extra:
    """What is worth its time for this network. rho: after its fit."""
    work = network.macs / rows_of((network.args, dict(network.kwargs)))  # of a sample
    shapes = [tuple(weight.shape) for weight in network.module.parameters() if weight.is_floating_point()]
    return affordable(work, shapes, rho)


def affordable(work: float, shapes: Iterable[Sequence[int]], rho: float) -> Extra:
    """The same for a network of so many multiplications a sample, and weights of these shapes.

    A step reads as many samples as use every weight about a thousand times: few where a weight works on all joints or
    frames of a sample.
    """
    if work <= _QUICK:
        return Extra(rounds=_ROUNDS)
    if not _LEFT_OVER < rho <= _HOPELESS:
        return Extra()
    shapes = list(shapes)
    rows = round(_USES * sum(map(prod, shapes)) / work)
    rows = min(max(rows, _FEWEST_ROWS), _MOST_ROWS)
    steps = int(_WORK / (_PASSES * rows * work + sum(map(_orthogonalised, shapes)) / _CHEAPER))
    return Extra(steps=min(steps, _MOST_STEPS), rows=rows) if steps >= _FEWEST_STEPS else Extra()


def _orthogonalised(shape: Sequence[int]) -> float:
    """Multiplications in which the singular values of a weight are made equal."""
    if len(shape) < 2:
        return 0.0
    short, long = sorted((shape[0], prod(shape[1:])))
    return _ORTHOGONAL * (2.0 * short**2 * long + short**3)
