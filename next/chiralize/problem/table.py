"""The user's inputs as one table: an array for every tensor that data bring, samples first. Batches are lists of rows.

    array (2000, 17, 2)  ·  a file of arrays  ·  {"pose": array, "t": array}  ·  (x, t), one array each
    [batch, ...], a DataLoader: batches are tensors, tuples of arguments, dictionaries; of (input, target) the input

Whatever comes in is laid end to end once (beyond 256 MB in a temporary file), so that cutting, shuffling, holding out
and mirroring are choices of rows. Tensors that no array is of keep the example's values.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from chiralize.errors import DataFileError, NonFiniteError, UsageError
from chiralize.graph.run import Arguments, Call
from chiralize.problem.network import Network
from chiralize.problem.trial import arguments_of

Array = np.ndarray | Tensor
MOST, ROOM = 50_000, 256_000_000
"""Samples that are taken of what can be run through only once, and bytes of it that stay in memory."""


@dataclass(frozen=True)
class Table:
    """Samples of a network.

    arrays: by the position of a tensor in a call.  example: a call.  single: a call is one sample, no axis counts them.
    fixed: how many samples every call has to have, 0 for any number.
    """

    arrays: Mapping[int, Array]
    example: Call
    single: bool = False
    where: str = "calibration"
    fixed: int = 0

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def call(self, rows: Sequence[int] | slice) -> Call:
        """The call of these samples, in the kinds of numbers that the network takes.

        Raises DataFileError, NonFiniteError.
        """
        arguments = Arguments.of(*self.example)
        tensors, count = list(arguments.tensors), len(range(len(self))[rows]) if isinstance(rows, slice) else len(rows)
        batch = None if self.single else len(tensors[min(self.arrays)])
        for index, like in enumerate(tensors):
            if index in self.arrays:
                value = in_kind(self.arrays[index][rows], like.dtype, self.where)
                tensors[index] = value[0] if self.single else value
            elif like.ndim and len(like) == batch:  # a sample that nobody gave, as often as needed
                tensors[index] = like[:1].expand(count, *like.shape[1:])
        return arguments.filled(tensors)

    @property
    def rows(self) -> int:
        """Samples in the example."""
        return 1 if self.single else len(Arguments.of(*self.example).tensors[min(self.arrays)])

    def batches(self, size: int, rows: Sequence[int] | None = None) -> Batches:
        """Calls of `size` samples each, built when they are asked for; what fills none is left out."""
        order = range(len(self)) if rows is None else rows
        size = 1 if self.single else self.fixed or max(1, min(size, len(order)))
        return Batches([(self, order[start : start + size]) for start in range(0, len(order) - size + 1, size)])

    def spread_out(self, most: float) -> list[int]:
        """Rows from all over the table, at most so many."""
        count = int(min(most, len(self)))
        return [number * len(self) // count for number in range(count)]

    def changed(self, change: Callable[[int, Tensor], Tensor], rows: Sequence[int]) -> Table:
        """These samples with other numbers.  change: takes the position of a tensor and its values, "sample ..."."""
        likes = Arguments.of(*self.example).tensors
        arrays = {
            index: change(index, in_kind(array[list(rows)], likes[index].dtype, self.where))
            for index, array in self.arrays.items()
        }
        return replace(self, arrays=arrays)


@dataclass(frozen=True)
class Batches(Sequence[Call]):
    """Batches of one or more tables, each the rows of one; a slice is one, too, and so is a sum."""

    parts: Sequence[tuple[Table, Sequence[int]]] = ()

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return Batches(self.parts[at])
        table, rows = self.parts[at]
        is_run = isinstance(rows, range) and rows.step == 1
        return table.call(slice(rows.start, rows.stop) if is_run else list(rows))

    def __add__(self, other: Batches) -> Batches:
        return Batches([*self.parts, *other.parts])

    @property
    def samples(self) -> int:
        """How many samples all batches have."""
        return sum(len(rows) for _, rows in self.parts)


# ---- from what the user has to a table ------------------------------------------------------------------------------
def table_of(data: Any, network: Network, where: str = "calibration") -> Table:
    """Data of any of the kinds above as a table; a file is the arrays in it, by name.

    Raises UsageError for what are no data, DataFileError where they do not fit the network, NonFiniteError. What an
    iterable raises comes out.
    """
    likes, names = Arguments.of(*network.example).tensors, names_of(network)
    single = not counts_samples(network)
    if isinstance(data, (np.ndarray, Tensor)):
        arrays: Mapping[str, Array] = {"": data}
    elif isinstance(data, Mapping) or (hasattr(data, "batch_size") and hasattr(data, "keys")):  # a TensorDict
        arrays = {str(name): data[name] for name in data.keys()}
    elif isinstance(data, tuple) and len(data) == len(likes) > 1 and _are_columns(data, likes):
        arrays = {str(number): value for number, value in enumerate(data)}
    elif isinstance(data, Iterable) and not isinstance(data, (str, bytes)) and not hasattr(data, "__fspath__"):
        return _fitted(_end_to_end(data, likes, names, where), network.example, single, where)
    else:
        facts = f"a {type(data).__name__} is no array and no iterable of batches"
        raise UsageError(where, facts, "give an array, samples first: numpy.load(path)")
    return _fitted(dict(_by_position(arrays, names, likes, where)), network.example, single, where)


def counts_samples(network: Network) -> bool:
    """Whether samples lie along the first axis of every input that data bring; states may be held otherwise."""
    brought = [tensor for tensor in network.resolved.inputs if not tensor.is_free and tensor.kind != "state"]
    return bool(brought) and all(tensor.has_rows for tensor in brought)


def names_of(network: Network) -> list[frozenset[str]]:
    """What every tensor of a call is called: as an argument, a key of a dictionary, and in the specification."""
    arguments = [each.name for each in arguments_of(network.module) or ()]
    paths = pytree.tree_flatten_with_path(network.example)[0]
    names: list[frozenset[str]] = []
    for path, leaf in paths:
        if not isinstance(leaf, Tensor):
            continue
        keys = [step.key for step in path if isinstance(step, pytree.MappingKey)]
        number = path[1].idx if isinstance(path[1], pytree.SequenceKey) else None
        argument = [arguments[number]] if len(path) == 2 and number is not None and number < len(arguments) else []
        described = network.resolved.inputs[len(names)].entry.name
        names.append(frozenset(filter(None, (*map(str, keys[-1:]), *argument, described))))
    return names


def _are_columns(data: tuple[Any, ...], likes: Sequence[Tensor]) -> bool:
    """Whether a tuple holds all samples of each argument, and no batches of the first."""
    if not all(isinstance(value, (np.ndarray, Tensor)) for value in data):
        return False
    fits = all(tuple(value.shape[1:]) == tuple(like.shape[1:]) for value, like in zip(data, likes, strict=True))
    return fits and any(value.shape[1:] != data[0].shape[1:] for value in data)


def by_names(arrays: Mapping[Any, Any], network: Network) -> dict[int, Any] | None:
    """Arrays by the position of their input, where all have the name of one; else None."""
    positions = {name: index for index, known in enumerate(names_of(network)) for name in known}
    if not positions.keys() >= arrays.keys():
        return None
    return {positions[name]: array for name, array in arrays.items()}


def _by_position(
    arrays: Mapping[Any, Any], names: Sequence[frozenset[str]], likes: Sequence[Tensor], where: str
) -> Iterator[tuple[int, Any]]:
    """Arrays by the names of inputs where all have one, else in their order. Raises DataFileError."""
    by_name = {name: index for index, known in enumerate(names) for name in known}
    if by_name.keys() >= arrays.keys():
        yield from ((by_name[name], array) for name, array in arrays.items())
    elif len(arrays) <= len(likes) and not by_name.keys() & arrays.keys():
        yield from enumerate(arrays.values())
    else:
        known = ", ".join("/".join(sorted(each)) for each in names if each) or "in their order"
        facts = f"arrays {', '.join(map(repr, arrays))}; the network takes {len(likes)} inputs"
        raise DataFileError(where, facts, f"keep one array for each: {known}")


def _fitted(arrays: dict[int, Array], example: Call, single: bool, where: str) -> Table:
    """The table, whose arrays have the sizes of one sample behind the first axis. Raises DataFileError."""
    likes = Arguments.of(*example).tensors
    for index, array in arrays.items():
        if isinstance(array, Tensor) and not _is_plain(array):
            raise DataFileError(where, "it is a tensor without plain values", "give dense tensors")
        arrays[index] = _in_sizes(array, tuple(likes[index].shape if single else likes[index].shape[1:]), index, where)
    counts = [len(array) for array in arrays.values()]
    if len(set(counts)) > 1:
        facts = f"arrays of {', '.join(map(str, counts))} samples"
        raise DataFileError(where, facts, "give equally many of each")
    table = Table(arrays, example, single, where)
    table.call(slice(0, 1))  # raises now if the kind of numbers does not fit
    return table


def _in_sizes(array: Array, sample: tuple[int, ...], index: int, where: str) -> Array:
    """An array as "sample entry..."; of rows of numbers, and of calls in batches of one, too. Raises DataFileError."""
    if array.ndim == len(sample) + 2 and array.shape[2:] == sample:  # "batch sample entry...", laid end to end
        array = array.reshape(-1, *sample)
    elif array.ndim == 2 and array.shape[1] == prod(sample):  # a row of numbers, as of a table of text
        array = array.reshape(len(array), *sample)
    if not array.ndim or not len(array) or tuple(array.shape[1:]) != sample:
        wanted = ", ".join(map(str, ("sample", *sample)))
        facts = f"array {index} has shape {tuple(array.shape)}, input {index} of the network takes ({wanted})"
        raise DataFileError(where, facts, _how(tuple(array.shape[1:]), sample))
    return array


def _how(given: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """How to store samples of other sizes: axes in another order, or of another body."""
    if sorted(given) == sorted(wanted):
        order = ", ".join(str(given.index(size) + 1) for size in wanted)
        return f"put the axes in order: array.transpose(0, {order})"
    if prod(given) == prod(wanted):
        sizes = ", ".join(map(str, wanted))
        return f"array.reshape(-1, {sizes}), where its numbers are in the order that the network reads"
    return "give samples first, in the sizes of the network's example (--input-shape); other joints are another body's"


# ---- what is run through once ---------------------------------------------------------------------------------------
def _end_to_end(
    items: Iterable[Any], likes: Sequence[Tensor], names: Sequence[frozenset[str]], where: str
) -> dict[int, Array]:
    """Batches of an iterable as columns: beyond `ROOM` bytes in a temporary file that goes with its array."""
    parts: dict[int, list[np.ndarray]] = {}
    count = held = 0
    for item in items:
        for index, value in _columns(item, likes, names, where):
            array = _as_array(value, where)
            array = array[None] if array.ndim == likes[index].ndim - 1 else array
            held += array.nbytes
            parts.setdefault(index, []).append(_on_disk(array) if held > ROOM else np.array(array))
        count += len(parts[min(parts)][-1]) if parts else 0
        if count >= MOST:
            break
    if not count:
        raise DataFileError(where, "there are no batches", "give at least one sample")
    for index, column in parts.items():
        sizes = {part.shape[1:] for part in column}
        if len(sizes) > 1:
            facts = f"input {index} has samples of several sizes: {', '.join(map(str, sizes))}"
            raise DataFileError(where, facts, "give batches that differ in the number of samples only")
    return {index: np.concatenate(column) if len(column) > 1 else column[0] for index, column in parts.items()}


def _as_array(value: Any, where: str) -> np.ndarray:
    """One argument of a batch as an array. Raises DataFileError for what is none."""
    if isinstance(value, Tensor):
        if not _is_plain(value):
            raise DataFileError(where, "a batch holds a tensor without plain values", "give dense tensors")
        value = value.detach().cpu()
        return (value.float() if value.dtype is torch.bfloat16 else value).numpy()
    if not isinstance(value, np.ndarray) or not value.ndim:
        raise DataFileError(where, f"a batch holds a {type(value).__name__}", "give tensors or arrays, samples first")
    return value


def _is_plain(tensor: Tensor) -> bool:
    """Whether it is dense, and has values."""
    return tensor.layout is torch.strided and not tensor.is_meta


def _on_disk(value: np.ndarray) -> np.ndarray:
    """The array in a temporary file."""
    with tempfile.TemporaryFile(prefix="chiralize-") as file:
        file.write(np.ascontiguousarray(value).tobytes())
        file.flush()
        return np.memmap(file, value.dtype, "c", shape=value.shape)


def _columns(
    item: Any, likes: Sequence[Tensor], names: Sequence[frozenset[str]], where: str
) -> Iterator[tuple[int, Any]]:
    """One batch as arrays by the position of their input. Raises DataFileError."""
    if isinstance(item, Mapping):
        yield from _by_position(item, names, likes, where)
        return
    values = pytree.tree_leaves(item) if isinstance(item, (tuple, list)) else [item]
    if len(values) == 2 and len(likes) == 1:  # (input, target)
        values = values[:1]
    if len(values) > len(likes):
        facts = f"a batch has {len(values)} arguments, the network takes {len(likes)}"
        raise DataFileError(where, facts, "leave labels out")
    yield from enumerate(values)


def in_kind(value: Array, dtype: torch.dtype, where: str) -> Tensor:
    """Numbers in an input's kind, on the CPU.

    Raises DataFileError where whole numbers or a mask would change, NonFiniteError beyond its range.
    """
    if not isinstance(value, Tensor):
        plain = np.asarray(value)
        if plain.dtype.kind not in "biufc":
            raise DataFileError(where, f"it holds {plain.dtype}, not numbers", "give array.astype('float32')")
        # numpy's long doubles and big-endian numbers are none of torch's.
        is_long = plain.dtype.kind == "f" and plain.dtype.itemsize > 8
        native = np.dtype(np.float64) if is_long else plain.dtype.newbyteorder("=")
        value = torch.from_numpy(np.array(plain, dtype=native, order="C"))
    tensor = value.detach().cpu()
    if tensor.is_complex() and not dtype.is_complex:
        raise DataFileError(where, f"it holds {tensor.dtype}, the network takes {dtype}", "store real numbers")
    cast = tensor.to(dtype)
    if not (dtype.is_floating_point or dtype.is_complex) and bool((cast.to(tensor.dtype) != tensor).any()):
        facts = f"it holds {tensor.dtype}, the network takes {dtype}"
        raise DataFileError(where, facts, "store the whole numbers that it takes")
    if dtype.is_floating_point and not bool(cast.isfinite().all()):
        raise NonFiniteError(where, f"entries are NaN, infinite, or beyond {dtype}", "remove or fill in those samples")
    return cast
