"""Telling real inputs from numbers that a random generator drew.

What a network answers to noise says little of its symmetry: no body ever takes such a pose. Inputs count as noise where
their numbers could be independent draws from one normal or one uniform distribution, or are all the same. Poses, joint
angles and detections are far from both: their coordinates cluster, and numbers beside each other go together.
"""

from __future__ import annotations

import torch

from chiralize.graph.running import Arguments, Call
from chiralize.verification.evidence.distributions import dependence, distance

_MOST = 4096
_FEWEST = 16
_NORMAL = 1.2
"""sqrt(n) times the largest distance of the distribution from a normal one with the same mean and spread; a sample of a
normal distribution exceeds 1.2 once in 5,000 times."""
_UNIFORM = 2.4
"""The bound for a uniform distribution between its ends; 2.4 is exceeded once in 50,000."""
_ALIKE = 4.0
"""Neighbours of independent numbers are correlated by less than 4 / sqrt(n)."""
_FEWEST_SAMPLES = 32
_DEPENDENT = 4.0
"""Standard deviations of John's statistic, which entries that belong to one body exceed many times over."""


def looks_real(calls: list[Call]) -> bool:
    """Whether some floating-point input of these calls is no noise."""
    return any(not is_noise(tensors) for tensors in _by_input(calls))


def looks_drawn(calls: list[Call]) -> bool:
    """Whether all floating-point inputs of these calls are noise, be it of a mean and a spread of its own per entry.

    Such numbers are what is drawn where the moments of the inputs are known, as by a normaliser, and no inputs are.
    """
    return all(map(_is_drawn, _by_input(calls)))


def _by_input(calls: list[Call]) -> list[list[torch.Tensor]]:
    """The floating-point tensors of every input that has some, in float64."""
    inputs: dict[int, list[torch.Tensor]] = {}
    for call in calls:
        for index, tensor in enumerate(Arguments.of(*call).tensors):
            if tensor.is_floating_point() and tensor.numel():
                inputs.setdefault(index, []).append(tensor.detach().double())
    return list(inputs.values())


def _is_drawn(tensors: list[torch.Tensor]) -> bool:
    """Whether the entries are drawn independently of each other; samples come first. Constant entries do not count."""
    size = tensors[0][0].numel() if tensors[0].ndim else 0
    rows = torch.cat([tensor.reshape(-1, max(size, 1)) for tensor in tensors if tensor[:1].numel() == size])[:_MOST]
    rows = rows[:, rows.std(dim=0) > 0]
    if len(rows) < _FEWEST_SAMPLES or not rows.numel():
        return is_noise(tensors)
    standard = (rows - rows.mean(dim=0)) / rows.std(dim=0)
    return dependence(standard) < _DEPENDENT and (is_noise(tensors) or _is_normal(standard.flatten()[:_MOST]))


def is_noise(tensors: list[torch.Tensor]) -> bool:
    """Whether these numbers are independent draws of one distribution, constant, or too few to tell."""
    values = torch.cat([tensor.flatten() for tensor in tensors])[:_MOST]
    if len(values) < _FEWEST or bool((values == values[0]).all()):
        return True
    if _goes_together(tensors):
        return False
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
