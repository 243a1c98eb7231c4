"""Calibration inputs: calls shaped like an example, from array files; those of Python are in `from_python`.

Of an input (1, 17, 2) a file holds (2000, 17, 2), or (2000, 1, 17, 2): 2000 calls of one sample either way. Of an input
(4, 17, 2) an array (2000, 17, 2) makes 500 calls of four, and (2000, 4, 17, 2) makes 2000.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from itertools import chain, repeat
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from chiralize.body.tensors import ResolvedTensor
from chiralize.errors import DataFileError
from chiralize.graph.running import Arguments, Call
from chiralize.problem.data.feeds import CallsOfArrays
from chiralize.problem.data.kinds import array_name, as_tensor, remark_on_kind
from chiralize.problem.data.misfit import a_row, misfit
from chiralize.problem.data.other_body import other_body
from chiralize.storage.arrays import load_arrays
from chiralize.storage.sniff import sniff


def calls_from(
    path: Path,
    example: tuple[Sequence[Any], Mapping[str, Any]],
    states: Sequence[int] = (),
    names: Sequence[str] = (),
    most: int | None = None,
    open_axes: Sequence[Mapping[int, str]] = (),
    tensors: Sequence[ResolvedTensor] = (),
) -> CallsOfArrays:
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
    # Before sizes are compared: that an array is of another skeleton is the better message for a wrong size.
    _refuse_other_bodies(arrays, targets, dict(zip(positions, tensors, strict=False)), leaves, str(path))
    if is_text:  # a table, whose rows have lost the axes of a sample
        arrays = {name: _rows_as(array, leaves[targets[name]], str(path)) for name, array in arrays.items()}
    named = dict(zip(positions, open_axes, strict=False))
    count = _batches(arrays, targets, leaves, str(path), named)

    def call(batch: int) -> Call:
        """One call: as many rows of every array as the example has."""
        filled = list(leaves)
        for name, position in targets.items():
            part = arrays[name][part_of(batch, arrays[name].ndim, leaves[position])]
            filled[position] = as_tensor(part, leaves[position].dtype, name, str(path))
        return pytree.tree_unflatten(filled, structure)

    call(0)  # raises now if something does not fit; all others are cut when they are asked for
    filled = map(positions.index, targets.values())
    remarks = [
        remark_on_kind(name, arrays[name].dtype, leaves[position].dtype, path.name)
        for name, position in targets.items()
    ]
    numbers = range(count if most is None else min(count, most))
    return CallsOfArrays(call, numbers, set(filled), tuple(filter(None, remarks)))


def part_of(batch: int, ndim: int, like: torch.Tensor) -> int | slice:
    """The part of an array that one call reads: a batch, or where the array has one axis more a single sample."""
    if ndim > like.ndim:
        return batch
    return slice(batch * len(like), (batch + 1) * len(like))


def _tensor_positions(leaves: Sequence[Any]) -> list[int]:
    """Where tensors stand among flattened arguments."""
    return [position for position, leaf in enumerate(leaves) if _is_tensor(leaf)]


def _is_tensor(leaf: Any) -> bool:
    """Whether a leaf of the arguments is a tensor."""
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
    # By name only if every array has the name of an input: one strange name, and the order in the file counts for all.
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
    start = 0  # where the leaves of the next argument begin
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
    # A row is a sample; where an example of several samples has as many numbers as a row, a row is a whole call.
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
        has_samples = array.ndim > 0 and array.shape[1:] == wanted  # one axis more: each item is a whole call
        if not has_samples and (not wanted or array.ndim != len(wanted) or array.shape[1:] != wanted[1:]):
            raise misfit(array_name(name), array.shape, wanted, open_axes.get(position, {}), where)
        refuse_numbers_in_a_row(array.shape, list(filter(_is_tensor, leaves)), array_name(name), where)
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


def refuse_numbers_in_a_row(given: Sequence[int], inputs: Sequence[torch.Tensor], array: str, where: str) -> None:
    """Raises DataFileError for an array of one axis, other than a sample, where no input has a batch to cut it into."""
    if len(given) != 1 or any(tensor.ndim > 1 for tensor in inputs) or given[0] in map(torch.Tensor.numel, inputs):
        return
    wanted = tuple(inputs[0].shape)
    raise DataFileError(where, f"{array} has shape {tuple(given)}, the model's input has {wanted}", a_row(wanted))


def stacked(calls: Sequence[Call], common: Container[int] = ()) -> Call:
    """Several calls as one, their tensors joined along axis 0. common: positions of those that all of them share."""
    arguments = [Arguments.of(*call) for call in calls]
    joined = list[torch.Tensor]()
    for position, column in enumerate(zip(*(call.tensors for call in arguments), strict=True)):
        joined.append(column[0] if position in common else torch.cat(column))
    return arguments[0].filled(joined)
