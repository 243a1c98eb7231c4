"""Calibration inputs: calls shaped like an example, from array files and from data in Python."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import chain, repeat
from math import prod
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from torch.utils import _pytree as pytree

from chiralize.body.tensors import ResolvedTensor
from chiralize.errors import DataFileError, UsageError
from chiralize.graph.running import Arguments, Call
from chiralize.problem.data import labelled
from chiralize.problem.data.feeds import Feed, read
from chiralize.problem.data.kinds import array_name, as_tensor, checked_cast, native, with_values
from chiralize.problem.data.misfit import a_row, misfit
from chiralize.problem.data.other_body import other_body
from chiralize.problem.data.shelf import Shelf
from chiralize.storage.arrays import load_arrays
from chiralize.storage.sniff import sniff

MOST_SPOOLED = 50_000


def calls_from(
    path: Path,
    example: tuple[Sequence[Any], Mapping[str, Any]],
    states: Sequence[int] = (),
    names: Sequence[str] = (),
    most: int | None = None,
    open_axes: Sequence[Mapping[int, str]] = (),
    tensors: Sequence[ResolvedTensor] = (),
) -> Feed[Call]:
    """Calls shaped like `example` from an array file, cut out when they are asked for; axis 0 counts samples.

    Arrays go by the names of the model's inputs, else in file order to the inputs that are no states; inputs without
    an array keep the example's value.  states: positions, among the tensor inputs, of states.  names: of the positional
    arguments.  most: stop after so many calls.  open_axes: of every tensor of the example, the axes on which the
    network takes other sizes as well, by their words.  tensors: what each tensor of the example is, where that is
    known.  Raises DataFileError.
    """
    arrays = load_arrays(path)
    is_text = sniff(path) == "csv"
    leaves, structure = pytree.tree_flatten((tuple(example[0]), dict(example[1])))
    positions = _tensor_positions(leaves)
    targets = _targets(arrays, _leaf_names(example, names), positions, states, str(path))
    _refuse_other_bodies(arrays, targets, dict(zip(positions, tensors, strict=False)), leaves, str(path))
    if is_text:
        arrays = {name: _rows_as(array, leaves[targets[name]], str(path)) for name, array in arrays.items()}
    named = dict(zip(positions, open_axes, strict=False))
    count = _batches(arrays, targets, leaves, str(path), named)

    def call(batch: int) -> Call:
        """One call: as many rows of every array as the example has."""
        filled = list(leaves)
        for name, position in targets.items():
            part = arrays[name][_part(batch, arrays[name].ndim, leaves[position])]
            filled[position] = as_tensor(part, leaves[position].dtype, name, str(path))
        return pytree.tree_unflatten(filled, structure)

    call(0)  # raises now if something does not fit
    return Feed(call, range(count if most is None else min(count, most)))


def _part(batch: int, ndim: int, like: torch.Tensor) -> int | slice:
    """The part of an array that one call reads: a batch, or where the array has one axis more a single sample."""
    if ndim > like.ndim:
        return batch
    return slice(batch * len(like), (batch + 1) * len(like))


def _tensor_positions(leaves: Sequence[Any]) -> list[int]:
    """Where tensors stand among flattened arguments."""
    return [position for position, leaf in enumerate(leaves) if _is_tensor(leaf)]


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor)


def samples_in(path: Path) -> int:
    """How many samples an array file holds, the first array's if they differ. Raises DataFileError."""
    first = next(iter(load_arrays(path).values()))
    return len(first) if first.ndim else 1


def _targets(
    arrays: Mapping[str, np.ndarray],
    names: Mapping[str, int],
    tensors: Sequence[int],
    states: Sequence[int],
    where: str,
) -> dict[str, int]:
    """The leaf that every array goes to.  names, tensors: positions of leaves.  states: positions among the tensors."""
    if set(arrays) <= set(names):
        return {name: names[name] for name in arrays}
    free = [leaf for number, leaf in enumerate(tensors) if number not in states]
    if len(arrays) > len(free):
        facts = f"{len(arrays)} arrays ({', '.join(map(repr, arrays))}), the model takes {len(free)} inputs"
        known = ", ".join(names) or "in their order"
        raise DataFileError(where, facts, f"keep one array per input, or name them as the inputs are: {known}")
    return dict(zip(arrays, free, strict=False))


