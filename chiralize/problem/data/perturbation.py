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
    """A call beside this one. Integers and booleans keep their values.

    calls: where a and b come from.  rows: the leading axis holds independent samples, and each gets its own a and b.
    """
    own = Arguments.of(*call)
    first, second = (_drawn(own.tensors, calls, rows, generator) for _ in range(2))
    return own.filled([_moved(*three, rows) for three in zip(own.tensors, first, second, strict=True)])


def _drawn(own: Sequence[Tensor], calls: Sequence[Call], rows: bool, generator: torch.Generator) -> list[Tensor]:
    """Tensors of another call; where there are rows, random ones of it, the same of every tensor.

    One that does not fit is replaced by the call's own.
    """
    place = int(torch.randint(len(calls), (), generator=generator))
    others = Arguments.of(*calls[place]).tensors
    if not rows:
        return [other if other.shape == kept.shape else kept for kept, other in zip(own, others, strict=True)]
    count = len(others[0])
    chosen = torch.randint(count, (len(own[0]),), generator=generator)
    return [
        other[chosen.to(other.device)] if other.ndim and len(other) == count and len(kept) == len(chosen) else kept
        for kept, other in zip(own, others, strict=True)
    ]


def _moved(own: Tensor, first: Tensor, second: Tensor, rows: bool) -> Tensor:
    if not own.is_floating_point():
        return own
    moved = own + SHARE * (first - second) / 2**0.5
    three = torch.stack([own, first, second])
    axes = (0, 1) if rows and own.ndim else (0,)
    return moved.clamp(three.amin(axes), three.amax(axes))
