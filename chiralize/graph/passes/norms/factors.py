"""What a stored weight is multiplied with where what it reads is scaled entry by entry."""

from __future__ import annotations

from torch import Tensor

from chiralize.graph.model import Node
from chiralize.graph.passes.centering.operations import base

CONVOLUTIONS = {"conv1d": 1, "conv2d": 2, "conv3d": 3}
MATRICES = frozenset("matmul mm addmm".split())


def factor(node: Node, scale: Tensor, place: int, weight: Tensor) -> Tensor | None:
    """What a stored weight is multiplied with, to be broadcast to the operand that it is; None where it cannot be.

    place: of the scaled operand among the factors.
    """
    name = base(node)
    if name in CONVOLUTIONS:
        own = along(scale, 1) if scale.ndim == 2 + CONVOLUTIONS[name] else None
        if own is None:
            return None
        groups = int(node.arguments.get("groups", 1))
        rows = own.reshape(groups, 1, -1).expand(groups, weight.shape[0] // groups, -1).flatten(0, 1)
        return rows.reshape(*rows.shape, *(1,) * CONVOLUTIONS[name])
    if name == "linear":
        return along(scale, scale.ndim - 1)
    if name in MATRICES:
        own = along(scale, scale.ndim - 1) if place == 0 and weight.ndim == 2 else None
        return None if own is None else own[:, None]
    return _einsum_factor(node.arguments["equation"], scale, place)


def _einsum_factor(equation: str, scale: Tensor, place: int) -> Tensor | None:
    """Every letter of the scaled operand that the scale depends on must be one of the weight."""
    operands = equation.replace(" ", "").split("->")[0].split(",")
    if "." in equation or len(operands) != 2 or len(set(operands[place])) != len(operands[place]):
        return None
    own, other = operands[place], operands[1 - place]
    for axis, letter in enumerate(own):
        if letter not in other:
            first = scale.narrow(axis, 0, 1)
            if not bool((scale == first).all()):
                return None
            scale = first
    kept = [axis for axis, letter in enumerate(own) if letter in other]
    letters = [own[axis] for axis in kept]
    scale = scale.reshape([scale.shape[axis] for axis in kept])
    order = [letters.index(letter) for letter in other if letter in letters]
    sizes = iter(scale.permute(order).shape)
    return scale.permute(order).reshape([next(sizes) if letter in letters else 1 for letter in other])


def along(scale: Tensor, axis: int) -> Tensor | None:
    """A scale that depends on its place on one axis only, as a vector; None for any other."""
    rows = scale.movedim(axis, -1).reshape(-1, scale.shape[axis])
    return rows[0] if len(rows) and bool((rows == rows[0]).all()) else None
