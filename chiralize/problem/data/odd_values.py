"""Values of calibration inputs that are in no likely data: what never varies and did in training, missing joints.

An entry of the observation that is 0 in all samples, and 1.2 ± 0.4 in training, was not recorded. Means and spreads
hide that among many entries, so that entries are looked at one by one here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from chiralize.body.tensors import ResolvedTensor
from chiralize.errors import ChiralizeError
from chiralize.errors.words import listed
from chiralize.graph.running import Call
from chiralize.problem.data.missing_joints import missing_remarks
from chiralize.problem.data.moments.normalisers import input_moments
from chiralize.problem.data.remembered import moments_of, spreadings
from chiralize.problem.data.standardised import standardised_remarks
from chiralize.problem.network import Network

_STILL = 1e-3
"""Of the spread in training: an entry that varies less is the same in all samples."""
_OFF = 0.1
"""In spreads: one that stays at its mean tells nothing. Some keep a spread of 1 for what never varied."""
_NAMED = 3


def odd_values(network: Network, calls: Sequence[Call]) -> Iterator[str]:
    """Warnings of what is odd about the values of inputs."""
    try:
        known = input_moments(network.graph(), network.resolved.input_centers)
    except ChiralizeError:
        known = []
    yield from _never_moving(network, calls)
    for moments in known:
        tensor = network.resolved.input_tensors[moments.index]
        has_names = tensor.pose is not None or tensor.names  # pictures have none, and black borders
        seen = moments_of(network, moments, calls) if has_names and len(calls) > 1 else None
        if seen is not None:
            yield from _never_varying(tensor, *seen)
    yield from missing_remarks(network.resolved, calls)
    yield from standardised_remarks(network.resolved, calls)


def _never_moving(network: Network, calls: Sequence[Call]) -> Iterator[str]:
    """A warning of entries that never move and that answers react to, where nothing is remembered of them."""
    if len(calls) < 2:
        return
    for number, spreading in spreadings(network, calls).items():
        if not spreading.is_guessed:
            continue
        tensor, values = network.resolved.input_tensors[number], dict[str, str]()
        for index in map(tuple, spreading.drawn.nonzero().tolist()):
            values.setdefault(tensor.label((0, *index)), f"{float(spreading.given[index]):.3g}")
        label, value = next(iter(values.items()))
        yield (
            f"warning: the calibration inputs hardly vary in {listed(list(values), _NAMED)}: {label} stays at {value}, "
            "and the network keeps nothing of its training that tells how far it moved there. If it varies in use, "
            "give inputs in which it does, or --method average; if it never does, nothing is amiss. Where samples "
            "stand alone, fits see values drawn as far as it may have moved"
        )


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
            f"({name} {value}). Where samples stand alone, fits see values drawn as the network remembers them; better "
            "give inputs as the network gets them in use"
        )
