"""The factors that make up, in a stored weight, for a scale of the values that it reads, entry by entry.

W (s z) = (W diag s) z: a column of W for every feature that is scaled. So for a linear layer "out in" that reads
(z1, 3 z2) the factor is the row (1, 3), and columns of W are multiplied by it. What the kinds of weights differ in
is where "in" lies, and whether the scale is allowed to depend on anything else, such as the frame: then one weight
that all frames share cannot make up for it.
"""

from __future__ import annotations

from torch import Tensor

from chiralize.graph.model import Node
from chiralize.graph.traits import Contraction, Einsum


def factor(node: Node, trait: Contraction | Einsum, scale: Tensor, position: int, weight: Tensor) -> Tensor | None:
    """The factor for a stored weight, to be broadcast to the operand that it is; None where there is none.

    position: of the scaled operand among the operands that are multiplied.
    """
    match trait:
        case Einsum():
            return _einsum_factor(node.arguments[trait.equation], scale, position)
        case Contraction(is_windowed=True):
            return _window_factor(scale, weight, int(node.arguments.get("groups", 1)))
        case Contraction(is_transposed=True):
            # "in out": the inputs are rows. Of the second operand, or a batch of matrices, nothing is followed.
            if position == 0 and weight.ndim == 2:
                column = along(scale, scale.ndim - 1)
            else:
                column = None
            if column is None:
                return None
            return column[:, None]
    return along(scale, scale.ndim - 1)


def _window_factor(scale: Tensor, weight: Tensor, groups: int) -> Tensor | None:
    """The factor in a convolution, whose channels lie along axis 1; None for inputs without a batch.

    The weight is "out in/groups kernel...". Outputs of group g read the channels of group g: with channels (a b c d)
    in two groups, rows of the first half are multiplied by (a b), those of the second by (c d).
    """
    channels = along(scale, 1) if scale.ndim == weight.ndim else None
    if channels is None:
        return None
    # "group out/group in/group" to "out in/group", then axes of size 1 for the kernel.
    rows = channels.reshape(groups, 1, -1).expand(groups, weight.shape[0] // groups, -1).flatten(0, 1)
    return rows.reshape(*rows.shape, *(1,) * (weight.ndim - 2))


def _einsum_factor(equation: str, scale: Tensor, position: int) -> Tensor | None:
    """The factor in an einsum; None where the scale depends on an axis of its operand that the weight has not.

    Of "bji,oi->bjo" with a scale "b j i" the scale must be the same along b and j; the factor is "1 i" for the
    weight "o i".
    position: of the scaled operand, 0 or 1.
    """
    operands = equation.replace(" ", "").split("->")[0].split(",")
    # Not followed: ellipses, more than two operands, diagonals (a letter twice in one operand).
    if "." in equation or len(operands) != 2 or len(set(operands[position])) != len(operands[position]):
        return None
    scaled, weight = operands[position], operands[1 - position]
    for axis, letter in enumerate(scaled):
        if letter not in weight:
            first = scale.narrow(axis, 0, 1)
            if not bool((scale == first).all()):
                return None
            scale = first
    # Axes of size 1 go, the others come in the weight's order, and the weight's further axes are broadcast.
    letters = [letter for letter in scaled if letter in weight]
    scale = scale.reshape([scale.shape[scaled.index(letter)] for letter in letters])
    scale = scale.permute([letters.index(letter) for letter in weight if letter in letters])
    for axis, letter in enumerate(weight):
        if letter not in letters:
            scale = scale.unsqueeze(axis)
    return scale


def along(scale: Tensor, axis: int) -> Tensor | None:
    """A scale that differs along one axis only, as a vector; None where it differs along others."""
    rows = scale.movedim(axis, -1).reshape(-1, scale.shape[axis])
    if len(rows) and bool((rows == rows[0]).all()):
        return rows[0]
    return None
