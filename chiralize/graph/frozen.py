"""Parameters kept from training (`requires_grad=False`): which were learned all the same, and which are tables.

A frozen weight was learned and is projected as any other. A table was made by a formula: an adjacency, a mask,
cosines, sines of the frame's number. PyTorch has one flag for both, so the numbers themselves decide: whether few
values come again and again, whether a matrix is its own transpose, whether all rows have one length and were not drawn
so. `capture` asks for every graph.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from chiralize.graph.tensors import number_count

_MOST_VALUES = 256
_ROUNDING = 1e-5


def tables_among(parameters: Mapping[str, Tensor]) -> frozenset[str]:
    """Names of the frozen parameters that are tables.

    Where half of all numbers or more are frozen, only masks count as tables: such a network was frozen as a whole, to
    be used, and weights that it learned before can look like anything.
    """
    frozen = {name: parameter.detach() for name, parameter in parameters.items() if not parameter.requires_grad}
    # Frozen as a whole, a learned weight that happens to have few values must not be taken for a formula.
    as_a_whole = 2 * number_count(frozen.values()) >= number_count(parameters.values())
    is_table = _is_mask if as_a_whole else _is_from_a_formula
    return frozenset(name for name, tensor in frozen.items() if tensor.numel() and is_table(tensor))


def _is_from_a_formula(tensor: Tensor) -> bool:
    """Whether the numbers show that a formula made them. Learned numbers and drawn ones pass none of these tests."""
    if not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
        return True
    if _is_mask(tensor):
        return True
    # Along one axis there is a number for every feature, as in a buffer of statistics, which may be learned.
    if sum(size != 1 for size in tensor.shape) < 2:
        return tensor.numel() == 1
    if not tensor.any():
        return False  # a layer that starts from zero
    tensor = tensor.double()
    if _has_few_values(tensor) or _is_its_transpose(tensor):
        return True
    return _has_rows_of_one_length(tensor) and not _is_drawn(tensor)


def _is_mask(tensor: Tensor) -> bool:
    """Whether the numbers are zeros and ones, both of them."""
    return bool(((tensor == 0) | (tensor == 1)).all() and tensor.any() and not tensor.all())


def _has_few_values(tensor: Tensor) -> bool:
    """Whether each magnitude comes three times or more on average, zeros aside: adjacencies, cosines.

    In a network that is symmetric already every magnitude comes twice.
    """
    # Magnitudes in units of the rounding, so that equal ones become equal whole numbers.
    size = tensor.abs()[tensor != 0]
    count = int((size / size.max() / _ROUNDING).round().unique().numel())
    return count <= min(_MOST_VALUES, 2 * max(tensor.shape), size.numel() // 3)


def _is_its_transpose(tensor: Tensor) -> bool:
    """Whether entries (i, j) and (j, i) are equal, as in a graph without directions or a table of distances."""
    if tensor.shape[-1] != tensor.shape[-2] or tensor.shape[-1] < 3:
        return False
    return _alike(tensor, tensor.mT, tensor.abs().max())


def _has_rows_of_one_length(tensor: Tensor) -> bool:
    """Whether all rows, or all columns, have one norm: sines beside cosines, an orthogonal basis."""
    for axis in (-1, -2):
        lengths = tensor.norm(dim=axis)
        if lengths.numel() >= 3 and _alike(lengths, lengths.mean(), lengths.mean()):
            return True
    return False


def _is_drawn(tensor: Tensor) -> bool:
    """Whether a matrix is orthogonal and no more than that, as layers are initialised.

    A basis that a formula made has a row or a column in which few values come again and again: the constant one of
    cosines, that of a graph's modes.
    """
    if tensor.ndim != 2:
        return False
    wide = tensor if tensor.shape[0] <= tensor.shape[1] else tensor.mT
    products = wide @ wide.mT
    size = products.diagonal().mean()
    if not _alike(products, size * torch.eye(len(products), device=products.device), size):
        return False
    magnitudes = (tensor.abs() / tensor.abs().max() / _ROUNDING).round()
    return not any(map(_repeats, (magnitudes, magnitudes.mT)))


def _repeats(lines: Tensor) -> bool:
    """Whether half of the entries of some line come more than once. lines: "line entry", whole numbers."""
    different = (lines.sort(-1).values.diff(dim=-1) != 0).sum(-1) + 1
    return bool((2 * different <= lines.shape[-1]).any())


def _alike(first: Tensor, second: Tensor, scale: Tensor) -> bool:
    """Whether numbers are equal up to the rounding of numbers of a size."""
    return bool(((first - second).abs() <= _ROUNDING * scale).all())
