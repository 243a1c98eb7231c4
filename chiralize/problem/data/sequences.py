"""Calibration data of networks that carry something from call to call: sequences, cut into the calls that they make.

One array holds `sequence time entry...`, a list one array `time entry...` for every sequence; a step is what one call
reads. Where a call reads several frames at once, time is one of the network's own axes (`axis`), and a step takes as
many frames as the example has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chiralize.errors import DataFileError
from chiralize.graph.rollouts import LONGEST, Steps
from chiralize.graph.running import Arguments, Call
from chiralize.problem.data.feeds import mapped
from chiralize.problem.data.inputs import in_kind
from chiralize.storage.arrays import load_arrays

Array = torch.Tensor | np.ndarray


@dataclass(frozen=True)
class Reading:
    """What one call reads of a sequence.

    example: a call.  observed: positions of the tensors that data bring; the others are handed on, or always the same.
    names: of these arguments, "" where they have none.  has_rows: their first axis is the batch.
    axis: of the data, along which time goes; None for the usual one.
    """

    example: Call
    observed: tuple[int, ...]
    names: tuple[str, ...]
    has_rows: bool
    axis: int | None = None

    def of(self, places: Sequence[int]) -> Reading:
        """Some of the inputs alone, by their places among those that are observed."""
        observed, names = ([own[place] for place in places] for own in (self.observed, self.names))
        return replace(self, observed=tuple(observed), names=tuple(names))

    @property
    def tensors(self) -> list[torch.Tensor]:
        """What is observed in the example."""
        every = Arguments.of(*self.example).tensors
        return [every[place] for place in self.observed]

    @property
    def entries(self) -> list[tuple[int, ...]]:
        """Shapes of what is observed in one call, without the batch."""
        shapes = [tuple(own.shape) for own in self.tensors]
        return [shape[1:] if self.has_rows else shape for shape in shapes]

    @property
    def rows(self) -> int:
        """Sequences that are run at once."""
        return len(self.tensors[0]) if self.has_rows else 1


@dataclass(frozen=True)
class _Track:
    """One input along one sequence. frames: that a call reads at once; None where time is an axis of its own."""

    values: Array
    axis: int
    frames: int | None

    def __len__(self) -> int:
        return self.values.shape[self.axis] // (self.frames or 1)

    def step(self, number: int) -> Array:
        """What the call reads."""
        place: list[Any] = [slice(None)] * self.values.ndim
        first = number * (self.frames or 1)
        place[self.axis] = first if self.frames is None else slice(first, first + self.frames)
        return self.values[tuple(place)]


def sequences_in(path: Path, reading: Reading) -> list[Steps]:
    """The sequences of an array file; none where it holds samples, which have no time.

    Arrays of several inputs hold `sequence time entry...` each, by name or in their order; where there is one input,
    several arrays `time entry...` are a sequence each.  Raises DataFileError.
    """
    arrays, where = load_arrays(path), str(path)
    named = [place for place, name in enumerate(reading.names) if name in arrays]
    if len(named) == len(arrays):
        return _of_arrays([arrays[reading.names[place]] for place in named], reading.of(named), where)
    if len(reading.observed) == 1 and len(arrays) > 1:
        return _grouped([[own] for own in arrays.values()], reading, where)
    return _of_arrays(list(arrays.values()), reading, where)


def sequences_of(data: Any, reading: Reading, where: str) -> list[Steps]:
    """Data of the Python interface as sequences; none where they are samples, or batches of all arguments.

    Raises DataFileError.
    """
    if isinstance(data, (torch.Tensor, np.ndarray)):
        return _of_arrays([data], reading, where)
    if isinstance(data, (str, bytes, Path, Mapping)) or not isinstance(data, Sequence):
        return []
    items = [list(item) if isinstance(item, (tuple, list)) else [item] for item in data]
    if not items or any(not 0 < len(item) <= len(reading.observed) for item in items):
        return []
    if not all(isinstance(own, (torch.Tensor, np.ndarray)) for item in items for own in item):
        return []
    return _grouped(items, reading, where)


# ---- from arrays to sequences ---------------------------------------------------------------------------------
def _of_arrays(arrays: Sequence[Array], reading: Reading, where: str) -> list[Steps]:
    """Arrays `sequence time entry...`, one for every input; none where they are samples."""
    if len(arrays) > len(reading.observed):
        return []
    axis, reading = reading.axis, reading.of(range(len(arrays)))
    columns: list[list[_Track]] = []
    for own, entry in zip(arrays, reading.entries, strict=True):
        if own.ndim == len(entry) + 2 and axis in (None, 0, 1):
            moved = own.swapaxes(0, 1) if axis == 0 else own
            columns.append([_Track(moved[place], 0, None) for place in range(len(moved))])
        elif own.ndim == len(entry) + 1 and axis is None:
            if reading.has_rows:
                return []
            columns.append([_Track(own, 0, None)])
        elif own.ndim == len(entry) + 1 and axis is not None and 1 <= axis < own.ndim:
            columns.append([_Track(own[place], axis - 1, entry[axis - 1]) for place in range(len(own))])
        else:
            raise _misshapen(own, f"({', '.join(map(str, ('sequence', 'time', *entry)))})", axis, where)
    if len({len(column) for column in columns}) > 1:
        counts = ", ".join(str(len(column)) for column in columns)
        raise DataFileError(where, f"the inputs have different numbers of sequences ({counts})", "give equally many")
    return _steps([list(tracks) for tracks in zip(*columns, strict=True)], reading, where)


def _grouped(items: Sequence[Sequence[Array]], reading: Reading, where: str) -> list[Steps]:
    """A list of arrays `time entry...`, one for every sequence and input."""
    axis, tracks = reading.axis, list[list[_Track]]()
    if len({len(item) for item in items}) > 1:
        raise DataFileError(where, "sequences have different numbers of inputs", "give the same inputs in all of them")
    reading = reading.of(range(len(items[0])))
    for item in items:
        found: list[_Track] = []
        for own, entry in zip(item, reading.entries, strict=True):
            if own.ndim == len(entry) + 1 and axis in (None, 0):
                found.append(_Track(own, 0, None))
            elif own.ndim == len(entry) and axis is not None and axis < own.ndim:
                found.append(_Track(own, axis, entry[axis]))
            else:
                raise _misshapen(own, f"({', '.join(map(str, ('time', *entry)))})", axis, where)
        tracks.append(found)
    return _steps(tracks, reading, where)


def _misshapen(own: Array, wanted: str, axis: int | None, where: str) -> DataFileError:
    along = "" if axis is None else f" with time along axis {axis}"
    facts = f"an array of sequences has shape {tuple(own.shape)}, {wanted} is expected{along}"
    return DataFileError(where, facts, "put the axes in this order, or say where time is: --sequence-axis")


def _steps(tracks: Sequence[Sequence[_Track]], reading: Reading, where: str) -> list[Steps]:
    """As many sequences at once as a call has rows, cut to the shortest of them and to 200 calls."""
    for number, own in enumerate(tracks):
        lengths = {len(track) for track in own}
        if len(lengths) > 1:
            facts = f"the inputs of sequence {number} have different lengths ({', '.join(map(str, sorted(lengths)))})"
            raise DataFileError(where, facts, "give every input at every step")
        if 0 in lengths:
            frames = own[0].frames
            facts = f"sequence {number} has no step" if frames is None else f"sequence {number} is too short"
            remedy = "leave it out" if frames is None else f"one call reads {frames} frames: give as many or more"
            raise DataFileError(where, facts, remedy)
        _check_sizes(own, reading, where)
    if len(tracks) < reading.rows:
        facts = f"{len(tracks)} sequences, one call of the model takes {reading.rows}"
        raise DataFileError(where, facts, "give more, or an example with a smaller batch")
    groups = [tracks[at : at + reading.rows] for at in range(0, len(tracks) - reading.rows + 1, reading.rows)]
    return [_calls(group, reading, where) for group in groups]


def _check_sizes(tracks: Sequence[_Track], reading: Reading, where: str) -> None:
    for own, entry in zip(tracks, reading.entries, strict=True):
        shape = tuple(own.step(0).shape)
        if shape != entry:
            facts = f"one step of a sequence has shape {shape}, one call of the model reads {entry}"
            raise DataFileError(where, facts, "give sequences of what the model reads in one call")


def _calls(group: Sequence[Sequence[_Track]], reading: Reading, where: str) -> Steps:
    """The calls of sequences that are run at once."""
    example = Arguments.of(*reading.example)
    length = min(min(len(own[0]) for own in group), LONGEST)

    def call(number: int) -> Call:
        tensors = list(example.tensors)
        for column, place in enumerate(reading.observed):
            parts = [in_kind(own[column].step(number), tensors[place].dtype, where) for own in group]
            tensors[place] = torch.stack(parts) if reading.has_rows else parts[0]
        return example.filled(tensors)

    call(0)  # what does not fit is told now
    return mapped(call, range(length))
