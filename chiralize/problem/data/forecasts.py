"""Forecasts, which answer the last frame that they were given and a displacement.

The frame turns with T, whatever T is, so that only the displacement tells which mirror is right. Its spread is the unit
of gaps there: 0.13 to 0.42 of it under the right mirror, 0.7 and 1.1 without its swaps, where in units of the whole
answer these were 0.18 and 0.21 (decision 0105).

Example: an input `b t j d` of (8, 50, 17, 3) and an output `b t j d` of (8, 10, 17, 3). The frame is the input at
t = 49, (8, 1, 17, 3), which is subtracted from each of the 10. An output `b j d` is one frame: (8, 17, 3). `answers`
decides whether an output really starts there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from chiralize.body.tensors import ResolvedSpec, ResolvedTensor

_DESCRIBED, _TIME = ("pose", "fields"), "t"


@dataclass(frozen=True)
class LastFrame:
    """A frame that a forecast may start from.

    input: the position of the tensor that it is the last of.  axis: of time, in that tensor.
    is_one: the forecast is one frame, without an axis of time.
    """

    input: int
    axis: int
    is_one: bool

    def of(self, inputs: Sequence[Tensor]) -> Tensor:
        """The frame, to be subtracted from the forecast. inputs: the tensors of a call."""
        frames = inputs[self.input]
        last = frames.shape[self.axis] - 1
        if self.is_one:
            return frames.select(self.axis, last)
        return frames.narrow(self.axis, last, 1)


def last_frames(resolved: ResolvedSpec) -> dict[int, list[LastFrame]]:
    """The frames that every output may start from, by its position; outputs without such a frame are left out."""
    frames = dict[int, list[LastFrame]]()
    for index, output in enumerate(resolved.output_tensors):
        starts = list[LastFrame]()
        for tensor in resolved.input_tensors:
            starts += _frames_of(tensor, output)
        if starts:
            frames[index] = starts
    return frames


def _frames_of(tensor: ResolvedTensor, output: ResolvedTensor) -> list[LastFrame]:
    """The last frame along the axis `t` of an input, where the output holds such frames."""
    # The frame has to be mirrored as the forecast is: the axes of both agree, but for that of time.
    one, other = tensor.representation, output.representation
    if one is None or other is None or one.sign != other.sign or one.is_trivial:
        return []
    if tensor.kind not in _DESCRIBED or output.kind not in _DESCRIBED:
        return []
    frames = list[LastFrame]()
    for word, axis in tensor.free_axes:
        rest = (*one.axes[:axis], *one.axes[axis + 1 :])
        if word != _TIME or one.axes[axis].size < 2:
            continue
        if other.axes == rest:
            frames.append(LastFrame(tensor.index, axis, True))
        elif (word, axis) in output.free_axes and (*other.axes[:axis], *other.axes[axis + 1 :]) == rest:
            frames.append(LastFrame(tensor.index, axis, False))
    return frames
