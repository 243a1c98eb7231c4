"""Telling real inputs from numbers that a random generator drew.

What a network answers to noise says little of its symmetry: no body ever takes such a pose. Inputs count as noise where
their numbers could be independent draws from one normal or one uniform distribution, or are all the same. Poses, joint
angles and detections are far from both: their coordinates cluster, and numbers beside each other go together.
"""

from __future__ import annotations

import torch

from chiralize.graph.running import Arguments, Call
from chiralize.verification.evidence.distributions import distance

_MOST = 4096
_FEWEST = 16
_NORMAL = 1.2
"""sqrt(n) times the largest distance of the distribution from a normal one with the same mean and spread; a sample of a
normal distribution exceeds 1.2 once in 5,000 times."""
_UNIFORM = 2.4
"""The same for a uniform one between its ends; 2.4 is exceeded once in 50,000."""
_ALIKE = 4.0
"""Neighbours of independent numbers are correlated by less than 4 / sqrt(n)."""


def looks_real(calls: list[Call]) -> bool:
    """Whether some floating-point input of these calls is no noise."""
    columns: dict[int, list[torch.Tensor]] = {}
    for call in calls:
        for index, tensor in enumerate(Arguments.of(*call).tensors):
            if tensor.is_floating_point() and tensor.numel():
                columns.setdefault(index, []).append(tensor.detach().double())
    return any(not is_noise(tensors) for tensors in columns.values())


def is_noise(tensors: list[torch.Tensor]) -> bool:
    """Whether these numbers are independent draws of one distribution, constant, or too few to tell."""
    values = torch.cat([tensor.flatten() for tensor in tensors])[:_MOST]
    if len(values) < _FEWEST or bool((values == values[0]).all()):
        return True
    if _goes_together(tensors):
        return False
    return _is_normal(values) or _is_uniform(values)


def _goes_together(tensors: list[torch.Tensor]) -> bool:
    """Whether numbers beside each other, along any axis, are correlated by more than chance explains."""
    for axis in range(tensors[0].ndim):
        long = [tensor for tensor in tensors if tensor.shape[axis] > 1]
        if not long:
            continue
        first, second = _all_but_one(long, axis, 0), _all_but_one(long, axis, 1)
        if len(first) < _FEWEST:
            continue
        first, second = first - first.mean(), second - second.mean()
        scale = float(first.norm() * second.norm())
        if scale and abs(float(first @ second)) / scale > _ALIKE / len(first) ** 0.5:
            return True
    return False


def _all_but_one(tensors: list[torch.Tensor], axis: int, start: int) -> torch.Tensor:
    """The numbers of all tensors but the last (start 0) or the first ones (start 1) along an axis."""
    return torch.cat([tensor.narrow(axis, start, tensor.shape[axis] - 1).flatten() for tensor in tensors])[:_MOST]


def _is_normal(values: torch.Tensor) -> bool:
    standard = (values - values.mean()) / values.std()
    return distance(torch.special.ndtr(standard.sort().values)) < _NORMAL


def _is_uniform(values: torch.Tensor) -> bool:
    lowest, highest = values.min(), values.max()
    return distance(((values - lowest) / (highest - lowest)).sort().values) < _UNIFORM
