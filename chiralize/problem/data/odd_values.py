"""Values of calibration inputs that are in no likely data: what never varies and did in training, and stored zeros."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from chiralize.body.tensors import ResolvedSpec, ResolvedTensor
from chiralize.errors import ChiralizeError
from chiralize.errors.words import listed, percent
from chiralize.graph.running import Call
from chiralize.problem.data.cutting import tensors
from chiralize.problem.data.moments.normalisers import input_moments
from chiralize.problem.data.remembered import moments_of
from chiralize.problem.network import Network

_STILL = 1e-3
"""Of the spread in training: an entry that varies less is the same in all samples."""
_OFF = 0.1
"""In spreads: one that stays at its mean tells nothing. Some keep a spread of 1 for what never varied."""
_ZEROS = 1e-3
"""Share of exact zeros, of coordinates that are mirrored at another point, from which on they stand for something."""
_NAMED = 3


def odd_values(network: Network, calls: Sequence[Call]) -> Iterator[str]:
    """Warnings of what is odd about the values of inputs."""
    try:
        known = input_moments(network.graph(), network.resolved.input_centers)
    except ChiralizeError:
        known = []
    for moments in known:
        tensor = network.resolved.input_tensors[moments.index]
        has_names = tensor.pose is not None or tensor.names  # pictures have none, and black borders
        seen = moments_of(network, moments, calls) if has_names and len(calls) > 1 else None
        if seen is not None:
            yield from _never_varying(tensor, *seen)
    for tensor in network.resolved.input_tensors:
        yield from _stored_zeros(tensor, calls)


def _never_varying(
    tensor: ResolvedTensor, given: Tensor, spread_here: Tensor, mean: Tensor, spread: Tensor
) -> Iterator[str]:
    """A warning of entries that are the same in all samples, away from their mean in training, and varied there.

    given, spread_here: mean and spread of the samples; mean, spread: in training. All of one sample.
    """
    is_still = mean.isfinite() & (spread > 0) & (spread_here < _STILL * spread)
    is_still &= (given - mean).abs() > _OFF * spread
    values: dict[str, str] = {}
    for index in map(tuple, is_still.nonzero().tolist()):
        values.setdefault(
            tensor.label((0, *index)),
            f"is {float(given[index]):.3g} in all of them, {float(mean[index]):.3g} ± {float(spread[index]):.2g} there",
        )
    if values:
        name, value = next(iter(values.items()))
        yield (
            f"warning: the calibration inputs never vary in what varied in training: {listed(list(values), _NAMED)} "
            f"({name} {value}). Fits on them see nothing of it; give inputs as the network gets them in use"
        )


def _stored_zeros(tensor: ResolvedTensor, calls: Sequence[Call]) -> Iterator[str]:
    """A warning of exact zeros where coordinates are mirrored at another point, as pixels are: joints not seen?"""
    share = zeros_stored(tensor, calls)
    if not share:
        return
    facts = f"the calibration inputs hold exact zeros in {percent(share)} of the coordinates of {tensor.where}"
    if tensor.entry.missing == "zero":
        yield (
            f"warning: {facts}, missing joints, and T puts them at 2 c, where no joint is: gaps, drift and rho are "
            "measured with them and may say that a right mirror is wrong, and an average answers to them, too. "
            "Fill them in before the network, or store them at the centre"
        )
    else:
        yield (
            f"warning: {facts} that are mirrored at another point: where they stand for joints that are missing, their "
            "mirror image is no zero. Fill them in before the network, store them at the centre, or say `missing: zero`"
        )


def fill_in_first(resolved: ResolvedSpec, calls: Sequence[Call]) -> str:
    """What to do first where joints are stored as 0, which T takes for points; ends in `; then `. "" elsewhere."""
    for tensor in resolved.input_tensors:
        if share := zeros_stored(tensor, calls):
            return (
                f"fill in the joints of {tensor.where} that are stored as 0 ({percent(share)} of its coordinates), or "
                "store them at the centre: T puts them at 2 c, where no joint is; then "
            )
    return ""


def zeros_stored(tensor: ResolvedTensor, calls: Sequence[Call]) -> float:
    """The share of exact zeros among coordinates that are mirrored at another point; 0 where it is about none."""
    if tensor.center is None:
        return 0.0
    is_away = torch.from_numpy(np.broadcast_to(tensor.center, tensor.shape).copy() != 0)[:1]
    zeros = count = 0
    for call in calls:
        values = tensors(call)[tensor.index]
        if values.shape[1:] != is_away.shape[1:]:
            return 0.0
        seen = (values == 0) & is_away.to(values.device)
        zeros, count = zeros + int(seen.sum()), count + len(values) * int(is_away.sum())
    if not count or zeros <= _ZEROS * count:
        return 0.0
    return zeros / count
