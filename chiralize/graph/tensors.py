"""The tensors within nested values, and how much they hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves


def tensors_in(values: Any) -> list[Tensor]:
    """The tensors within nested lists, tuples and dictionaries, in order."""
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def number_count(tensors: Iterable[Tensor]) -> int:
    """How many numbers these tensors hold together."""
    return sum(tensor.numel() for tensor in tensors)
