"""Which parameters that are kept from training (`requires_grad=False`) are weights all the same, and which are tables.

A frozen weight was learned and is projected as any other. A table was made by a formula: an adjacency, a mask, cosines,
sines of the frame's number. PyTorch has one flag for both, so the numbers themselves decide.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

_MOST_VALUES = 256
_ROUNDING = 1e-5


def tables_among(parameters: Mapping[str, Tensor]) -> frozenset[str]:
    """Names of the frozen parameters that are tables.

    Of a network that is frozen by half or more, only masks are: it was frozen as a whole, to be used, and what was
    learned in it can look like anything.
    """
    fixed = {name: own.detach() for name, own in parameters.items() if not own.requires_grad}
    held = sum(own.numel() for own in fixed.values())
    as_a_whole = 2 * held >= sum(own.numel() for own in parameters.values())
    looks_made = _is_mask if as_a_whole else _is_made
    return frozenset(name for name, own in fixed.items() if own.numel() and looks_made(own))


def _is_made(tensor: Tensor) -> bool:
    """Whether numbers come of a formula, as far as they show it. Random and learned ones do none of this."""
    if not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
        return True
    if _is_mask(tensor):
        return True
    if sum(size != 1 for size in tensor.shape) < 2:  # a number for every feature, as in a buffer of statistics
        return tensor.numel() == 1
    if not tensor.any():
        return False  # a layer that starts from zero
    tensor = tensor.double()
    return _has_few_values(tensor) or _is_its_transpose(tensor) or _has_rows_of_one_length(tensor)


def _is_mask(tensor: Tensor) -> bool:
    return bool(((tensor == 0) | (tensor == 1)).all() and tensor.any() and not tensor.all())


def _has_few_values(tensor: Tensor) -> bool:
    """Whether the same magnitudes come again and again, three times each or more, zeros aside: adjacencies, cosines.

    In a network that is symmetric already every magnitude comes twice.
    """
    size = tensor.abs()[tensor != 0]
    count = int((size / size.max() / _ROUNDING).round().unique().numel())
    return count <= min(_MOST_VALUES, 2 * max(tensor.shape), size.numel() // 3)


def _is_its_transpose(tensor: Tensor) -> bool:
    """Whether it says of two joints, or frames, the same both ways: a graph without directions, distances."""
    if tensor.shape[-1] != tensor.shape[-2] or tensor.shape[-1] < 3:
        return False
    return _alike(tensor, tensor.mT, tensor.abs().max())


def _has_rows_of_one_length(tensor: Tensor) -> bool:
    """Whether all rows, or columns, are as long as one another: sines beside cosines, an orthogonal basis."""
    for axis in (-1, -2):
        lengths = tensor.norm(dim=axis)
        if lengths.numel() >= 3 and _alike(lengths, lengths.mean(), lengths.mean()):
            return True
    return False


def _alike(left: Tensor, right: Tensor, scale: Tensor) -> bool:
    return bool(((left - right).abs() <= _ROUNDING * scale).all())
