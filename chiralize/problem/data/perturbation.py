"""Inputs moved to points beside them, by noise that has their own covariance.

    x' = x + SHARE (a - b) / sqrt 2,    a, b: two other inputs, at random

a - b has mean 0 and twice the inputs' covariance, so that joints move together as they do in bodies and frames as they
do in motions, whatever the axes mean. What does not differ between inputs stays as it is, and no entry leaves the range
that x, a and b span there: confidences and masks stay between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from chiralize.graph.running import Arguments, Call

SHARE = 0.25
"""Of the inputs' spread."""


def perturbed(call: Call, calls: Sequence[Call], rows: bool, generator: torch.Generator) -> Call:
    """The call with its numbers moved to a point beside them. Integers and booleans keep their values.

    calls: where a and b come from.  rows: the leading axis holds independent samples, and each gets its own a and b.
    """
    arguments = Arguments.of(*call)
    first, second = (_drawn(arguments.tensors, calls, rows, generator) for _ in range(2))
    return arguments.filled([_moved(*point, rows) for point in zip(arguments.tensors, first, second, strict=True)])


def _drawn(tensors: Sequence[Tensor], calls: Sequence[Call], rows: bool, generator: torch.Generator) -> list[Tensor]:
    """Random rows of the tensors of another call, the same rows of every tensor; a tensor without rows as it is.

    One that does not fit is replaced by the call's own.
    """
    others = Arguments.of(*calls[int(torch.randint(len(calls), (), generator=generator))]).tensors
    drawn = list(tensors)
    if not rows:
        for index, (tensor, other) in enumerate(zip(tensors, others, strict=True)):
            if other.shape == tensor.shape:
                drawn[index] = other
        return drawn
    count = len(others[0])  # samples of the other call, which may be fewer
    chosen = torch.randint(count, (len(tensors[0]),), generator=generator)
    for index, (tensor, other) in enumerate(zip(tensors, others, strict=True)):
        if other.ndim and len(other) == count and len(tensor) == len(chosen):
            drawn[index] = other[chosen.to(other.device)]
    return drawn


def _moved(x: Tensor, a: Tensor, b: Tensor, rows: bool) -> Tensor:
    """x moved by a - b, within the range of the three.  rows: of every entry over all samples, else by itself."""
    if not x.is_floating_point():
        return x
    moved = x + SHARE * (a - b) / 2**0.5
    three = torch.stack([x, a, b])
    axes = (0, 1) if rows and x.ndim else (0,)
    return moved.clamp(three.amin(axes), three.amax(axes))
