"""T on one tensor or array that a specification describes: of any dtype, on any device, as a batch or as one sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from chiralize.body.tensors import ResolvedTensor
from chiralize.errors import UsageError
from chiralize.errors.words import when
from chiralize.nn.two_view import MirrorTensor
from chiralize.symmetry.action import Turn, act, act_on_array, shift

_UNSIGNED = (torch.uint8, torch.uint16, torch.uint32, torch.uint64)


def turned(value: Any, tensor: ResolvedTensor) -> Any:
    """T of a tensor or an array. tensor: what it is, at the sizes of an example.

    Raises UsageError for another number of axes, other sizes along an axis that the mirror moves, and dtypes that
    cannot hold T of it.
    """
    if tensor.is_free:
        return value
    if is_sample(value, tensor):
        return turned(value[None], tensor)[0]
    representation, center = turn_at(tuple(value.shape), tensor)
    _check_kind(value, (representation, center), tensor.where)
    if isinstance(value, Tensor):
        return act(value, representation, center)
    return act_on_array(value, representation, center)


def is_sample(value: Any, tensor: ResolvedTensor) -> bool:
    """Whether it is one sample: an axis less than described, where the first one is the batch."""
    return tensor.has_rows and value.ndim == len(tensor.shape) - 1


def turn_at(shape: Sequence[int], tensor: ResolvedTensor) -> Turn:
    """T at other sizes than the example's, along axes that the mirror leaves alone. Raises UsageError."""
    representation, center = tensor.representation, tensor.center
    if representation is None:
        facts = "it is a state, and how the mirror acts on it is found in the network alone"
        raise UsageError(tensor.where, facts, "leave it out, or describe it in the specification")
    if len(shape) != len(tensor.shape):
        without = when(tensor.has_rows, ", or one sample without the batch")
        facts = f"shape {tuple(shape)}, the mirror was made for shape {tensor.shape}{without}"
        raise UsageError(tensor.where, facts, f"give as many axes as in '{tensor.layout}'")
    # An axis may be longer by factors before those that T moves (a batch merged into joints), so its size has to be a
    # multiple.
    for axis, (size, along) in enumerate(zip(shape, representation.axes, strict=True)):
        if along.with_rows(size).size != size:
            facts = f"axis {axis} of shape {tuple(shape)} has {size} entries, the mirror was made for {along.size}"
            remedy = f"give tensors of that size ('{tensor.layout}'), or make the mirror for these"
            raise UsageError(tensor.where, facts, remedy)
    if center is not None and np.broadcast_shapes(center.shape, tuple(shape)) != tuple(shape):
        facts = f"shape {tuple(shape)}, and its centres were laid out for {tensor.shape}"
        raise UsageError(tensor.where, facts, "make the mirror with a shape of this size")
    return representation.fitted(shape), center


def _check_kind(value: Any, turn: Turn, where: str) -> None:
    """Raise UsageError for number types that cannot hold T of their values."""
    representation, center = turn
    if isinstance(value, Tensor):
        # unsigned: no negative numbers.  whole: no fractions.  numbers: neither texts nor objects.
        unsigned, whole = value.dtype in _UNSIGNED, not (value.is_floating_point() or value.is_complex())
        numbers = True
    else:
        unsigned, whole, numbers = value.dtype.kind == "u", value.dtype.kind in "iu", value.dtype.kind in "biufc"
    kind = str(value.dtype).removeprefix("torch.")
    if not numbers:
        raise UsageError(where, f"an array of {kind}, which are no numbers", "give numbers")
    if unsigned and not representation.is_sign_free:
        raise UsageError(where, f"{kind} has no negative numbers, and T negates some", "give it as int64 or float32")
    if whole and center is not None and bool((shift(representation, center) % 1 != 0).any()):
        facts = f"{kind} holds whole numbers, and twice the centre is none"
        raise UsageError(where, facts, "give it as float32")


class MirrorModule(nn.Module):
    """T as a module: `forward(*values)` gives T of each, in their structure. It has no parameters and no state.

    tensors: what the values are. Sizes along axes that the mirror moves are those of the example.
    """

    def __init__(self, tensors: Sequence[ResolvedTensor]) -> None:
        super().__init__()
        self.tensors = tuple(tensors)
        self.turns = nn.ModuleList()
        for tensor in tensors:
            turn = turn_at(tensor.shape, tensor)
            self.turns.append(nn.Identity() if tensor.is_free else MirrorTensor(*turn, torch.float64))

    def forward(self, *values: Any) -> Any:
        """T of the values. Raises UsageError for others than the mirror describes."""
        leaves, structure = pytree.tree_flatten(values)
        positions = [index for index, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        if len(positions) != len(self.tensors):
            facts = f"{len(positions)} tensors, the mirror describes {len(self.tensors)}"
            raise UsageError("MirrorModule", facts, "give all of them, in the order of the specification")
        for position, tensor, turn in zip(positions, self.tensors, self.turns, strict=True):
            leaves[position] = _turned_by(turn, leaves[position], tensor)
        mirrored = pytree.tree_unflatten(leaves, structure)
        if len(values) == 1:
            return mirrored[0]
        return mirrored

    def extra_repr(self) -> str:
        """What it acts on."""
        return ", ".join(f"{tensor.where}: {tensor.layout}" for tensor in self.tensors)


def _turned_by(turn: nn.Module, value: Tensor, tensor: ResolvedTensor) -> Tensor:
    """T of one value; sizes along axes that T leaves alone are not looked at, so that they stay open in an export.

    turn: the module for the example's sizes. A value of other sizes along moved axes, or of another number of axes,
    goes the way of `turned`, which takes multiples of them and says what else is wrong.
    """
    if tensor.is_free:
        return value
    if is_sample(value, tensor):
        return _turned_by(turn, value[None], tensor)[0]
    representation = tensor.representation
    assert representation is not None
    same_rank = value.ndim == len(tensor.shape)
    if not same_rank or any(value.shape[axis] != tensor.shape[axis] for axis in representation.moved_axes):
        return turned(value, tensor)  # an axis with other factors before those that the mirror moves, or none of ours
    _check_kind(value, (representation, tensor.center), tensor.where)
    return turn(value)
