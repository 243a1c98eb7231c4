"""Which inputs are fitted, held out, judged on?

Of 2,000 samples 400 are held out, in four stretches, since a file is mostly in order of time, or sorted by kind or by
person: fits look at the other 1,600, and at inputs beside them, and figures are taken from the 400.

    file        |-----##-----|-----##-----|-----##-----|-----##-----|        #: held out

Networks that carry something from call to call get sequences: arrays `sequence time entry...`, or a list of one array
`time entry...` each. They are laid end to end in the same table, and a call of a sequence is a choice of rows:

    rows of sequences of 3 and 2 steps    0 1 2 | 3 4      run at once: calls (0, 3), (1, 4)

Of a network that reads several frames a call, time is the axis `t` of its layout, and a step takes as many frames as a
call does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import inf
from typing import Any

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

from chiralize.errors import DataFileError, ModelRunError
from chiralize.graph.run import Arguments, Call, Runner
from chiralize.problem.network import Network
from chiralize.problem.sequences import LONGEST, Steps
from chiralize.problem.table import Array, Batches, Table, by_names, counts_samples, table_of
from chiralize.symmetry.action import act

ONE_IN, STRETCHES = 5, 4
"""One sample of so many is held out, in so many stretches: decision 0098 of the accuracy table rests on a fifth."""
JUDGED = 8
"""Calls of the user that verdicts run on, as many as random ones."""
_MOST_NUMBERS = 1e8
"""Numbers of all samples together up to which mirror images among them are looked for: seconds."""
_NEAR = 1e-5
"""Of the median distance of samples from their middle: how far image and sample may be apart in single precision."""


@dataclass(frozen=True)
class Inputs:
    """The user's inputs, drawn people where there are none, and others beside them.

    given: the user's.  seen, held: rows of them, or of the drawn people where nothing is given.  sequences: rows of
    `given` as they follow each other.  posed: drawn people.  beside: inputs derived from the others, for fits only.
    source: what figures are taken from, in words.
    """

    given: Table | None = None
    sequences: Sequence[Steps] = ()
    posed: Table | None = None
    beside: Table | None = None
    seen: Sequence[int] = ()
    held: Sequence[int] = ()
    source: str = ""

    @staticmethod
    def of_people(table: Table) -> Inputs:
        """Drawn people in place of inputs of the user."""
        seen, held = _parted(range(len(table)))
        return Inputs(posed=table, seen=seen, held=held, source="drawn people, held out from the fit")

    @property
    def table(self) -> Table:
        """What `seen` and `held` are rows of."""
        table = self.given if self.given is not None else self.posed
        assert table is not None
        return table

    def fitted(self, size: int, most: float = inf) -> Sequence[Call]:
        """Batches of `size` samples to fit on: at most so many of those seen, from all over, with others in between."""
        others = [self.beside, self.posed if self.given is not None else None]
        batches = [self.table.batches(size, spread_out(self.seen, most))]
        batches += [table.batches(size) for table in others if table is not None]
        return together(batches)

    def measured(self, size: int, most: float = inf) -> Sequence[Call]:
        """Batches of `size` samples or fewer to take figures from, at most so many samples in all."""
        rows = spread_out(self.held, most)
        return self.table.batches(len(rows) // -(-len(rows) // size), rows)  # of 80 three of 26, and not two of 32

    def judged(self) -> Sequence[Call]:
        """The calls that verdicts run on: as many samples as the example has, from all over the file."""
        rows, count = self.table.rows, len(self.table)
        calls = min(JUDGED, max(1, count // rows))
        starts = [number * (count - rows) // max(calls - 1, 1) for number in range(calls)]
        return Batches([(self.table, range(start, start + rows)) for start in starts])

    @property
    def seen_sequences(self) -> Sequence[Steps]:
        """Sequences to fit on."""
        held = set(stretches(len(self.sequences)))
        seen = [steps for number, steps in enumerate(self.sequences) if number not in held]
        return seen or self.sequences

    @property
    def held_sequences(self) -> Sequence[Steps]:
        """Sequences to take figures from: others than those seen, unless there is one in all."""
        return [self.sequences[number] for number in stretches(len(self.sequences))]


def stretches(count: int) -> list[int]:
    """The numbers up to `count` that are held out: a fifth, in four stretches from all over them.

    >>> stretches(20)
    [2, 7, 12, 17]
    """
    share = max(count // ONE_IN, min(count, 1))
    held: list[int] = []
    for number in range(parts := min(STRETCHES, share)):
        length = share // parts + (number < share % parts)
        start = int((number + 0.5) * count / parts - length / 2)
        held += range(start, start + length)
    return held


def spread_out(rows: Sequence[int], most: float) -> Sequence[int]:
    """At most so many of the rows, from all over them."""
    if len(rows) <= most:
        return rows
    count = int(most)
    return [rows[number * len(rows) // count] for number in range(count)]


def together(several: Sequence[Batches]) -> Batches:
    """All batches, those of each kind from the first to the last, so that every stretch of them holds all kinds."""
    parts: list[tuple[float, int, tuple[Table, Sequence[int]]]] = []
    for kind, each in enumerate(several):
        parts += [(number / len(each), kind, part) for number, part in enumerate(each.parts)]
    return Batches([part for _, _, part in sorted(parts, key=lambda part: part[:2])])


def inputs_of(network: Network, data: Any, where: str = "calibration") -> tuple[Inputs, int]:
    """The inputs in what the user gives, and how many samples were left out since others are their mirror images.

    An equivariant fit answers the image of an input as it answers the input: it learns nothing from images, and a
    figure taken from images of what was fitted is too good.
    Raises UsageError, DataFileError, NonFiniteError as `table_of` does.
    """
    tracks = _tracks(data, network, where) if network.carried else None
    if tracks is not None:
        return _of_tracks(*tracks, network, where), 0
    table = any_size(network, table_of(data, network, where))
    rows = _without_images(network, table)
    seen, held = _parted(rows)
    source = "held-out calibration inputs" if len(rows) > 1 else "the only calibration input"
    return Inputs(table, seen=seen, held=held, source=source), len(table) - len(rows)


def _parted(rows: Sequence[int]) -> tuple[list[int], list[int]]:
    """The rows to fit on, and those held out; both are the same where there is one."""
    at = set(stretches(len(rows)))
    held = [rows[number] for number in sorted(at)]
    return [row for number, row in enumerate(rows) if number not in at] or held, held


def any_size(network: Network, table: Table) -> Table:
    """The table, whose calls have the example's number of samples where the network takes no other."""
    if table.single or _takes(network, table, table.rows + 1):
        return table
    return replace(table, fixed=table.rows)


