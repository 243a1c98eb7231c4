"""A network's answers to the same numbers laid out otherwise in memory.

A graph holds what one call ran, so a branch that Python takes by `x.is_contiguous()`, by strides or by memory format is
not in it, and no proof sees it. All inputs of a verdict are contiguous, unless somebody lays them out otherwise: here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from chiralize.errors import ModelRunError
from chiralize.graph.running import Arguments, Call, Runner, doubled

GAPS = "gaps between the numbers"
_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def _with_gaps(tensor: torch.Tensor) -> torch.Tensor:
    """Every second number of a tensor twice as large."""
    return torch.stack((tensor, tensor), -1)[..., 0]


def _reversed(tensor: torch.Tensor) -> torch.Tensor:
    """The first axis innermost, the last outermost."""
    axes = tuple(reversed(range(tensor.ndim)))
    return tensor.permute(axes).contiguous().permute(axes)


def _channels_last(tensor: torch.Tensor) -> torch.Tensor:
    """As images are often laid out; tensors of other than four or five axes as they are."""
    layout = _FORMATS.get(tensor.ndim)
    if layout is None:
        return tensor
    return tensor.contiguous(memory_format=layout)


LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    GAPS: _with_gaps,
    "axes in reversed order": _reversed,
    "channels last": _channels_last,
}


def restrided(call: Call, layout: str) -> Call | None:
    """The call with its tensors in another layout; None where that is how they lie already."""
    arguments = Arguments.of(*call)
    tensors = [LAYOUTS[layout](tensor.contiguous()) for tensor in arguments.tensors]
    if all(new.stride() == old.contiguous().stride() for new, old in zip(tensors, arguments.tensors, strict=True)):
        return None
    return arguments.filled(tensors)


def answers_by_layout(runner: Runner, call: Call, few: bool) -> Iterator[tuple[str, Any]]:
    """(layout, answer) for the same numbers in every layout: contiguous first, under the name "".

    few: gaps alone, for networks that take long.  A layout that the network refuses (a `view` of a tensor that is not
    contiguous) is left out, since it gives no other answer.  Raises ModelRunError where the contiguous call is refused.
    """
    if runner.double:
        call = doubled(call)
    yield "", runner.run([call]).steps[0]
    for layout in (GAPS,) if few else LAYOUTS:
        other = restrided(call, layout)
        if other is None:
            continue
        try:
            # Not by `runner.run`, which copies its tensors and may lay them out anew.
            with torch.no_grad():
                value = runner.answer(runner.start(), other)
        except ModelRunError:  # it takes no such layout
            continue
        yield layout, value
