"""Telling real inputs from numbers that a random generator drew.

What a network answers to noise says little of its symmetry: no body ever takes such a pose. Inputs count as noise where
their numbers could be independent draws from one normal or one uniform distribution, or are all the same. Every entry
may have a mean and a spread of its own, as of numbers drawn around a mean pose. Poses, joint angles and detections are
far from all of this: their coordinates cluster, and entries go together.

`compared_inputs` asks it of the user's inputs and of the examples. Numbers count as noise where the tests below find
nothing: a test that finds something is enough for real ones.
"""

from __future__ import annotations

import torch

from chiralize.graph.running import Arguments, Call
from chiralize.verification.evidence.distributions import dependence, distance

_MOST = 4096
_FEWEST = 16
_NORMAL = 1.4
"""sqrt(n) times the largest distance of the distribution from a normal one with the same mean and spread. Draws of a
normal distribution exceed 1.4 once in 2,500 times or less (1.2 once in 400 to 1,000)."""
_UNIFORM = 2.4
"""The bound for a uniform distribution between its ends; 2.4 is exceeded once in 50,000."""
_ALIKE = 4.0
"""Neighbours of independent numbers are correlated by less than 4 / sqrt(n)."""
_FEWEST_SAMPLES = 32
"""Fewer tell too little of the mean and the spread of every entry."""
_STILL = 1e-9
"""An entry does not vary where its spread is less than this share of its size."""
_DEPENDENT = 4.0
"""Standard deviations of John's statistic, which entries that belong to one body exceed many times over."""


def looks_real(calls: list[Call]) -> bool:
    """Whether some floating-point input of these calls is no noise."""
    inputs: dict[int, list[torch.Tensor]] = {}
    for call in calls:
        for index, tensor in enumerate(Arguments.of(*call).tensors):
            if tensor.is_floating_point() and tensor.numel():
                inputs.setdefault(index, []).append(tensor.detach().double())
    return any(not is_noise(tensors) for tensors in inputs.values())


def is_noise(tensors: list[torch.Tensor]) -> bool:
    """Whether these numbers are independent draws of one distribution, constant, or too few to tell.

    The distribution may have a mean and a spread of its own for every entry.  tensors: samples come first in each.
    """
    # Entries that depend on each other from sample to sample: a body, not draws.
    standard = _standard(tensors)
    if standard is not None and dependence(standard) >= _DEPENDENT:
        return False
    # All numbers as draws of one distribution; then, where there are samples enough, each entry as draws of its own.
    if not _goes_together(tensors) and _is_drawn(torch.cat([tensor.flatten() for tensor in tensors])):
        return True
    if standard is None:
        return False
    lowest, highest = standard.amin(0), standard.amax(0)
    between = (standard - lowest) / (highest - lowest)
    return _is_drawn(standard.flatten()) or _is_uniform(between.flatten()[:_MOST])


def _standard(tensors: list[torch.Tensor]) -> torch.Tensor | None:
    """The samples with mean 0 and spread 1 in every entry, "sample entry"; None where they are few or of several sizes.

    Entries that do not vary are left out, as of a root joint.
    """
    if any(tensor.ndim < 2 or tensor.shape[1:] != tensors[0].shape[1:] for tensor in tensors):
        return None
    samples = torch.cat(tensors).flatten(1)[:_MOST]
    if len(samples) < _FEWEST_SAMPLES:
        return None
    centred, spread = samples - samples.mean(0), samples.std(0)
    varies = spread > _STILL * samples.abs().amax(0)
    return centred[:, varies] / spread[varies]


def _is_drawn(values: torch.Tensor) -> bool:
    """Whether numbers are of a normal or a uniform distribution, constant, or too few to tell."""
    values = values[:_MOST]
    if len(values) < _FEWEST or bool((values == values[0]).all()):
        return True
    return _is_normal(values) or _is_uniform(values)


def _goes_together(tensors: list[torch.Tensor]) -> bool:
    """Whether neighbouring numbers, along any axis, are correlated by more than chance explains."""
    for axis in range(tensors[0].ndim):
        long = [tensor for tensor in tensors if tensor.shape[axis] > 1]
        if not long:
            continue
        first, second = _all_but_one(long, axis, 0), _all_but_one(long, axis, 1)
        if len(first) < _FEWEST:
            continue
        # The correlation of every number with the next one along the axis: frames, joints or samples beside each other.
        first, second = first - first.mean(), second - second.mean()
        scale = float(first.norm() * second.norm())
        if scale and abs(float(first @ second)) / scale > _ALIKE / len(first) ** 0.5:
            return True
    return False


def _all_but_one(tensors: list[torch.Tensor], axis: int, start: int) -> torch.Tensor:
    """The numbers of all tensors but the last (start 0) or the first ones (start 1) along an axis."""
    return torch.cat([tensor.narrow(axis, start, tensor.shape[axis] - 1).flatten() for tensor in tensors])[:_MOST]


def _is_normal(values: torch.Tensor) -> bool:
    """Whether numbers are drawn from a normal distribution with their mean and spread."""
    standard = (values - values.mean()) / values.std()
    return distance(torch.special.ndtr(standard.sort().values)) < _NORMAL


def _is_uniform(values: torch.Tensor) -> bool:
    """Whether numbers are drawn evenly between the least and the largest of them."""
    lowest, highest = values.min(), values.max()
    return distance(((values - lowest) / (highest - lowest)).sort().values) < _UNIFORM
