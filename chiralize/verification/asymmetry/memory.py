"""Whether a network was trained on one side, as far as its normaliser or its first batch norm remembers.

A normaliser keeps mean and spread of every entry of its inputs in training: (x - mean) / spread. If a policy always
turned left, the turn rate has a mean of 0.3 and a spread of 0.1, and that of the mirror image is -0.3: 6 spreads apart.
Conversions warn of it, and fit the side that the network knows (decision 0075).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from chiralize.errors import ChiralizeError
from chiralize.graph.mirror import NetworkMirror
from chiralize.problem.data.moments.normalisers import InputMoments, input_moments
from chiralize.problem.data.moments.norms import UndeterminedError
from chiralize.problem.data.moments.recovery import recover
from chiralize.problem.network import Network
from chiralize.verification.asymmetry.data import gaps_of, largest
from chiralize.verification.asymmetry.records import DataGap

_ON_BOTH_SIDES = 0.1
"""Spreads that the mean of an entry is apart from that of its mirror image, at most."""


@dataclass(frozen=True)
class Memory:
    """What a network remembers of its inputs in training.

    moments: means and spreads by input, with size 1 along axes that the mirror leaves alone.  gaps: entries whose mean
    is furthest from that of their mirror image, the worst first.  keeper: what keeps the mean of the worst, by name.
    """

    moments: tuple[InputMoments, ...] = ()
    gaps: tuple[DataGap, ...] = ()
    keeper: str = ""

    @property
    def is_one_sided(self) -> bool:
        """Whether some entry was on one side in training."""
        return bool(self.gaps) and self.gaps[0].shows_a_side

    @property
    def is_two_sided(self) -> bool:
        """Whether all entries were on both sides in training, as after flips or in people of all kinds."""
        return bool(self.moments) and all(gap.gap <= _ON_BOTH_SIDES for gap in self.gaps[:1])


def memory(network: Network, mirror: NetworkMirror) -> Memory:
    """What a network remembers of its inputs; empty where it keeps nothing, or where there is no graph of it.

    Inputs that are mirrored at a point (pixels) are left out: constants of their graphs are moved by their own average.
    """
    try:
        captured = network.graph()
    except ChiralizeError:
        return Memory()
    # What a normaliser keeps is exact; behind a first layer, batch norms determine the moments of its inputs.
    stored = input_moments(captured, network.resolved.input_centers) or list(_recovered(network))
    centers = mirror.input_centers or [None] * len(mirror.inputs)
    folded = tuple(
        _folded(moments, mirror)
        for moments in stored
        if not mirror.inputs[moments.index].is_trivial and centers[moments.index] is None
    )
    gaps, keepers = list[DataGap](), dict[DataGap, str]()
    for moments in folded:
        of_input = list(gaps_of(mirror, moments.index, moments.mean, moments.spread))
        gaps += of_input
        keepers |= dict.fromkeys(of_input, moments.name)
    ordered = largest(gaps)
    return Memory(folded, ordered, keepers[ordered[0]] if ordered else "")


def _folded(moments: InputMoments, mirror: NetworkMirror) -> InputMoments:
    """The same, averaged over axes that the mirror leaves alone."""
    mean, spread, still = moments.mean, moments.spread, mirror.inputs[moments.index].still_axes
    if still:
        mean, spread = mean.nanmean(still, keepdim=True), spread.nanmean(still, keepdim=True)
    return replace(moments, mean=mean, spread=spread)


def _recovered(network: Network) -> Iterator[InputMoments]:
    """Moments that the statistics of batch norms behind a first layer determine."""
    try:
        recovered = recover(network.graph(), network.resolved.inputs)
    except UndeterminedError:
        return
    gaussian, inputs = recovered.gaussian, recovered.inputs
    mean, spread = gaussian.mean.split(inputs.sizes), gaussian.factor.square().sum(1).sqrt().split(inputs.sizes)
    for index, (of_mean, of_spread, shape) in enumerate(zip(mean, spread, inputs.shapes, strict=True)):
        yield InputMoments(index, " and ".join(recovered.norms), of_mean.view(1, *shape), of_spread.view(1, *shape))
