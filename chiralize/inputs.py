"""Example and calibration inputs from shapes, array files and what a model file brings along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from chiralize.errors import DataFileError, UsageError
from chiralize.storage.arrays import load_arrays
from chiralize.storage.load import LoadedModel

Call = tuple[tuple[Any, ...], dict[str, Any]]


def examples_for(loaded: LoadedModel, shapes: Sequence[str], example: Path | None) -> Call:
    """One call of the model: from --input-shape, from --example, else the inputs that the file brings along.

    Raises UsageError where there are none, DataFileError where arrays do not fit.
    """
    if shapes and example is not None:
        raise UsageError("--example", "--input-shape is given as well", "give one of them")
    dtype = floating_dtype(loaded.module)
    if shapes:
        generator = torch.Generator().manual_seed(0)
        sizes = [_shape(text) for text in shapes]
        return tuple(torch.randn(size, generator=generator).to(dtype) for size in sizes), {}
    if example is not None:
        if loaded.example_args is not None:
            return calls_from(example, (loaded.example_args, dict(loaded.example_kwargs or {})))[0]
        arrays = load_arrays(example)
        return tuple(_tensor(array[:1], dtype) for array in arrays.values()), {}
    if loaded.example_args is not None:
        return loaded.example_args, dict(loaded.example_kwargs or {})
    raise UsageError(
        str(loaded.source), "the file brings no example inputs",
        "give the size of every input, for example --input-shape 1,243,17,2, or --example inputs.npz",
    )  # fmt: skip


def _shape(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise UsageError("--input-shape", f"{text!r} is no shape", "write sizes with commas, for example 1,243,17,2")
    return sizes


def floating_dtype(module: torch.nn.Module) -> torch.dtype:
    """The dtype of the first floating parameter or buffer (float32 if there is none)."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            return tensor.dtype
    return torch.float32


def _tensor(array: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def calls_from(path: Path, example: tuple[Sequence[Any], Mapping[str, Any]], states: Sequence[int] = ()) -> list[Call]:
    """Calls shaped like `example` from an array file; the leading axis of every array counts samples.

    Arrays go by the names of the model's keyword inputs, else in file order to the inputs that are no states; inputs
    without an array keep the example's value.  states: positions, among the tensor inputs, of states.
    Raises DataFileError.
    """
    arrays = load_arrays(path)
    leaves, structure = pytree.tree_flatten((tuple(example[0]), dict(example[1])))
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    targets = _targets(arrays, example, places, states, str(path))
    count = _batches(arrays, targets, leaves, str(path))
    calls: list[Call] = []
    for batch in range(count):
        filled = list(leaves)
        for name, place in targets.items():
            rows = leaves[place].shape[0]
            filled[place] = _tensor(arrays[name][batch * rows : (batch + 1) * rows], leaves[place].dtype)
        calls.append(pytree.tree_unflatten(filled, structure))
    return calls


def _targets(
    arrays: Mapping[str, np.ndarray],
    example: tuple[Sequence[Any], Mapping[str, Any]],
    places: Sequence[int],
    states: Sequence[int],
    where: str,
) -> dict[str, int]:
    """Which array goes to which leaf."""
    names = _leaf_names(example)
    if set(arrays) <= set(names):
        return {name: names[name] for name in arrays}
    free = [place for position, place in enumerate(places) if position not in set(states)]
    if len(arrays) > len(free):
        raise DataFileError(
            where, f"{len(arrays)} arrays ({', '.join(arrays)}), the model takes {len(free)} inputs",
            "keep one array per input",
        )  # fmt: skip
    return dict(zip(arrays, free, strict=False))


def _leaf_names(example: tuple[Sequence[Any], Mapping[str, Any]]) -> dict[str, int]:
    """Keyword inputs by name, as positions among the flattened leaves."""
    start = len(pytree.tree_leaves(tuple(example[0])))
    out: dict[str, int] = {}
    for name, value in example[1].items():
        if isinstance(value, torch.Tensor):
            out[name] = start
        start += len(pytree.tree_leaves(value))
    return out


def _batches(arrays: Mapping[str, np.ndarray], targets: Mapping[str, int], leaves: Sequence[Any], where: str) -> int:
    counts: set[int] = set()
    for name, place in targets.items():
        array, wanted = arrays[name], tuple(leaves[place].shape)
        if array.ndim != len(wanted) or array.shape[1:] != wanted[1:]:
            raise DataFileError(
                where, f"array {name!r} has shape {array.shape}, the model's input has {wanted}",
                f"store samples first, then {wanted[1:]}",
            )  # fmt: skip
        counts.add(len(array) // wanted[0])
    if len(counts) > 1 or counts == {0}:
        raise DataFileError(where, f"the arrays hold {sorted(counts)} batches", "give equally many samples, at least one batch")
    return counts.pop()
