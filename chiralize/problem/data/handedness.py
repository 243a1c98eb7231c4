"""Whether calibration inputs are of the other handedness than those that a network was trained on.

Sensors differ in which way their lateral axis points. A body whose x is negated, while its joints keep their names, has
the left elbow where training had the right one. Everything else agrees with it: the mirror, the spreads, even most
means. What T swaps and negates tells: such entries have opposite means on both sides, so that

    c = sum P g P m / s^2 / sum (P m)^2 / s^2        over the entries that T swaps and negates

is about 1 for means g of the right handedness and -1 for those of the other. m, s: mean and spread in training;
P = (1 + T) / 2, so that it does not count to which side a whole body leans or stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from chiralize.graph.running import Call
from chiralize.problem.data.moments.normalisers import input_moments
from chiralize.problem.data.remembered import means_of
from chiralize.problem.network import Network
from chiralize.symmetry.action import act
from chiralize.symmetry.representation import TensorRepresentation

_OTHER = -0.5
"""c of inputs of the other handedness, at most."""
_TELLING = 0.3
"""In spreads: how far such entries have to lie on their side in training, RMS."""


@dataclass(frozen=True)
class Handedness:
    """alike: c of the inputs.  example: the entry that lies furthest on its side in training, in words."""

    alike: float
    example: str

    @property
    def is_other(self) -> bool:
        """Whether left is where right was."""
        return self.alike <= _OTHER


def handedness(network: Network, calls: Sequence[Call]) -> Handedness | None:
    """Of the inputs; None where the network keeps no moments, or these lie on no side.

    Raises ChiralizeError where there is no graph.
    """
    # products / squares is c, summed over all inputs.
    products, squares, count, furthest, example = 0.0, 0.0, 0, 0.0, ""
    for moments in input_moments(network.graph(), network.resolved.input_centers):
        representation = network.resolved.inputs[moments.index]
        if representation is None or not network.has_rows:
            continue
        lateral = _lateral(moments.mean[0], representation)
        means = means_of(network, moments, calls) if bool(lateral.any()) else None
        if means is None:
            continue
        given, mean, spread = means
        given, mean = (_symmetric(values, representation) for values in (given, mean))  # P g and P m
        lateral &= mean.isfinite() & (spread > 0)
        sides = (mean / spread).where(lateral, 0.0)
        products += float((given / spread * sides).where(lateral, 0.0).sum())
        squares += float(sides.square().sum())
        count += int(lateral.sum())
        if float(sides.abs().max()) > furthest:
            furthest, index = float(sides.abs().max()), np.unravel_index(int(sides.abs().argmax()), sides.shape)
            label = network.resolved.input_tensors[moments.index].label((0, *map(int, index)))
            example = f"{label} is {float(given[index]):.2g} in the mean, {float(mean[index]):.2g} in training"
    # In training the sides have to lie far enough apart: of means about 0 the sign is chance.
    if not count or squares < _TELLING**2 * count:
        return None
    return Handedness(products / squares, example)


def _symmetric(values: Tensor, representation: TensorRepresentation) -> Tensor:
    """The part of one sample that T leaves alone."""
    return (values + act(values[None], representation)[0]) / 2


def _lateral(mean: Tensor, representation: TensorRepresentation) -> Tensor:
    """The entries that T swaps and negates.  mean: of one sample, for its shape alone."""
    # Numbered from 1, since 0 has no sign: an image of -3 says that entry 3 comes here, negated.
    places = torch.arange(1, mean.numel() + 1, dtype=torch.float64).view(mean.shape)
    images = act(places[None], representation)[0]
    return (images < 0) & (images.abs() != places)
