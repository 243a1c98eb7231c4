"""The user's samples spread as far as those that a network was trained on, by the moments that it keeps of its inputs.

A normaliser, or a batch norm that reads the inputs entry by entry, keeps the mean m and the spread s of every entry.
Where samples are of one person or one action, their own mean m' and spread s' differ from these:

    x' = m + max(1, s / s') (x - m')

These are no inputs in use, but they reach as far, and stay as smooth over time as the samples are. To fit on some of
them costs little where samples are varied, and saves most of what narrow ones cost (decision 0097).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chiralize.errors import ChiralizeError
from chiralize.graph import processes
from chiralize.graph.running import Arguments, Call
from chiralize.problem.data.moments.normalisers import InputMoments, input_moments
from chiralize.problem.data.moments.norms import same
from chiralize.problem.network import Network

_MOST = 10.0
"""By which factor samples are spread at most: what hardly moves in them is noise."""
_DEAD = 1e-6
"""Of the remembered spread: an entry that varies less is constant, and stays."""
_WIDER = 1.1
"""By which factor an entry was spread further in training, for samples to be spread at all."""


@dataclass(frozen=True)
class Spreading:
    """How samples of one input are spread.

    given, remembered: mean of every entry in the samples, and in training; factor: by which distances from it grow.
    All have the axes of a sample, of size one where the network keeps one number for a whole axis (frames).
    """

    given: Tensor
    remembered: Tensor
    factor: Tensor

    def of(self, samples: Tensor) -> Tensor:
        """The samples, "sample entry...", spread."""
        return self.remembered.to(samples) + (samples - self.given.to(samples)) * self.factor.to(samples)


def spreadings(network: Network, calls: Sequence[Call]) -> Mapping[int, Spreading]:
    """How samples of these calls are spread, by the index of the input.

    Empty where the network keeps no moments, and where they say that the samples are spread as far as its training.
    """
    if not network.has_rows:
        return {}
    try:
        known = input_moments(network.graph(), network.resolved.input_centers)
    except ChiralizeError:
        return {}
    inputs = network.resolved.input_tensors
    by_input: dict[int, Spreading] = {}
    for moments in known:
        axes = _alike(moments)
        if inputs[moments.index].has_rows and _fits(moments, axes, calls[0]):
            spreading = _spreading(network, moments, axes, calls)
            if float(spreading.factor.max()) > _WIDER:
                by_input[moments.index] = spreading
    return by_input


def means_of(network: Network, moments: InputMoments, calls: Sequence[Call]) -> tuple[Tensor, Tensor, Tensor] | None:
    """Mean of every entry of an input in these calls and in training, and its spread there, about its centre.

    As one sample, an axis of one number broadcast; None where the samples have other sizes than the moments.
    """
    seen = moments_of(network, moments, calls)
    return None if seen is None else (seen[0], *seen[2:])


def moments_of(
    network: Network, moments: InputMoments, calls: Sequence[Call]
) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
    """Mean and spread of every entry of an input in these calls, and the same in training, as `means_of`."""
    axes = _alike(moments)
    if not network.has_rows or not _fits(moments, axes, calls[0]):
        return None
    mean, spread = moments.mean[0], moments.spread[0]
    given, spread_here = _moments_here(network, moments, axes, calls)
    return given.expand_as(mean), spread_here.expand_as(mean), mean, spread


def _moments_here(
    network: Network, moments: InputMoments, axes: Sequence[int], calls: Sequence[Call]
) -> tuple[Tensor, Tensor]:
    """Mean and spread of an input in the calls of all processes, along these axes taken together."""
    mean = _first_along(moments.mean[0], axes)
    count, total, square = torch.zeros(1, dtype=torch.float64), torch.zeros_like(mean), torch.zeros_like(mean)
    for call in calls:
        values = network.centered(Arguments.of(*call).tensors)[moments.index].double().cpu()
        pooled = [0, *(axis + 1 for axis in axes)]
        count += values.numel() / mean.numel()
        total += values.sum(pooled, keepdim=True)[0]
        square += values.square().sum(pooled, keepdim=True)[0]
    processes.add_up([count, total, square])
    given = total / count
    return given, (square / count - given.square()).clamp_min(0).sqrt()


def _spreading(network: Network, moments: InputMoments, axes: Sequence[int], calls: Sequence[Call]) -> Spreading:
    """Where nothing is remembered of an entry, or it does not vary in the samples, it stays as it is."""
    mean, spread = (_first_along(values[0], axes) for values in (moments.mean, moments.spread))
    given, spread_here = _moments_here(network, moments, axes, calls)
    stays = ~(mean.isfinite() & (spread_here > _DEAD * spread))
    factor = (spread / spread_here).clamp(1.0, _MOST).masked_fill(stays, 1.0)
    remembered = torch.where(stays, given, mean)
    center = network.resolved.input_centers[moments.index]
    offset = 0.0 if center is None else torch.from_numpy(center).double()
    return Spreading(given + offset, remembered + offset, factor)


def _alike(moments: InputMoments) -> list[int]:
    """The axes of a sample along which the network keeps one number."""
    axes = list[int]()
    for axis in range(moments.mean.ndim - 1):
        by_axis = [values.nan_to_num().movedim(axis + 1, 0) for values in (moments.mean, moments.spread)]
        if all(same(values, values[:1].expand_as(values)) for values in by_axis):
            axes.append(axis)
    return axes


def _fits(moments: InputMoments, axes: Sequence[int], call: Call) -> bool:
    """Whether samples have the sizes of the moments, other than along the axes that have one number."""
    given = list(Arguments.of(*call).tensors[moments.index].shape[1:])
    expected = list(moments.mean.shape[1:])
    for axis in axes:
        given[axis] = expected[axis] = 1
    return given == expected


def _first_along(values: Tensor, axes: Sequence[int]) -> Tensor:
    """The values with one entry along these axes."""
    for axis in axes:
        values = values.narrow(axis, 0, 1)
    return values
