"""Sizes of a reading that are a choice: nobody gave them, and the network runs on others as well.

`derive` asks this of the reading that it takes. Of b t j d = 1,9,17,2 on a network of convolutions along frames the
axes 0 (`b`) and 1 (`t`) are open. The remark names those that are neither batch nor frames.
"""

from __future__ import annotations

from collections.abc import Mapping

from chiralize.problem.readings.reading import Reading
from chiralize.problem.readings.trial import Shapes, Trial

_BATCH = "b"
OpenAxes = tuple[Mapping[int, str], ...]
"""For every input the axes whose size is a choice, with their words in the layout."""


def open_axes(reading: Reading, trial: Trial) -> OpenAxes:
    """The axes on which other sizes run as well, for every input; none where the user's arrays have these sizes.

    An axis of the batch is one, whatever runs.
    """
    if reading.is_offered:
        return ()
    open_words = {_BATCH}
    for word in _free_words(reading):
        others = (_with_size(reading, word, size) for size in _others(_size_of(reading, word)))
        if any(trial.answers(shapes, reading.arranged) for shapes in others):
            open_words.add(word)
    axes: list[Mapping[int, str]] = []
    for tensor in reading.resolved.input_tensors:
        axes.append({axis: word for word, axis in tensor.free_axes if word in open_words})
    return tuple(axes)


def chosen_people(reading: Reading, axes: OpenAxes) -> str:
    """`chosen: m = 1, since nobody said; others run as well`, of axes beside batch and frames; "" of none.

    The reason for a number of frames is in the reading itself.
    """
    words = {word for of_input in axes for word in of_input.values()}
    chosen = [word for word in _free_words(reading) if word in words and word != reading.counted]
    texts = [f"{word} = {_size_of(reading, word)}" for word in chosen]
    if not texts:
        return ""
    return f"chosen: {', '.join(texts)}, since nobody said; others run as well"


def _free_words(reading: Reading) -> list[str]:
    """The words of axes that are neither joints, coordinates nor the batch, each once, in the order of the inputs."""
    words: dict[str, None] = {}
    for tensor in reading.resolved.input_tensors:
        words.update({word: None for word, _ in tensor.free_axes if word != _BATCH})
    return list(words)


def _size_of(reading: Reading, word: str) -> int:
    """The size of the first axis of this word."""
    return next(
        tensor.shape[axis]
        for tensor in reading.resolved.input_tensors
        for name, axis in tensor.free_axes
        if name == word
    )


def _others(size: int) -> tuple[int, ...]:
    """Other sizes: some networks take any number, some multiples of a block alone."""
    return (size + 1, 2 * size, size + 4)


def _with_size(reading: Reading, word: str, size: int) -> Shapes:
    """The sizes of all inputs with another size wherever an axis has this word."""
    shapes: list[tuple[int, ...]] = []
    for tensor, shape in zip(reading.resolved.input_tensors, reading.shapes, strict=True):
        sizes = list(shape)
        for name, axis in tensor.free_axes:
            if name == word:
                sizes[axis] = size
        shapes.append(tuple(sizes))
    return tuple(shapes)
