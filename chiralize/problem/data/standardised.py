"""Inputs that a normaliser outside the network has standardised, number by number: T of them is no T of what they were.

    z = (x - m) / s      T z is the image of T x    if and only if    T m = m  and  s is the same for partners

Means and spreads of unmirrored data are not like that. A network behind them is made equivariant for z, and what is
deployed around it is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import torch

from chiralize.body.tensors import ResolvedSpec, ResolvedTensor
from chiralize.graph.running import Call
from chiralize.problem.data.cutting import tensors
from chiralize.symmetry.action import act

_OFF = 0.15
"""Means within this of 0 and spreads within this of 1 are those of standardised numbers."""
_SHARE, _FEWEST, _LEAST = 0.9, 6, 100
"""So many of the numbers that T moves, and so many of them at least, in so many samples."""
_TOGETHER, _BY_CHANCE = 0.05, 1.6
"""Noise has such moments, too; the numbers of a body go together: their correlations are larger in the mean than this,
and than twice those of as much noise, sqrt(2 / pi n) each."""
_MOST = 4_000
STANDARDISED = (
    "{} may have been standardised number by number (means of 0, spreads of 1) outside the network. The result is "
    "equivariant for these numbers; for what they were before, only where that step is symmetric: partners have one "
    "spread, and T leaves the means alone. Let the network do it (`--normalizer`, or a class around both), or average "
    "its statistics with their mirror image; the same holds for answers that are scaled back outside"
)


def standardised_remarks(resolved: ResolvedSpec, calls: Sequence[Call]) -> Iterator[str]:
    """A remark on every input that looks standardised."""
    for tensor in resolved.input_tensors:
        if calls and _is_standardised(tensor, calls):
            yield STANDARDISED.format(tensor.where)


def _is_standardised(tensor: ResolvedTensor, calls: Sequence[Call]) -> bool:
    """Whether nearly all numbers that T moves have a mean of 0 and a spread of 1, and are no noise."""
    if tensor.representation is None or not (tensor.pose is not None or tensor.names):
        return False
    seen = [tensors(call)[tensor.index] for call in calls]
    if any(values.shape[1:] != tensor.shape[1:] or not values.is_floating_point() for values in seen):
        return False
    every = max(1, sum(map(len, seen)) // _MOST)
    values = torch.cat([values.detach()[::every].cpu() for values in seen]).double()
    free = [axis for _, axis in tensor.free_axes]
    body = [axis for axis in range(values.ndim) if axis not in free]
    if not free or not body or len(values) < _LEAST:
        return False
    moved, numbers = (
        each.permute(*free, *body).flatten(0, len(free) - 1).flatten(1) for each in (_moved(tensor), values)
    )
    numbers = numbers[:, moved[0]]
    numbers = numbers[numbers.isfinite().all(1)]
    if len(numbers) < _LEAST:
        return False
    spread = numbers.std(0)
    varies = spread > 0
    is_standard = varies & (numbers.mean(0).abs() < _OFF) & ((spread - 1).abs() < _OFF)
    if int(varies.sum()) < _FEWEST or int(is_standard.sum()) < _SHARE * int(varies.sum()):
        return False
    varying = numbers[:, varies]
    together = torch.corrcoef(varying.T).abs()
    count = len(together)
    least = max(_TOGETHER, _BY_CHANCE * len(varying) ** -0.5)
    return float(together.sum() - count) > least * count * (count - 1)


def _moved(tensor: ResolvedTensor) -> torch.Tensor:
    """Which entries T negates or puts elsewhere, in the sizes of the tensor."""
    assert tensor.representation is not None
    positions = torch.arange(1, prod(tensor.shape) + 1, dtype=torch.float64).view(tensor.shape)
    return act(positions, tensor.representation) != positions