def _leaf_names(example: tuple[Sequence[Any], Mapping[str, Any]], names: Sequence[str]) -> dict[str, int]:
    """Inputs that are single tensors, by name, as positions among the flattened leaves."""
    args, kwargs = example
    positions: dict[str, int] = {}
    start = 0
    for name, value in chain(zip(chain(names, repeat("")), args, strict=False), kwargs.items()):
        if name and isinstance(value, torch.Tensor):
            positions[name] = start
        start += len(pytree.tree_leaves(value))
    return positions


def names_of_tensors(example: Call, names: Sequence[str]) -> dict[int, str]:
    """Names of arguments by the position of their tensor among all tensors; those within structures have none."""
    positions = _tensor_positions(pytree.tree_leaves(example))
    return {positions.index(leaf): name for name, leaf in _leaf_names(example, names).items()}


def _rows_as(rows: np.ndarray, like: torch.Tensor, where: str) -> np.ndarray:
    """The rows of a text as samples of an input: numbers in its own order, the last axis fastest.

    Raises DataFileError where a row has not as many numbers as a sample.
    """
    sample = tuple(like.shape[1:])
    if rows.shape[1] == like.numel():
        sample = tuple(like.shape[1:]) if len(like) == 1 else tuple(like.shape)
    elif rows.shape[1] != prod(sample):
        facts = f"{rows.shape[1]} numbers a row, a sample of the model's input has {prod(sample)}"
        raise DataFileError(where, facts, f"write a sample a row, in the order of ({', '.join(map(str, sample))})")
    return rows.reshape(len(rows), *sample)


def _refuse_other_bodies(
    arrays: Mapping[str, np.ndarray],
    targets: Mapping[str, int],
    tensors: Mapping[int, ResolvedTensor],
    leaves: Sequence[Any],
    where: str,
) -> None:
    """Raise DataFileError for an array that does not fit its input, and looks like one of another skeleton.

    tensors: by the position of a leaf.
    """
    for name, position in targets.items():
        array, wanted = arrays[name], tuple(leaves[position].shape)
        if position not in tensors or array.shape[1:] in (wanted, wanted[1:]):
            continue
        error = other_body(array_name(name), array.shape, tensors[position], where)
        if error is not None:
            raise error


def _batches(
    arrays: Mapping[str, np.ndarray],
    targets: Mapping[str, int],
    leaves: Sequence[Any],
    where: str,
    open_axes: Mapping[int, Mapping[int, str]],
) -> int:
    """The number of calls in the arrays. Raises DataFileError where it differs between them, or is 0.

    open_axes: by the position of a leaf.
    """
    counts: dict[str, int] = {}
    for name, position in targets.items():
        array, wanted = arrays[name], tuple(leaves[position].shape)
        has_samples = array.ndim > 0 and array.shape[1:] == wanted
        if not has_samples and (not wanted or array.ndim != len(wanted) or array.shape[1:] != wanted[1:]):
            raise misfit(array_name(name), array.shape, wanted, open_axes.get(position, {}), where)
        _refuse_numbers_in_a_row(array.shape, list(filter(_is_tensor, leaves)), array_name(name), where)
        rows = 1 if has_samples else wanted[0]
        counts[name] = len(array) // rows
        if not counts[name]:
            facts = f"{array_name(name)} holds {len(array)} samples, one call of the model takes {rows}"
            raise DataFileError(where, facts, "give more samples, or an example with a smaller batch: --input-shape")
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{name!r}: {len(arrays[name])}" for name in counts)
        facts = f"the arrays hold different numbers of samples ({shown})"
        raise DataFileError(where, facts, "give equally many of each")
    return next(iter(counts.values()))


def calls_of(
    data: torch.Tensor | np.ndarray | Iterable[Any],
    example: Call,
    where: str = "calibration",
    names: Sequence[str] = (),
) -> tuple[Sequence[Call], tuple[str, ...]]:
    """Data of the Python interface as calls, and remarks on them for the report. where: the argument's name.

    names: of the arguments that the network takes by position. Of pairs (input, target) it gets the input where it
    takes one alone.

    An array or tensor is cut into batches of the example's size when they are asked for, so that a memory-mapped file
    stays on the disk.  A sequence of batches is used as it is.  Any other iterable is run through once, and its first
    50,000 samples are kept, beyond 256 MB in temporary files.  A tuple of an array for each argument is cut as
    one array is, where its parts cannot be batches of the first argument.
    Raises UsageError where these are no data, DataFileError where they do not fit, NonFiniteError.
    """
    if isinstance(data, (torch.Tensor, np.ndarray)):
        return _cut(data, example, where), ()
    if isinstance(data, (str, bytes, Path, Mapping)) or not (hasattr(data, "__iter__") or hasattr(data, "__getitem__")):
        facts = f"a {type(data).__name__} is no array, tensor or iterable of batches"
        raise UsageError(where, facts, "load it first: numpy.load(path, mmap_mode='r'), of several arrays one")
    if _is_one_call(data, example):
        return _cut_together(data, example, where), ()
    if isinstance(data, Sequence):
        if not len(data):
            raise _empty(data, where)
        _call_of(data[0], example, where, names)
        if labelled.is_labelled(data[0], example, names):
            remarks = (labelled.remark(where),)
        else:
            remarks = ()
        return Feed(lambda index: _call_of(read(data, index), example, where, names), range(len(data))), remarks
    return _spooled(data, example, where, names)