def _takes(network: Network, table: Table, rows: int) -> bool:
    """Whether the network answers to so many samples at once; where there are fewer, nobody asks it to."""
    if len(table) < rows:
        return True
    try:
        with Runner(network.module) as runner:
            runner.run([table.call(slice(0, rows))])
    except ModelRunError:
        return False
    return True


# ---- mirror images --------------------------------------------------------------------------------------------------
def _without_images(network: Network, table: Table) -> Sequence[int]:
    """The rows of a table without those whose mirror image is an earlier row."""
    resolved = network.resolved
    turns = {index: resolved.inputs[index] for index in table.arrays}
    numbers = sum(int(np.prod(array.shape)) for array in table.arrays.values())
    is_known = all(tensor.representation is not None for tensor in turns.values())
    if len(table) < 2 or table.single or resolved.is_trivial or not is_known or numbers > _MOST_NUMBERS:
        return range(len(table))
    # A sample is known by its products with two random directions: near pairs of points in the plane are pairs.
    plain, turned = np.zeros((2, len(table), 2))
    generator = torch.Generator().manual_seed(0)
    for index, tensor in turns.items():
        size = int(np.prod(table.arrays[index].shape[1:]))
        directions = torch.randn(size, 2, generator=generator, dtype=torch.float64)
        for rows in torch.arange(len(table)).split(1024):
            values = Arguments.of(*table.call(rows.tolist())).tensors[index].double()
            image = act(values, tensor.representation, tensor.center)  # type: ignore[arg-type]
            plain[rows] += (values.flatten(1) @ directions).numpy()
            turned[rows] += (image.flatten(1) @ directions).numpy()
    near = _NEAR * float(np.median(np.abs(plain - np.median(plain, 0))))
    distances, partners = KDTree(plain).query(turned, distance_upper_bound=max(near, 1e-300))
    is_image = np.isfinite(distances) & (partners < np.arange(len(table)))
    return np.flatnonzero(~is_image).tolist() if is_image.any() else range(len(table))


# ---- along time -----------------------------------------------------------------------------------------------------
def _tracks(data: Any, network: Network, where: str) -> tuple[dict[int, list[np.ndarray]], list[int]] | None:
    """Sequences of every input as arrays "step entry...", by position, and their lengths; None for samples."""
    columns = _columns(data, network)
    if columns is None:
        return None
    tracks: dict[int, list[np.ndarray]] = {}
    for index, value in columns.items():
        steps = _steps_in(value, network, index, where)
        if steps is None:
            return None
        tracks[index] = steps
    lengths = {index: [len(track) for track in column] for index, column in tracks.items()}
    first = next(iter(lengths.values()))
    if any(others != first for others in lengths.values()):
        raise DataFileError(where, f"inputs have different steps ({lengths})", "give every input at every step")
    if not first or 0 in first:
        raise DataFileError(where, "a sequence has no step", "give as many frames as one call reads, or more")
    return tracks, first


