"""Whether inputs are of the kind that a network was trained on, judged by statistics that it keeps.

They are those of its first batch norm, or of its normaliser.

    shift = RMS over channels of (mean here - m) / sqrt v        factor = exp(RMS of log(variance here / v))

m and v are the running statistics. Other people and other actions shift by less than 1 and have a factor below 2; poses
in another joint order, with other axes or in other units shift by more than 2; one person walking has a factor of 2.4
to 3. A normaliser of observations shifts by 0.3 at most where robots do what they learned, and by 1.6 to 90 where
blocks or joints change places, or radians are degrees. Its factor tells nothing: robots in use vary less than while
they learned. Without either there is the number of directions that the inputs vary in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp

import torch
from torch import Tensor

from chiralize.graph import processes
from chiralize.graph.running import Arguments, Call
from chiralize.problem.data.moments.normalisers import input_moments
from chiralize.problem.data.moments.norms import UndeterminedError, norms, values
from chiralize.problem.data.moments.recovery import equations, read
from chiralize.problem.network import Network

MOST_SHIFT = 1.5
"""Between the shifts of other people (below 1) and of other orders or units (above 2)."""
MOST_SCALE = 5.0
"""How many times as far, or as little, inputs of the same unit are spread at most."""
MOST_FACTOR = 2.0
FEWEST_DIRECTIONS = 1.5
_ONE_FACTOR = 1.5
"""By what factor spreads may scatter about one that all are off by: 640 and 480 pixels in place of shares are 1.15."""
_DEAD = 1e-6
"""Of the largest remembered variance: a channel that varied less is left out."""
_RANK = 1e-5


@dataclass(frozen=True)
class Likeness:
    """Inputs compared with the statistics of a norm.

    scale: how many times as far the inputs are spread, the median over channels.  shift, factor: see above.
    scatter: the factor by which channels differ in that, RMS of its logarithm.
    is_normaliser: what is compared is a normaliser of entries, whose factor tells nothing.
    """

    norm: str
    channels: int
    shift: float
    factor: float
    scale: float
    is_normaliser: bool = False
    scatter: float = 1.0

    @property
    def is_scaled(self) -> bool:
        """Whether the spreads of all channels are off by about one factor, further than other inputs explain."""
        return not 1 / MOST_SCALE <= self.scale <= MOST_SCALE and self.scatter <= _ONE_FACTOR

    @property
    def is_foreign(self) -> bool:
        """Whether the inputs are of another kind, on which the network's answers mean nothing."""
        return not (self.shift <= MOST_SHIFT and 1 / MOST_SCALE <= self.scale <= MOST_SCALE)  # nan is foreign

    @property
    def is_poor(self) -> bool:
        """Whether the inputs, if of the right kind, are not spread as those in training."""
        return not self.is_normaliser and not self.factor <= MOST_FACTOR


def likeness(network: Network, calls: Sequence[Call]) -> Likeness | None:
    """Inputs, in the captured sizes, judged by the first norm or a normaliser; None where the network has neither.

    Raises ChiralizeError where there is no graph.
    """
    captured = network.graph()
    batches = (network.centered(Arguments.of(*call).tensors) for call in calls)
    norm, sums = next(iter(norms(captured)), None), _Sums()
    if norm is not None:
        for batch in batches:
            sums.add(values(captured, norm, batch))
        return sums.judged(norm.name, norm.mean, norm.variance)
    described = network.resolved.input_tensors
    normalisers = (
        moments
        for moments in input_moments(captured, network.resolved.input_centers)
        if not described[moments.index].is_free
    )
    # What a free input is multiplied by need be no normaliser: frequencies of a time.
    normaliser = next(normalisers, None)
    if normaliser is None:
        return None
    for batch in batches:
        sums.add(network.in_rows(batch[normaliser.index]).flatten(1))
    mean = _of_a_sample(network, normaliser.mean).to(sums.total)
    spread = _of_a_sample(network, normaliser.spread).to(sums.total)
    judged = sums.judged(normaliser.name, mean, spread.square())
    return None if judged is None else replace(judged, is_normaliser=True)


def _of_a_sample(network: Network, moments: Tensor) -> Tensor:
    """Moments in an input's shape as those of one sample, "entry"."""
    return network.in_rows(moments)[0].flatten()


class _Sums:
    """Running sums of every channel."""

    def __init__(self) -> None:
        self.count = 0
        self.total = self.square = torch.zeros(())

    def add(self, value: Tensor) -> None:
        """Add the values of one batch. value: channels along axis 1."""
        rows = value.double().movedim(1, -1).flatten(0, -2)  # value channel: samples and all other axes together
        self.count += len(rows)
        self.total, self.square = self.total + rows.sum(0), self.square + rows.square().sum(0)

    def judged(self, name: str, mean_there: Tensor, variance_there: Tensor) -> Likeness | None:
        """The inputs of all processes against remembered means and variances, NaN where there are none.

        None for fewer than 2 values, and where nothing that is remembered varied.
        """
        count = torch.tensor([float(self.count)], dtype=torch.float64)
        processes.add_up([count, self.total, self.square])
        self.count = round(float(count))
        alive = variance_there > _DEAD * variance_there.nan_to_num().max()
        if self.count < 2 or not bool(alive.any()):
            return None
        mean = self.total / self.count
        variance = (self.square / self.count - mean.square()) * self.count / (self.count - 1)
        ratio = (variance / variance_there)[alive].clamp_min(1e-12)
        shift = _rms(((mean - mean_there) / variance_there.sqrt())[alive])
        scale = ratio.median().sqrt()
        scatter = exp(_rms(ratio.sqrt().log() - scale.log()))
        return Likeness(name, int(alive.sum()), shift, exp(_rms(ratio.log())), float(scale), scatter=scatter)


def _rms(numbers: Tensor) -> float:
    """The root of the mean square."""
    return float(numbers.square().mean().sqrt())


def directions(rows: Tensor) -> float:
    """In how many directions rows "sample entry" vary: exp of the entropy of the shares of their variance.

    n directions of equal variance count as n; one with nearly all of the variance as little more than 1.
    """
    centered = rows.double() - rows.double().mean(0)
    shares = torch.linalg.svdvals(centered).square()
    shares = shares[shares > 0] / shares.sum()
    if not len(shares):
        return 0.0
    return float((-(shares * shares.log()).sum()).exp())


def remembered_mean(network: Network) -> Tensor | None:
    """The mean of the inputs in training, "entry", where the norms or a normaliser determine it.

    Raises ChiralizeError where there is no graph.
    """
    captured = network.graph()
    stored = input_moments(captured, network.resolved.input_centers)
    # Entry by entry, if every input has its normaliser.
    if stored and len(stored) == len(captured.inputs):
        means = [moments.mean for moments in sorted(stored, key=lambda one: one.index)]
        mean = torch.cat([_of_a_sample(network, of_input) for of_input in means])
        return mean if bool(mean.isfinite().all()) else None
    if network.resolved.is_single:
        return None
    # Else from W mu = m - b, if the channels read all directions of a sample.
    try:
        weight, rest, variance = equations(read(captured)[1])
    except UndeterminedError:
        return None
    rows = weight / variance.sqrt()[:, None]
    if int(torch.linalg.matrix_rank(rows, rtol=_RANK)) < rows.shape[1]:
        return None
    return torch.linalg.lstsq(rows, (rest / variance.sqrt())[:, None]).solution[:, 0]
