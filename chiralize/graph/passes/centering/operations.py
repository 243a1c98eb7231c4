"""How ops are run on offsets, in float64, and along which axes a bias is the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from chiralize.graph.execution import called, overload, with_values
from chiralize.graph.model import Node, Ref
from chiralize.graph.traits import Movement

# Arguments that say where numbers go, not what they are.
PLACES = ("index", "indices", "condition", "mask", "repeats")


def axes_without(ndim: int, shape: Sequence[int], axis: int | None) -> list[int]:
    """The axes of a value, of `ndim`, along which a tensor of that shape is the same when it is added to the value.

    axis: of the value, where the only axis of the tensor lies; None where both shapes end alike, as in a sum.
    """
    full = [1] * (ndim - len(shape)) + list(shape)
    if axis is not None:
        full = [1] * ndim
        full[axis] = shape[0]
    return [index for index, size in enumerate(full) if size == 1]


def mean_along(value: Tensor, axes: list[int]) -> Tensor:
    """The mean along some axes, which keep size 1. Without axes it is the value itself."""
    if axes:
        return value.mean(axes, keepdim=True)
    return value


def run(
    node: Node, value_of: Callable[[str], Any], changed: Mapping[str, Any] | None = None, *, gradients: bool = False
) -> Any:
    """The result of an operation on other values, in float64 where it is floating-point.

    value_of: the value to take for a name.  changed: arguments that replace those of the node.
    """
    arguments = with_values({**node.arguments, **(changed or {})}, value_of)
    dtype = arguments.get("dtype")
    # A cast in the graph would round the offset to the network's precision.
    if isinstance(dtype, torch.dtype) and dtype.is_floating_point:
        arguments["dtype"] = torch.float64
    with torch.set_grad_enabled(gradients):
        return wide(called(overload(node.target), arguments))


def wide(value: Any) -> Any:
    """Floating-point tensors in float64."""
    if isinstance(value, (list, tuple)):
        return tuple(map(wide, value))
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.double()
    return value


def without_constants(node: Node, trait: Movement) -> dict[str, Any]:
    """The arguments to change so that numbers which an operation fills in are 0: filling in is not linear."""
    given = {name: node.arguments.get(name) for name in trait.fills}
    return {name: 0.0 for name, value in given.items() if value is not None and not isinstance(value, Ref)}
