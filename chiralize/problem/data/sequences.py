"""Calibration data of networks that carry something from call to call: sequences, cut into the calls that they make.

One array holds `sequence time entry...`, a list one array `time entry...` for every sequence; a step is what one call
reads. Where a call reads several frames at once, time is one of the network's own axes (`axis`), and a step takes as
many frames as the example has.

An input (1, 47) with batch and 200 sequences of 500 steps: an array (200, 500, 47), or a list of 200 arrays (500, 47).
The calls of one sequence are steps 0, 1, ... in order, since the network's state goes from each to the next. Where the
example has a batch of four, four sequences are run at once, cut to the shortest of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chiralize.errors import DataFileError
from chiralize.errors.words import when
from chiralize.graph.rollouts import LONGEST, Steps
from chiralize.graph.running import Arguments, Call
from chiralize.problem.data.feeds import mapped
from chiralize.problem.data.kinds import in_kind
from chiralize.storage.arrays import load_arrays

Array = torch.Tensor | np.ndarray
_A_THIRD = 3
_LOOKED_AT, _FEWEST = 64, 12
"""Sequences, and steps, in which time is looked for, and of how many at least."""
_RANDOM, _SMOOTHER = (0.9, 1.1), 0.8
"""Distance of neighbours, over that of any two values: between these bounds along an axis that has no order, and by
this factor nearer along time. 150 steps of a fly had 0.72, its 100 walks 1.02; other motions 0.06 to 0.5 along time.
"""


@dataclass(frozen=True)
class Reading:
    """Which inputs one call reads of a sequence, and in which shape.

    example: a call.  observed: positions of the tensors that data bring; the others are handed on, or always the same.
    names: of these arguments, "" where they have none.  has_rows: their first axis is the batch.
    axis: of the data, along which time goes; None for the usual one.  hands_on: a call leaves something to the next.
    """

    example: Call
    observed: tuple[int, ...]
    names: tuple[str, ...]
    has_rows: bool
    axis: int | None = None
    hands_on: bool = False

    def of(self, numbers: Sequence[int]) -> Reading:
        """The reading of a few of the inputs, by their numbers among those that are observed."""
        observed = tuple(self.observed[number] for number in numbers)
        return replace(self, observed=observed, names=tuple(self.names[number] for number in numbers))

    @property
    def tensors(self) -> list[torch.Tensor]:
        """The tensors of the example that data bring."""
        tensors = Arguments.of(*self.example).tensors
        return [tensors[position] for position in self.observed]

    @property
    def entries(self) -> list[tuple[int, ...]]:
        """Shapes of what is observed in one call, without the batch."""
        first = 1 if self.has_rows else 0
        return [tuple(tensor.shape[first:]) for tensor in self.tensors]

    @property
    def rows(self) -> int:
        """Sequences that are run at once."""
        if self.has_rows:
            return len(self.tensors[0])
        return 1


@dataclass(frozen=True)
class _Track:
    """One input along one sequence. frames: that a call reads at once; None where time is an axis of its own."""

    values: Array
    axis: int
    frames: int | None

    def __len__(self) -> int:
        return self.values.shape[self.axis] // (self.frames or 1)

    def step(self, number: int) -> Array:
        """The part that the call of this number reads."""
        index: list[Any] = [slice(None)] * self.values.ndim
        if self.frames is None:
            index[self.axis] = number
        else:
            index[self.axis] = slice(number * self.frames, (number + 1) * self.frames)
        return self.values[(*index, ...)]  # an array even where one number is left


def sequences_in(path: Path, reading: Reading) -> list[Steps]:
    """The sequences of an array file; none where it holds samples, which have no time.

    Arrays of several inputs hold `sequence time entry...` each, by name or in their order; where there is one input,
    several arrays `time entry...` are a sequence each.  Raises DataFileError.
    """
    arrays, where = load_arrays(path), str(path)
    named = [number for number, name in enumerate(reading.names) if name in arrays]
    if len(named) == len(arrays):
        return _of_arrays([arrays[reading.names[number]] for number in named], reading.of(named), where)
    if named:
        _refuse_strange(list(arrays), reading, where)
    if len(reading.observed) == 1 and len(arrays) > 1:
        return _grouped([[array] for array in arrays.values()], reading, where)
    return _of_arrays(list(arrays.values()), reading, where)


def sequences_of(data: Any, reading: Reading, where: str) -> list[Steps]:
    """Data of the Python interface as sequences; none where they are samples, or batches of all arguments.

    Raises DataFileError.
    """
    if isinstance(data, (torch.Tensor, np.ndarray)):
        return _of_arrays([data], reading, where)
    if isinstance(data, (str, bytes, Path, Mapping)) or not isinstance(data, Sequence):
        return []
    sequences = list[list[Array]]()
    for item in data:
        arrays = list(item) if isinstance(item, (tuple, list)) else [item]
        if not 0 < len(arrays) <= len(reading.observed):
            return []
        if not all(isinstance(array, (torch.Tensor, np.ndarray)) for array in arrays):
            return []
        sequences.append(arrays)
    if sequences:
        return _grouped(sequences, reading, where)
    return []


def _refuse_strange(arrays: Sequence[str], reading: Reading, where: str) -> None:
    """Raise DataFileError for arrays of which some have names of inputs. arrays: the names of all."""
    strange = [name for name in arrays if name not in reading.names]
    inputs = ", ".join(filter(None, reading.names))
    facts = (
        f"{', '.join(map(repr, strange))} {'is' if len(strange) == 1 else 'are'} no input that a call reads along a "
    )
    facts += f"sequence: those are {inputs}. States start at zero, and each call hands them to the next"
    remedy = "leave such arrays out of the file"
    raise DataFileError(where, facts, remedy)


# ---- from arrays to sequences ---------------------------------------------------------------------------------
def _of_arrays(arrays: Sequence[Array], reading: Reading, where: str) -> list[Steps]:
    """Arrays `sequence time entry...`, one for every input; none where they are samples."""
    if len(arrays) > len(reading.observed):
        return []
    axis, reading = reading.axis, reading.of(range(len(arrays)))
    columns: list[list[_Track]] = []
    # entry: the shape of one sample of an input. Two axes more are sequence and time; with one more, and a batch in the
    # example, they are samples, unless the user names one of the network's own axes as time.
    for array, entry in zip(arrays, reading.entries, strict=True):
        if array.ndim == len(entry) + 2 and axis is None:
            _refuse_time_first(array, where)
        if array.ndim == len(entry) + 2 and axis in (None, 0, 1):
            sequences = array.swapaxes(0, 1) if axis == 0 else array
            columns.append([_Track(sequence, 0, None) for sequence in sequences])
        elif array.ndim == len(entry) + 1 and axis is None:
            if reading.has_rows:
                return []
            columns.append([_Track(array, 0, None)])
        elif array.ndim == len(entry) + 1 and axis is not None and 1 <= axis < array.ndim:
            columns.append([_Track(sequence, axis - 1, entry[axis - 1]) for sequence in array])
        else:
            raise _misshapen(array, ("sequence", "time", *entry), axis, where)
    _refuse_single_calls(columns, reading, where)
    counts = list(map(len, columns))
    if len(set(counts)) > 1:
        shown = ", ".join(map(str, counts))
        raise DataFileError(where, f"the inputs have different numbers of sequences ({shown})", "give equally many")
    return _steps([list(tracks) for tracks in zip(*columns, strict=True)], reading, where)


def _refuse_single_calls(columns: Sequence[Sequence[_Track]], reading: Reading, where: str) -> None:
    """Raises DataFileError where one call reads a whole sequence, so that no state is handed on, and none is seen.

    columns: the tracks of every input.
    """
    tracks = [track for column in columns for track in column]
    if not reading.hands_on or any(track.frames is None or len(track) != 1 for track in tracks) or not tracks:
        return
    frames, axis = tracks[0].frames or 1, reading.axis or 0
    shape = list(reading.tensors[0].shape)
    if axis < len(shape):
        shape[axis] = max(1, frames // _A_THIRD)
    facts = f"one call reads all {frames} frames of a sequence (axis {axis}), so that it hands no state to another call"
    remedy = (
        "say how many frames one call reads in use, by --input-shape or example_inputs: for a third of these "
        f"--input-shape {','.join(map(str, shape))}"
    )
    raise DataFileError(where, facts, remedy)


def _refuse_time_first(array: Array, where: str) -> None:
    """Raises DataFileError for an array that is smooth along its first axis alone, where the second is to be time."""
    part = array[:_LOOKED_AT, :_LOOKED_AT]
    if isinstance(part, np.ndarray):
        part = torch.from_numpy(part.astype(np.float64)) if part.dtype.kind == "f" else torch.zeros(0, 0)
    if not part.is_floating_point() or min(part.shape[:2]) < _FEWEST or not part.numel():
        return
    entries = part.double().flatten(2) if part.ndim > 2 else part.double().unsqueeze(2)
    entries = entries - entries.mean(0)  # trials of one stimulus are alike, and are no time
    along_first, along_second = (_roughness(entries, axis) for axis in (0, 1))
    # No order along the second axis, and one along the first. Where both are smooth nothing is refused.
    if _RANDOM[0] < along_second < _RANDOM[1] and along_first < _SMOOTHER * along_second:
        facts = (
            f"time seems to go along the first axis of {tuple(array.shape)}: neighbours there are {along_first:.2g} as "
            f"far apart as any two values, along the second, where time is expected, {along_second:.2g}"
        )
        remedy = "give --sequence-axis 0; or --sequence-axis 1, if time is the second all the same"
        raise DataFileError(where, facts, remedy)


def _roughness(entries: torch.Tensor, axis: int) -> float:
    """How far neighbours along an axis are apart, over how far any two values of an entry are: 1 where in no order.

    entries: "sequence time entry".  Two independent values are sqrt(2) spreads apart, in the mean square.
    """
    spread = entries.flatten(0, 1).var(0)
    moving = spread > 0
    if not bool(moving.any()):
        return 0.0
    apart = entries.diff(dim=axis).flatten(0, 1).square().mean(0)
    return float((apart[moving] / (2 * spread[moving])).mean().sqrt())


def _grouped(items: Sequence[Sequence[Array]], reading: Reading, where: str) -> list[Steps]:
    """A list of arrays `time entry...`, one for every sequence and input."""
    axis, tracks = reading.axis, list[list[_Track]]()
    if len(set(map(len, items))) > 1:
        raise DataFileError(where, "sequences have different numbers of inputs", "give the same inputs in all of them")
    reading = reading.of(range(len(items[0])))
    for item in items:
        inputs: list[_Track] = []
        for array, entry in zip(item, reading.entries, strict=True):
            if array.ndim == len(entry) + 1 and axis in (None, 0):
                inputs.append(_Track(array, 0, None))
            elif array.ndim == len(entry) and axis is not None and axis < array.ndim:
                inputs.append(_Track(array, axis, entry[axis]))
            else:
                raise _misshapen(array, ("time", *entry), axis, where)
        tracks.append(inputs)
    return _steps(tracks, reading, where)


def _misshapen(array: Array, axes: Sequence[str | int], axis: int | None, where: str) -> DataFileError:
    """The error for an array of another shape than sequences have.  axes: words and sizes of the expected ones."""
    along = when(axis is not None, f" with time along axis {axis}")
    facts = f"an array of sequences has shape {tuple(array.shape)}, ({', '.join(map(str, axes))}) is expected{along}"
    remedy = "put the axes in this order, or say where time is: --sequence-axis"
    entry = ", ".join(str(size) for size in axes if not isinstance(size, str))
    remedy += f"; where one call reads another size than ({entry}), say it: --input-shape, or example_inputs"
    return DataFileError(where, facts, remedy)


def _steps(tracks: Sequence[Sequence[_Track]], reading: Reading, where: str) -> list[Steps]:
    """Tracks as calls: as many sequences at once as a call has rows, cut to the shortest of them and to 200 calls."""
    for number, inputs in enumerate(tracks):
        lengths = set(map(len, inputs))
        if len(lengths) > 1:
            facts = f"the inputs of sequence {number} have different lengths ({', '.join(map(str, sorted(lengths)))})"
            raise DataFileError(where, facts, "give every input at every step")
        if 0 in lengths and inputs[0].frames is None:
            raise DataFileError(where, f"sequence {number} has no step", "leave it out")
        if 0 in lengths:
            remedy = f"one call reads {inputs[0].frames} frames: give as many or more"
            raise DataFileError(where, f"sequence {number} is too short", remedy)
        _check_sizes(inputs, reading, where)
    if len(tracks) < reading.rows:
        facts = f"{len(tracks)} sequences, one call of the model takes {reading.rows}"
        raise DataFileError(where, facts, "give more, or an example with a smaller batch")
    starts = range(0, len(tracks) - reading.rows + 1, reading.rows)
    return [_calls(tracks[start : start + reading.rows], reading, where) for start in starts]


def _check_sizes(tracks: Sequence[_Track], reading: Reading, where: str) -> None:
    """Raises DataFileError where the first step of an input has another shape than one call reads."""
    for track, entry in zip(tracks, reading.entries, strict=True):
        shape = tuple(track.step(0).shape)
        if shape != entry:
            facts = f"one step of a sequence has shape {shape}, one call of the model reads {entry}"
            raise DataFileError(where, facts, "give sequences of what the model reads in one call")


def _calls(group: Sequence[Sequence[_Track]], reading: Reading, where: str) -> Steps:
    """The calls of sequences that are run at once."""
    example = Arguments.of(*reading.example)
    length = min(LONGEST, *(len(inputs[0]) for inputs in group))

    def call(number: int) -> Call:
        """The inputs of all tracks in the call of this number."""
        tensors = list(example.tensors)
        for column, position in enumerate(reading.observed):
            parts = [in_kind(inputs[column].step(number), tensors[position].dtype, where) for inputs in group]
            if reading.has_rows:
                tensors[position] = torch.stack(parts)
            else:
                tensors[position] = parts[0]
        return example.filled(tensors)

    call(0)  # raises now if something does not fit
    return mapped(call, range(length))