def _cut(data: torch.Tensor | np.ndarray, example: Call, where: str) -> Feed[Call]:
    """One array as calls of the example's size; what is left over is dropped."""
    first = next(iter((*example[0], *example[1].values())), None)
    if not isinstance(first, torch.Tensor) or not first.ndim:
        facts = "one array is given, the model's first argument is no tensor of samples"
        raise UsageError(where, facts, "give a list of batches, each a tuple of all arguments")
    if data.ndim and not len(data):
        raise _empty(data, where)
    rows = 1 if tuple(data.shape[1:]) == tuple(first.shape) else len(first)
    if not data.ndim or len(data) < rows:
        facts = f"shape {tuple(data.shape)}, one call of the model takes {rows} samples"
        raise DataFileError(where, facts, "give samples first, more of them, or an example with a smaller batch")
    _refuse_numbers_in_a_row(tuple(data.shape), Arguments.of(*example).tensors, "the array", where)
    whole = with_values(data, where)

    def call(batch: int) -> Call:
        """The call of this number."""
        return _call_of(whole[_part(batch, whole.ndim, first)], example, where)

    call(0)  # raises now if something does not fit
    return Feed(call, range(len(data) // rows))


def _is_one_call(data: Any, example: Call) -> TypeGuard[tuple[torch.Tensor | np.ndarray, ...]]:
    """Whether data are a tuple of all samples of each argument, which differ in size, so that they are no batches."""
    slots = example[0] or tuple(example[1].values())
    if not isinstance(data, tuple) or len(data) != len(slots) or len(slots) == 1:
        return False
    for value, like in zip(data, slots, strict=True):
        if not isinstance(value, (torch.Tensor, np.ndarray)) or not isinstance(like, torch.Tensor):
            return False
        if not like.ndim or tuple(value.shape[1:]) != tuple(like.shape[1:]):
            return False
    return len(set(map(len, data))) == 1 and any(value.shape[1:] != slots[0].shape[1:] for value in data)


def _cut_together(data: tuple[torch.Tensor | np.ndarray, ...], example: Call, where: str) -> Feed[Call]:
    """An array for each argument as calls of the example's size; what is left over is dropped."""
    slots = example[0] or tuple(example[1].values())
    rows = len(slots[0])
    if len(data[0]) < rows:
        facts = f"the arrays hold {len(data[0])} samples, one call of the model takes {rows}"
        raise DataFileError(where, facts, "give more samples, or an example with a smaller batch")
    wholes = [with_values(value, where) for value in data]

    def call(batch: int) -> Call:
        """The call of this number."""
        parts = [whole[_part(batch, whole.ndim, like)] for whole, like in zip(wholes, slots, strict=True)]
        return _call_of(tuple(parts), example, where)

    call(0)  # raises now if something does not fit
    return Feed(call, range(len(data[0]) // rows))


def _refuse_numbers_in_a_row(given: Sequence[int], inputs: Sequence[torch.Tensor], array: str, where: str) -> None:
    """Raises DataFileError for an array of one axis, other than a sample, where no input has a batch to cut it into."""
    if len(given) != 1 or any(tensor.ndim > 1 for tensor in inputs) or given[0] in map(torch.Tensor.numel, inputs):
        return
    wanted = tuple(inputs[0].shape)
    raise DataFileError(where, f"{array} has shape {tuple(given)}, the model's input has {wanted}", a_row(wanted))


def _empty(data: Any, where: str) -> DataFileError:
    if isinstance(data, (torch.Tensor, np.ndarray)):
        shape = f", shape {tuple(data.shape)}"
    else:
        shape = ""
    return DataFileError(where, f"the {type(data).__name__} is empty{shape}", "give at least one sample.")


def _call_of(item: Any, example: Call, where: str, names: Sequence[str] = ()) -> Call:
    """One batch as a call: a tuple or list of all arguments, or the first alone beside the example's others.

    Where all arguments go by name, the batch is a dictionary, or in their order. Targets beside one input are left out.
    """
    args, kwargs = example
    if labelled.is_labelled(item, example, names):
        item = item[0]
    slots = args or tuple(kwargs.values())
    if isinstance(item, Mapping) and not args:
        foreign = [name for name in item if name not in kwargs]
        if foreign:
            facts = f"a batch has {', '.join(map(repr, foreign))}, one call of the model takes {', '.join(kwargs)}"
            raise DataFileError(where, facts, "give the arguments of the example inputs and nothing else")
        item = tuple(item.get(name, value) for name, value in kwargs.items())
    if isinstance(item, (tuple, list)):
        items = tuple(item)
    else:
        items = (item, *slots[1:])
    if len(items) != len(slots):
        facts = f"a batch has {len(items)} arguments, one call of the model takes {len(slots)}"
        raise DataFileError(where, facts, "give the arguments of the example inputs and nothing else, such as labels")
    values = tuple(_as_input(value, like, where) for value, like in zip(items, slots, strict=True))
    if args:
        return values, dict(kwargs)
    return (), dict(zip(kwargs, values, strict=True))


def _as_input(value: Any, like: Any, where: str) -> Any:
    """An argument, tensors and arrays in it in the example's kinds.  Raises DataFileError where its rank differs."""
    likes, structure = pytree.tree_flatten(like)
    values = pytree.tree_leaves(value)
    if len(values) != len(likes):
        facts = f"an argument of a batch holds {len(values)} values, the example's holds {len(likes)}"
        raise DataFileError(where, facts, "give batches in the structure of the example inputs")
    return pytree.tree_unflatten([_as_leaf(*pair, where) for pair in zip(values, likes, strict=True)], structure)


def _as_leaf(value: Any, like: Any, where: str) -> Any:
    if not isinstance(like, torch.Tensor):
        if isinstance(value, np.ndarray):
            return native(value, "", where)
        return value
    if not isinstance(value, (torch.Tensor, np.ndarray)):
        facts = f"a batch holds a {type(value).__name__}, the model's input is a tensor of shape {tuple(like.shape)}"
        raise DataFileError(where, facts, "give tensors or arrays, samples first")
    if value.ndim != like.ndim:
        facts = f"a batch has shape {tuple(value.shape)}, the model's input has {tuple(like.shape)}"
        if tuple(value.shape[1:]) == tuple(like.shape):
            remedy = "one call takes one sample: give all samples as one array, or a list of single ones"
            raise DataFileError(where, facts, remedy)
        raise DataFileError(where, facts, "give samples first, and as many axes as in the example inputs")
    if like.numel() and 0 in value.shape:
        raise _empty(value, where)
    if isinstance(value, np.ndarray):
        return as_tensor(value, like.dtype, "", where)
    value = with_values(value, where).to(like.device)
    if value.dtype == like.dtype:
        return value
    return checked_cast(value, like.dtype, "", where)


def _spooled(
    items: Iterable[Any], example: Call, where: str, names: Sequence[str]
) -> tuple[Sequence[Call], tuple[str, ...]]:
    """The batches of an iterable, stored as they come: they may not come twice, or in another order then."""
    shelf, count, samples = Shelf(0), 0, 0
    remarks: dict[str, None] = {}
    for item in items:
        if samples >= MOST_SPOOLED:
            remarks[f"{where}: the first {samples:,} samples were taken"] = None
            break
        if labelled.is_labelled(item, example, names):
            remarks[labelled.remark(where)] = None
        shelf[count] = call = _call_of(item, example, where, names)
        tensors = Arguments.of(*call).tensors
        samples += len(tensors[0]) if tensors and tensors[0].ndim else 1
        count += 1
    if not count:
        raise _empty(items, where)
    return Feed(shelf.__getitem__, range(count)), tuple(remarks)


def stacked(calls: Sequence[Call], common: Container[int] = ()) -> Call:
    """Several calls as one, their tensors joined along axis 0. common: positions of those that all of them share."""
    arguments = [Arguments.of(*call) for call in calls]
    joined = list[torch.Tensor]()
    for position, column in enumerate(zip(*(call.tensors for call in arguments), strict=True)):
        joined.append(column[0] if position in common else torch.cat(column))
    return arguments[0].filled(joined)
