"""Arrays of pictures whose channels stand at the other end than the network has them.

Images are stored as (sample, height, width, channel), convolutions read (sample, channel, height, width). Where a
search found no sizes, `refusal_of` tries the user's arrays so, and says which axes to move.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from torch import Tensor

from chiralize.graph.running import Call
from chiralize.problem.readings.arguments import arguments_of
from chiralize.problem.readings.offered import shape_of_one
from chiralize.problem.readings.remark import sizes_text
from chiralize.problem.readings.search import Search
from chiralize.problem.readings.trial import Shape

_LEAST = 4
"""Axes of a batch of signals with two axes beside their channels."""


def channels_moved(search: Search) -> tuple[str, str] | None:
    """Facts and remedy, where the network takes the user's arrays once the channels of one stand at its other end.

    None where it takes none of them, or where they have fewer axes than pictures.
    """
    names = list(search.samples)
    are_arguments = set(names) <= {argument.name for argument in arguments_of(search.module) or ()}
    arrange = partial(_by_name, names) if are_arguments else _by_position
    shapes = [shape_of_one(array) for array in search.samples.values()]
    for index, shape in enumerate(shapes):
        for words, order in _orders(shape):
            moved = tuple(shape[axis] for axis in order)
            others = (*shapes[:index], moved, *shapes[index + 1 :])
            if moved == shape or search.trial.answers(others, arrange) is None:
                continue
            array = f"'{names[index]}'" if names[index] else "the array"
            facts = f"{array} of the calibration inputs has its channels {words}, {sizes_text(shape)} a sample"
            axes = ", ".join(map(str, order))
            return facts, f"move them, x.transpose({axes}), so that a sample is {sizes_text(moved)}"
    return None


def _orders(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Where channels stand, and the axes in the order that moves them to the other end, behind the samples."""
    count = len(shape)
    if count >= _LEAST:
        yield "last", (0, count - 1, *range(1, count - 1))
        yield "first", (0, *range(2, count), 1)


def _by_name(names: Sequence[str], tensors: Sequence[Tensor]) -> Call:
    """A call in which every tensor goes by its array's name."""
    return (), dict(zip(names, tensors, strict=True))


def _by_position(tensors: Sequence[Tensor]) -> Call:
    """A call with the tensors in the order of the arrays."""
    return tuple(tensors), {}
