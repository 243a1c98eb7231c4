"""Pictures turned, scaled and shifted a little, so that few of them become many.

A mean of pictures, which moves other inputs (`perturbation.py`), shows two bodies on top of each other: it teaches what
is of no use. A picture that was taken from a little further to the side looks like those that the network will see.
"""

from __future__ import annotations

from collections.abc import Container

import torch
from torch import Tensor
from torch.nn import functional

from chiralize.body.tensors import ResolvedSpec, ResolvedTensor, parse_layout
from chiralize.graph.running import Arguments, Call

TURN = 0.4
"""Radians by which a picture is turned at most, to either side."""
LARGER = 1.3
"""How many times as large, or as small, as it was a picture becomes at most."""
ASIDE = 0.1
"""Of the width, or the height, by which a picture is shifted at most."""


def pictures_of(resolved: ResolvedSpec) -> frozenset[int]:
    """Which inputs are pictures, by position: four axes, "sample, anything, height, width", the last one reversed."""
    return frozenset(tensor.index for tensor in resolved.input_tensors if is_picture(tensor))


def is_picture(tensor: ResolvedTensor) -> bool:
    """Whether an input has these axes."""
    if len(tensor.shape) != 4 or not tensor.has_rows or tensor.representation is None or not tensor.entry.mirror:
        return False
    layout = parse_layout(tensor.layout)
    reversed_axes = [layout.axis_of(word) for word, _ in tensor.entry.mirror]
    return reversed_axes == [3] and tensor.representation.axes[2].is_trivial


def warped(call: Call, pictures: Container[int], generator: torch.Generator, amount: float = 1.0) -> Call:
    """The call with its pictures moved; all pictures of one sample in the same way. What lies beyond a border is
    reflected there.

    pictures: positions of "sample channel h w", floating-point; others keep their values.  amount: of the most by which
    they may be moved.
    """
    arguments = Arguments.of(*call)
    tensors = list(arguments.tensors)
    moves: Tensor | None = None
    for position, tensor in enumerate(tensors):
        if position in pictures and tensor.is_floating_point():
            if moves is None:
                moves = amount * (2 * torch.rand(len(tensor), 4, generator=generator) - 1)
            tensors[position] = _moved(tensor, moves)
    return arguments.filled(tensors)


def _moved(pictures: Tensor, moves: Tensor) -> Tensor:
    """moves: "sample 4", from -1 to 1: how far each is turned, scaled, and shifted along both axes."""
    height, width = pictures.shape[-2:]
    turn, scale, *aside = moves.to(pictures).unbind(1)
    size = LARGER**scale
    cosine, sine = size * torch.cos(TURN * turn), size * torch.sin(TURN * turn)
    # `affine_grid` counts from -1 to 1 along either axis. The ratio of the sides keeps a turn from being a shear.
    across = torch.stack([cosine, -sine * height / width, 2 * ASIDE * aside[0]], 1)
    down = torch.stack([sine * width / height, cosine, 2 * ASIDE * aside[1]], 1)
    grid = functional.affine_grid(torch.stack([across, down], 1), list(pictures.shape), align_corners=False)
    return functional.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
