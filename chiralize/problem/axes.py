"""Which axes of a network's inputs are its batch, and which are its frames, by their layouts.

Exports leave these axes open, batches are cut along the first kind, and both may have other sizes than in the examples.
"""

from __future__ import annotations

from collections.abc import Sequence

from chiralize.body.tensors import ResolvedSpec, ResolvedTensor
from chiralize.symmetry.representation import TensorRepresentation

_LAID_OUT = ("pose", "fields")
"""Kinds of tensors that have a layout, which names their batch."""
FRAMES = "t"
"""The word of a layout for frames."""
BATCH = "batch"
_NAMES = {"b": BATCH, "t": "frames"}


def batch_axes(resolved: ResolvedSpec) -> list[tuple[int, ...]]:
    """The axes of every input that are its batch: as its layout says; without one (free, states) those of its size.

    A pose b t j d = 5,9,17,2 beside a state 2,5,64: axes (0,) and (1,), since 5 is the batch.
    """
    sizes = {tensor.shape[axis] for tensor in resolved.input_tensors for axis in _batch_by_layout(tensor)}
    axes = list[tuple[int, ...]]()
    for tensor in resolved.input_tensors:
        if tensor.kind in _LAID_OUT:
            axes.append(_batch_by_layout(tensor))
        else:
            axes.append(tuple(axis for axis, size in enumerate(tensor.shape) if size in sizes))
    return axes


def frame_axes(resolved: ResolvedSpec) -> list[tuple[int, ...]]:
    """The axes of every input that are its frames, by its layout."""
    return [_axes_of(tensor, FRAMES) for tensor in resolved.input_tensors]


def names_of_still_axes(
    resolved: ResolvedSpec, representations: Sequence[TensorRepresentation | None]
) -> dict[tuple[int, int], str]:
    """Names of the axes that the mirror leaves alone, by (input, axis): `batch`, `frames`, or a word of the layout.

    Only these may change their size.  representations: of every input; those that are not known have no such axes.
    """
    words: dict[tuple[int, int], str] = {}
    for tensor in resolved.input_tensors:
        for word, axis in tensor.free_axes:
            words[tensor.index, axis] = _NAMES.get(word, word)
    names: dict[tuple[int, int], str] = {}
    for index, representation in enumerate(representations):
        for axis in representation.still_axes if representation is not None else ():
            names[index, axis] = words.get((index, axis), f"axis {axis} of input {index}")
    return names


def _axes_of(tensor: ResolvedTensor, asked: str) -> tuple[int, ...]:
    """The axes that this word stands for in the layout of a tensor."""
    return tuple(axis for word, axis in tensor.free_axes if word == asked)


def _batch_by_layout(tensor: ResolvedTensor) -> tuple[int, ...]:
    """The axes that a layout names as the batch; none of tensors that have no layout."""
    if tensor.kind not in _LAID_OUT:
        return ()
    return _axes_of(tensor, "b")
