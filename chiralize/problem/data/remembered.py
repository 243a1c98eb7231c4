"""The user's samples spread as far as those that a network was trained on, by the moments that it keeps of its inputs.

A normaliser, or a batch norm that reads the inputs entry by entry, keeps the mean m and the spread s of every entry.
Where samples are of one person or one action, their own mean m' and spread s' differ from these:

    x' = m + max(1, s / s') (x - m')

An entry that hardly moves in the samples (an arm held still while its robot walks) says nothing that could be spread:
what moves there is noise. It is drawn from N(m, s), by itself, for every sample; a share (a flag, a confidence) within
0..1. Where it never moved in training either, it stays: of such an entry normalisers keep a spread of 1, or next to
nothing, the root of what they add to a variance before they divide.

These are no inputs in use, but they reach as far, and stay as smooth over time as the samples are. To fit on some of
them costs little where samples are varied, and saves most of what narrow ones cost (decision 0097).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from chiralize.errors import ChiralizeError
from chiralize.graph.running import Arguments, Call
from chiralize.problem.data.moments.normalisers import InputMoments, input_moments
from chiralize.problem.data.moments.norms import same
from chiralize.problem.data.moments.pooled import pooled_moments
from chiralize.problem.data.spreading import Spreading
from chiralize.problem.data.unmoved import of_unmoved
from chiralize.problem.network import Network

_MOST = 10.0
"""By which factor samples are spread at most: what hardly moves in them is noise, and is drawn instead."""
_DEAD = 1e-6
"""Of the remembered spread: an entry that varies less is constant."""
_OFF = 0.1
"""How far from its mean, in spreads of 1, a constant may lie that never varied in training."""
_FLOOR, _ROUND = 0.1, 1e-3
"""What normalisers add to spreads or variances is a power of 10 (1e-8, 1e-5, 0.01). Up to _FLOOR, a spread that is one,
or the root of one, or that entries share, is theirs."""
_ROUNDED = 1e-7


def spreadings(network: Network, calls: Sequence[Call]) -> Mapping[int, Spreading]:
    """How samples of these calls are spread, by the index of the input.

    Empty where the moments that the network keeps say that the samples are spread as far as its training, and where it
    keeps none and every entry moves.
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
        # Samples of other frames will do where the network keeps one number for all frames.
        if inputs[moments.index].has_rows and _fits(moments, axes, calls[0]):
            by_input[moments.index] = _spreading(network, moments, axes, calls)
    unknown = [index for index in range(len(inputs)) if index not in by_input]
    by_input |= of_unmoved(network, calls, unknown)
    return {index: spreading for index, spreading in by_input.items() if spreading.is_needed}


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
    values = (network.centered(Arguments.of(*call).tensors)[moments.index] for call in calls)
    pooled = [0, *(axis + 1 for axis in axes)]  # the samples, and the axes of a sample that share one number
    return pooled_moments(values, _first_along(moments.mean[0], axes).shape, pooled)


def _spreading(network: Network, moments: InputMoments, axes: Sequence[int], calls: Sequence[Call]) -> Spreading:
    """How samples of an input are spread.

    Where nothing is remembered of an entry, or it never varied in training either, it stays as it is.
    """
    mean, spread = (_first_along(values[0], axes) for values in (moments.mean, moments.spread))
    given, spread_here = _moments_here(network, moments, axes, calls)
    stays = ~mean.isfinite() | (spread <= 0) | _never_moved(given, spread_here, mean, spread)
    # What would have to be spread more than tenfold is noise, and is drawn. Nothing is ever made narrower.
    is_drawn = ~stays & (_MOST * spread_here < spread)
    factor = (spread / spread_here).clamp(1.0, _MOST).masked_fill(stays | is_drawn, 1.0)
    remembered = torch.where(stays, given, mean)
    drawn = torch.where(is_drawn, spread, 0.0)
    # Moments are of x - c, as the graph reads it; samples are spread as they are.
    center = network.resolved.input_centers[moments.index]
    offset = 0.0 if center is None else torch.from_numpy(center).double()
    return Spreading(given + offset, remembered + offset, factor, drawn)


def _never_moved(given: Tensor, spread_here: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """Which entries are constant in the samples, and seem to have been so in training: their spread is made up."""
    off = (given - mean).abs()
    is_one = ((spread - 1).abs() < _DEAD) & (off <= _OFF * spread)
    power = 2 * spread.clamp_min(1e-30).log10()  # whole for 0.01, for 1e-4, and for the root of 1e-5
    is_added = (power - power.round()).abs() < _ROUND
    is_least = (spread <= _FLOOR) & (off <= spread) & (is_added | _is_shared(spread))
    # A variance of constants is rounding, its root 1e-8 of the constant.
    return (spread_here <= _DEAD * spread + _ROUNDED * given.abs()) & (is_one | is_least)


def _is_shared(spread: Tensor) -> Tensor:
    """Which entries have the spread of another entry, up to rounding."""
    ordered, order = spread.flatten().sort()
    is_next = ordered.diff() <= _DEAD * ordered[1:]  # of equal ones, each but the last has one behind it
    none = is_next.new_zeros(1)
    alike = torch.cat([is_next, none]) | torch.cat([none, is_next])
    return torch.empty_like(alike).scatter_(0, order, alike).view_as(spread)


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
