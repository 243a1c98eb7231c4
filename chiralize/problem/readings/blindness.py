"""Readings under which a network treats all joints alike: any mirror would pass, so that they say nothing.

A layer on flat observations takes `b j t` with as many "frames" as it has inputs, one joint at a time.  Whatever swaps
joints then swaps its answers, and a verdict would approve of a mirror that the network has never seen.

The test runs the network on x and on x with every joint moved on by one, a cycle: joints 0 1 2 become 2 0 1. A network
that treats joints alike answers with the same cycle. No mirror of more than two joints is a cycle through all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from chiralize.body.tensors import ResolvedTensor
from chiralize.problem.readings.trial import Arrange, Trial

_SAME = 1e-4
_SAME_IN_HALF = 0.02
"""Difference, relative to the answers, that rounding explains, and the same in half precision (float16, bfloat16)."""


def treats_joints_alike(
    trial: Trial, arrange: Arrange, inputs: Sequence[ResolvedTensor], outputs: Sequence[ResolvedTensor]
) -> bool:
    """Whether joints in another order, which is no mirror, give the same answers in that order.

    False where the network cannot be run, and for inputs whose sizes come from a description of their own (fields).
    """
    moved = [tensor for tensor in inputs if _joints(tensor) > 2]
    if not moved:  # of two joints the cycle is a swap, which may be the mirror itself
        return False
    generator = torch.Generator().manual_seed(1)
    values = [torch.randn(tensor.shape, generator=generator).to(trial.dtype) for tensor in inputs]
    plain = trial.values(values, arrange)
    other = trial.values([_reordered(tensor, value) for tensor, value in zip(inputs, values, strict=True)], arrange)
    if plain is None or other is None:
        return False
    same = _SAME if trial.dtype.itemsize > 2 else _SAME_IN_HALF
    for tensor, before, after in zip(outputs, plain, other, strict=True):
        if not before.is_floating_point():
            continue  # whole numbers are no coordinates
        wanted = _reordered(tensor, before).double()
        if not float((wanted - after.double()).abs().max()) <= same * float(before.double().abs().max()):
            return False  # also where answers are nan, which is said later
    return True


def _joints(tensor: ResolvedTensor) -> int:
    """How many joints a tensor has; 0 for one without."""
    if tensor.pose is not None:
        return tensor.pose.word_sizes().get("j", 0)
    return 0


def _reordered(tensor: ResolvedTensor, value: Tensor) -> Tensor:
    """The tensor with each joint in the place of the next; as it is where it has none."""
    if not _joints(tensor) or tensor.pose is None:
        return value
    layout = tensor.pose.layout
    axis = layout.axis_of("j")
    assert axis is not None
    words = layout.axes[axis]
    apart = value.unflatten(axis, tensor.pose.sizes_of(words))  # an axis (j d) becomes two, to move j alone
    return apart.roll(1, axis + words.index("j")).flatten(axis, axis + len(words) - 1)
