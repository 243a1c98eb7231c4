"""The tensors within nested values, and how much they hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves


def tensors_in(values: Any) -> list[Tensor]:
    """The tensors within nested lists, tuples and dictionaries, in order."""
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def in_rows(tensor: Tensor, is_single: bool) -> Tensor:
    """An input or an output of one call as "sample entry...".

    is_single: a call is one sample, so that no axis counts samples; nor does one of a number without axes.
    """
    if is_single or not tensor.ndim:
        return tensor[None]
    return tensor


def number_count(tensors: Iterable[Tensor]) -> int:
    """How many numbers these tensors hold together."""
    return sum(tensor.numel() for tensor in tensors)