def _columns(data: Any, network: Network) -> dict[int, Any] | None:
    """What data bring along sequences, by the position of the input; None for what has no time."""
    handed = {each.input for each in network.carried.handed if each.is_state}
    observed = [one.index for one in network.resolved.inputs if one.kind != "state" and one.index not in handed]
    if not observed:
        return None
    if isinstance(data, (np.ndarray, Tensor)):
        return {observed[0]: data}
    if isinstance(data, Mapping):
        named = by_names(data, network)
        if named is not None:
            return named
        values = list(data.values())
        return {observed[0]: values} if len(observed) == 1 < len(values) else dict(zip(observed, values, strict=False))
    if not isinstance(data, Sequence) or isinstance(data, (str, bytes)) or not data:
        return None
    items = [item if isinstance(item, (tuple, list)) else (item,) for item in data]
    if len({len(item) for item in items}) > 1 or len(items[0]) > len(observed):
        return None
    if not all(isinstance(array, (np.ndarray, Tensor)) for item in items for array in item):
        return None
    return {index: list(column) for index, column in zip(observed, zip(*items, strict=True), strict=False)}


def _steps_in(value: Any, network: Network, index: int, where: str) -> list[np.ndarray] | None:
    """One input as a list of sequences "step entry..."; None where it is samples. Raises DataFileError."""
    tensor = network.resolved.inputs[index]
    is_single = not counts_samples(network)
    entry = tuple(tensor.shape if is_single else tensor.shape[1:])
    times = [axis - (not is_single) for word, axis in tensor.free_axes if word == "t"]
    items = value if isinstance(value, list) else [value]
    arrays = [item.detach().cpu().numpy() if isinstance(item, Tensor) else item for item in items]
    if not isinstance(value, list):
        whole = arrays[0]
        if whole.ndim == len(entry) + 2:  # sequence time entry...
            arrays = list(whole)
        elif times and whole.ndim == len(entry) + 1 and whole.shape[1 + times[0]] != entry[times[0]]:
            arrays = list(whole)  # time is among the entries
        elif not is_single or whole.ndim != len(entry) + 1:
            return None
    if times and all(array.ndim == len(entry) for array in arrays):
        arrays = [_windows(array, times[0], entry[times[0]]) for array in arrays]
    wrong = next((array for array in arrays if array.shape[1:] != entry), None)
    if wrong is not None:
        facts = f"a sequence has steps of shape {wrong.shape[1:]}, one call of the network reads {entry}"
        raise DataFileError(where, facts, "give (sequence, time, entry...), or an example of another size")
    return arrays


def _windows(array: np.ndarray, axis: int, frames: int) -> np.ndarray:
    """A sequence with time along an axis as "step entry...", so many frames a step; what fills none is left out."""
    steps = array.shape[axis] // frames
    parts = array.take(range(steps * frames), axis)
    cut = parts.reshape(*array.shape[:axis], steps, frames, *array.shape[axis + 1 :])
    return np.moveaxis(cut, axis, 0)


def _of_tracks(tracks: Mapping[int, list[np.ndarray]], lengths: Sequence[int], network: Network, where: str) -> Inputs:
    """The inputs of sequences, as many run at once as the example has samples. Raises DataFileError."""
    arrays: dict[int, Array] = {index: np.concatenate(column) for index, column in tracks.items()}
    table = Table(arrays, network.example, not counts_samples(network), where)
    rows = table.rows
    table = replace(table, fixed=rows)
    if len(lengths) < rows:
        facts = f"{len(lengths)} sequences, one call of the network takes {rows}"
        raise DataFileError(where, facts, "give more, or an example with a smaller batch")
    table.call(slice(0, 1))
    starts = [0, *accumulate(lengths)]
    sequences: list[Steps] = []
    held: list[int] = []
    groups = range(0, len(lengths) - rows + 1, rows)
    is_held = set(stretches(len(groups)))
    for number, group in enumerate(groups):
        members = range(group, group + rows)
        steps = min(LONGEST, *(lengths[member] for member in members))
        sequences.append(Batches([(table, [starts[each] + step for each in members]) for step in range(steps)]))
        if number in is_held:
            held += range(starts[group], starts[group + rows])
    held_rows = set(held)
    seen = [row for row in range(len(table)) if row not in held_rows] or held
    source = "held-out sequences" if len(sequences) > 1 else "the only sequence"
    return Inputs(table, sequences, seen=seen, held=held, source=source)
