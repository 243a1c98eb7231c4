"""Data of the Python interface as calls of a network: an array, batches, or anything that yields batches.

    array (2000, 17, 2)                    cut into calls of the example's batch
    [(x, t), (x, t), ...]                  a tuple of all arguments for every call
    [x, x, ...]                            the first argument; the others are those of the example
    (x (2000, 17, 2), t (2000,))           an array for each argument, cut together
    a DataLoader, a generator              run through once, stored; of pairs (input, target) the input is taken

Files are read in `inputs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from torch.utils import _pytree as pytree

from chiralize.errors import DataFileError, UsageError
from chiralize.graph.running import Arguments, Call
from chiralize.problem.data import labelled
from chiralize.problem.data.feeds import CallsOfArrays, Feed, read
from chiralize.problem.data.inputs import part_of, refuse_numbers_in_a_row
from chiralize.problem.data.kinds import as_tensor, checked_cast, native, remark_on_kind, with_values
from chiralize.problem.data.shelf import Shelf

MOST_SPOOLED = 50_000


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
        return _cut(data, example, where), _remarks_on_kinds((data,), example, where)
    if isinstance(data, (str, bytes, Path, Mapping)) or not (hasattr(data, "__iter__") or hasattr(data, "__getitem__")):
        facts = f"a {type(data).__name__} is no array, tensor or iterable of batches"
        raise UsageError(where, facts, "load it first: numpy.load(path, mmap_mode='r'), of several arrays one")
    if _is_one_call(data, example):
        return _cut_together(data, example, where), _remarks_on_kinds(data, example, where)
    # Batches of a sequence are read when they are asked for; only the first is looked at now.
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


def _remarks_on_kinds(data: Sequence[torch.Tensor | np.ndarray], example: Call, where: str) -> tuple[str, ...]:
    """Notes on arrays that are taken as another kind of numbers than they hold, by the arguments in their order."""
    slots = example[0] or tuple(example[1].values())
    remarks = [remark_on_kind("", array.dtype, like.dtype, where) for array, like in zip(data, slots, strict=False)]
    return tuple(filter(None, dict.fromkeys(remarks)))


def _cut(data: torch.Tensor | np.ndarray, example: Call, where: str) -> CallsOfArrays:
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
    refuse_numbers_in_a_row(tuple(data.shape), Arguments.of(*example).tensors, "the array", where)
    whole = with_values(data, where)

    def call(batch: int) -> Call:
        """The call of this number."""
        return _call_of(whole[part_of(batch, whole.ndim, first)], example, where)

    call(0)  # raises now if something does not fit
    return CallsOfArrays(call, range(len(data) // rows), {0})


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


def _cut_together(data: tuple[torch.Tensor | np.ndarray, ...], example: Call, where: str) -> CallsOfArrays:
    """An array for each argument as calls of the example's size; what is left over is dropped."""
    slots = example[0] or tuple(example[1].values())
    rows = len(slots[0])
    if len(data[0]) < rows:
        facts = f"the arrays hold {len(data[0])} samples, one call of the model takes {rows}"
        raise DataFileError(where, facts, "give more samples, or an example with a smaller batch")
    wholes = [with_values(value, where) for value in data]

    def call(batch: int) -> Call:
        """The call of this number."""
        parts = [whole[part_of(batch, whole.ndim, like)] for whole, like in zip(wholes, slots, strict=True)]
        return _call_of(tuple(parts), example, where)

    call(0)  # raises now if something does not fit
    return CallsOfArrays(call, range(len(data[0]) // rows), range(len(slots)))


def _empty(data: Any, where: str) -> DataFileError:
    """The error for data without a sample."""
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
    """One value in the kind of the example's.  Raises DataFileError as `_as_input`, and for values that do not fit."""
    if not isinstance(like, torch.Tensor):
        if isinstance(value, np.ndarray):
            return native(value, "", where)
        return value
    if not isinstance(value, (torch.Tensor, np.ndarray)):
        facts = f"a batch holds a {type(value).__name__}, the model's input is a tensor of shape {tuple(like.shape)}"
        raise DataFileError(where, facts, "give tensors or arrays, samples first")
    if value.ndim != like.ndim:
        facts = f"a batch has shape {tuple(value.shape)}, the model's input has {tuple(like.shape)}"
        if tuple(value.shape[1:]) == tuple(like.shape):  # many samples, given as if they were one batch
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
