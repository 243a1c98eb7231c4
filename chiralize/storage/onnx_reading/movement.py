"""Operators that move numbers without changing them, and those that ask for sizes.

Each function takes a node and the values of its inputs, None where one is left out.  A value is a tensor, or an array
of Python numbers where sizes are computed (`sizes`): Shape, Gather, Slice, Concat and the like take and give both.
Inputs that were attributes in old operator sets (`axes`, `pads`) are read by `call.numbers`, with the set in which
that changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from chiralize.storage.onnx_reading.call import NodeCall, Operator
from chiralize.storage.onnx_reading.sizes import (
    LARGEST,
    Value,
    as_tensor,
    is_numbers,
    listed,
    numbers,
    shape_of,
    single,
    sliced,
)

_MODES = {"reflect": "reflect", "edge": "replicate"}


def _shape(call: NodeCall, values: Sequence[Any]) -> Value:
    """The sizes, or those of the axes from `start` to `end`."""
    sizes = shape_of(values[0])
    return sizes[call.get("start", 0) : call.get("end")]


def _reshape(call: NodeCall, values: Sequence[Any]) -> Value:
    """x in the wanted sizes, an attribute up to operator set 4: (2, 17, 3) to [0, -1] is (2, 51)."""
    x, wanted = values[0], listed(values[1]) if len(values) > 1 else list(call.get("shape"))
    # 0 means: as large as this axis of the input.  A size of -1 is left to torch.
    for axis, size in enumerate(wanted):
        if _is_zero(size) and not call.get("allowzero", 0):
            wanted[axis] = x.shape[axis]
    return x.reshape(wanted)


def _is_zero(size: Any) -> bool:
    """Whether a size is 0.  An open one is not asked: that would fix it, or add a guard to the program."""
    return isinstance(size, int) and size == 0


def _flatten(call: NodeCall, values: Sequence[Any]) -> Tensor:
    """Two axes: those before `axis` in one, the others in one; (2, 3, 4) becomes (6, 4) for axis 2 and for axis -1."""
    (x,) = values
    axis = call.get("axis", 1)
    call.require(-x.ndim <= axis <= x.ndim, f"its axis is {axis}, its input has {x.ndim} axes")
    if axis < 0:
        axis += x.ndim
    if axis == 1:  # the usual case, as torch's own Flatten, which keeps an open batch as it is
        if x.ndim > 1:
            return x.flatten(1)
        return x.reshape(x.shape[0], 1)
    lead = 1
    for size in x.shape[:axis]:
        lead = lead * size
    return x.reshape(lead, -1)


def _squeeze(call: NodeCall, values: Sequence[Any]) -> Value:
    """Without the axes given, or without all of size 1; an open axis is none of those, even if it has one entry now."""
    x, axes = values[0], call.numbers("axes", values, 1, 13)
    if axes is None:
        axes = [axis for axis, size in enumerate(x.shape) if isinstance(size, int) and size == 1]
    # From the last axis to the first, so that those still to come keep their numbers.
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.squeeze(axis)
    return x


def _unsqueeze(call: NodeCall, values: Sequence[Any]) -> Value:
    """With axes of one entry: (17, 3) with the axes [0, 2] is (1, 17, 1, 3)."""
    x, axes = values[0], call.numbers("axes", values, 1, 13)
    assert axes is not None
    # Axes are counted in the result, and so from the first to the last.
    count = x.ndim + len(axes)
    for axis in sorted(axis % count for axis in axes):
        x = x.unsqueeze(axis) if isinstance(x, Tensor) else np.expand_dims(x, axis)
    return x


def _transpose(call: NodeCall, values: Sequence[Any]) -> Value:
    """The axes in another order, the reversed one unless it is given."""
    (x,) = values
    order = call.get("perm") or list(reversed(range(x.ndim)))
    if is_numbers(x):  # numpy's transpose, which takes an order of all axes
        return x.transpose(order)
    return x.permute(*order)


def _concat(call: NodeCall, values: Sequence[Any]) -> Value:
    """One behind the other along an axis; numbers alone stay numbers, since a shape is put together so."""
    if all(map(is_numbers, values)):
        call.check_numbers(sum(value.size for value in values))
        return np.concatenate([np.atleast_1d(value) for value in values], call.get("axis"))
    # Numbers beside tensors become tensors of their type.
    like = next(value for value in values if isinstance(value, Tensor))
    return torch.cat([as_tensor(value, like) for value in values], call.get("axis"))


def _split(call: NodeCall, values: Sequence[Any]) -> tuple[Tensor, ...]:
    """Parts along an axis, of the sizes given or of as many as there are outputs."""
    x, sizes, axis = values[0], call.numbers("split", values, 1, 13), call.get("axis", 0)
    if sizes is None:  # equal parts, the last one smaller: 5 in 2 is 3 and 2
        size = x.shape[axis]
        width = -(-size // call.outputs)
        sizes = [width] * (call.outputs - 1) + [size - width * (call.outputs - 1)]
    return torch.split(x, sizes, axis)


def _slice(call: NodeCall, values: Sequence[Any]) -> Value:
    """Entries from start to end along some axes; steps of -1 are taken for a whole axis alone."""
    x = values[0]
    starts, ends = call.numbers("starts", values, 1, 10), call.numbers("ends", values, 2, 10)
    assert starts is not None and ends is not None
    axes = call.numbers("axes", values, 3, 10) or list(range(len(starts)))
    steps = call.numbers("steps", values, 4, 10) or [1] * len(starts)
    axes = [axis % x.ndim for axis in axes]
    # torch takes no negative steps.  A whole axis backwards is a flip: it starts at the last entry (-1) and ends at the
    # smallest number that there is, which means before the first one.
    backward = [axis for axis, step in zip(axes, steps, strict=True) if step < 0]
    if backward:
        whole = all(start == -1 and end <= -(2**31) + 1 for start, end in zip(starts, ends, strict=True))
        call.require(steps == [-1] * len(steps) and whole, "it takes part of an axis backwards")
        if isinstance(x, Tensor):
            return x.flip(backward)
        return np.flip(x, tuple(backward))
    return sliced(x, starts, ends, axes, steps)


def _gather(call: NodeCall, values: Sequence[Any]) -> Value:
    """Entries along one axis, at positions of any shape, which takes the place of that axis."""
    x, index = values
    axis = call.get("axis", 0)
    if is_numbers(x):  # a size picked out of a shape stays Python's
        call.check_numbers(prod(index.shape) * max(x.size // max(x.shape[axis], 1), 1))
        return numbers(np.take(x, np.array(listed(index), dtype=np.int64).reshape(index.shape), axis))
    axis = axis % x.ndim
    # x of shape (2, 17, 3), axis 1.  A single index takes the axis away: (2, 3).  One of shape (4,) gives (2, 4, 3).
    # One of shape (4, 5) gives (2, 4, 5, 3): it is taken as 20 entries, which are laid out afterwards.
    if is_numbers(index) and index.ndim == 0:
        return x.select(axis, single(index))
    index = as_tensor(index)
    if index.ndim == 1:
        return x.index_select(axis, _from_the_front(index, x.shape[axis]))
    flat = x.index_select(axis, _from_the_front(index.reshape(-1), x.shape[axis]))
    return flat.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def _from_the_front(index: Tensor, size: Any) -> Tensor:
    """Positions counted from the front, where some may be counted from the end."""
    return torch.where(index < 0, index + size, index)


def _expand(call: NodeCall, values: Sequence[Any]) -> Tensor:
    """Both ways, as numpy broadcasts: (3, 1) to (2, 1, 4) is (2, 3, 4), (2, 3, 4) to (4) is (2, 3, 4).

    torch's `expand` keeps no axis that is larger than the size asked for, so that 1 is replaced by what x has there.
    """
    x, wanted = as_tensor(values[0]), listed(values[1])
    added = max(len(wanted) - x.ndim, 0)  # leading axes of the result that x does not have
    sizes = [1] * (x.ndim - len(wanted)) + wanted
    for axis, size in enumerate(sizes):
        if isinstance(size, int) and size == 1 and axis >= added:
            sizes[axis] = x.shape[axis - added]
    call.check_size(sizes)
    return x.expand(*sizes)


def _pad(call: NodeCall, values: Sequence[Any]) -> Tensor:
    """With more entries at both ends of the axes, or fewer (negative widths): constants, reflections or the edge."""
    x, widths = values[0], call.numbers("pads", values, 1, 11)
    assert widths is not None
    # Inputs: x, widths, the fill, and since set 18 axes.
    call.require(len(values) < 4 or values[3] is None, "it pads some axes alone")
    mode = call.get("mode", "constant")
    call.check_size([abs(width) + 1 for width in widths])
    # ONNX: all beginnings, then all ends.  torch: beginning and end of the last axis, of the one before it, ...
    count = len(widths) // 2
    flat: list[Any] = []
    for axis in reversed(range(count)):
        flat += [widths[axis], widths[axis + count]]
    if mode == "constant":
        fill = values[2] if len(values) > 2 and values[2] is not None else None
        return F.pad(x, flat, value=call.get("value", 0.0) if fill is None else listed(fill)[0])
    call.require(mode in _MODES, f"mode {mode!r} is not known")
    call.require(x.ndim > 1, f"mode {mode!r} of an input of one axis")
    # Behind batch and channels torch wants widths for all axes, and takes none for the others, not even zeros.
    while len(flat) > max(2, 2 * (x.ndim - 2)) and flat[-2:] == [0, 0]:
        del flat[-2:]
    return F.pad(x, flat, mode=_MODES[mode])


def _constant_of_shape(call: NodeCall, values: Sequence[Any]) -> Value:
    """One value in the sizes given, a float32 zero unless the attribute says otherwise."""
    fill = call.get("value")
    sizes = listed(values[0])
    number = 0.0 if fill is None else fill.reshape(-1)[0].item()
    kind = torch.float32 if fill is None else fill.dtype
    call.check_size(sizes)
    size = sizes[0] if sizes else 1
    is_large = isinstance(size, int) and size > LARGEST
    if not kind.is_floating_point and len(sizes) <= 1 and not is_large:  # a shape that is filled with ones, say
        return numbers([number] * size)
    return torch.full(sizes, number, dtype=kind)


def _range(call: NodeCall, values: Sequence[Any]) -> Tensor:
    """start, start + step, ... below end; the bounds may be open sizes."""
    call.require(all(map(is_numbers, values)), "its bounds are computed from data")
    start, end, step = map(single, values)
    if all(isinstance(number, (int, float)) for number in (start, end, step)):  # open sizes are symbols
        is_finite = all(map(math.isfinite, (start, end, step)))
        call.require(is_finite and step != 0, f"it counts from {start} to {end} in steps of {step}")
        call.check_size([math.ceil((end - start) / step)])
    return torch.arange(start, end, step)


def _tile(call: NodeCall, values: Sequence[Any]) -> Tensor:
    """The whole repeated along every axis, as often as is given for each."""
    x, counts = as_tensor(values[0]), listed(values[1])
    call.check_size([*x.shape, *counts])
    return x.repeat(*counts)


OPERATORS: dict[str, Operator] = {
    "Shape": _shape,
    "Size": lambda call, values: numbers(values[0].numel()),
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "GatherElements": lambda call, values: torch.gather(values[0], call.get("axis", 0), as_tensor(values[1])),
    "Expand": _expand,
    "Tile": _tile,
    "Pad": _pad,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
}
