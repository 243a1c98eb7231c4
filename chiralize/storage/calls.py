"""The inputs of a call as JSON values: sizes and kinds, and the values of what is not random; and back.

So that a file of ours knows what it was verified on (`Passport.inputs`).  Numbers that are random anyway are not
written.  Of a call net(poses, frames=[3, 5], mask=None) with poses (2, 17, 2) the record is

    [{"tuple": [{"sizes": [2, 17, 2], "kind": "float32"}]},
     {"dict": {"frames": {"list": [{"value": 3}, {"value": 5}]}, "mask": {"value": null}}}]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite, prod
from typing import Any

import torch

_MOST_VALUES = 4096
"""Whole numbers of one tensor that are written."""
_MOST_ENTRIES = 2**28
"""Entries of all tensors of a call that is read: a record of a few bytes could ask for any number."""
_DEEPEST = 16
_MOST_AXES = 64
_PLAIN = (bool, int, str, type(None))
_KINDS = {
    str(kind).removeprefix("torch."): kind
    for kind in (
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
        *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool),
    )
}


def call_record(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any] | None:
    """Arguments as JSON values; None for those that hold what JSON does not (objects, large tables of numbers)."""
    try:
        return [_record(tuple(args)), _record(dict(kwargs))]
    except TypeError:
        return None


def recorded_call(record: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The inverse of `call_record`, random numbers in place of floating ones. Raises ValueError for what is none."""
    # First how much memory it asks for, then the values: the text may be anybody's.
    if not isinstance(record, list) or len(record) != 2:
        raise ValueError("inputs: it is no pair")
    entries = sum(_entries(part, 0) for part in record)
    if entries > _MOST_ENTRIES:
        raise ValueError(f"inputs: tensors of {entries:,} entries together")
    generator = torch.Generator().manual_seed(0)
    args, kwargs = (_value(part, generator, 0) for part in record)
    if not isinstance(args, tuple) or not isinstance(kwargs, dict):
        raise ValueError("inputs: it is no call")
    return args, kwargs


def _record(value: Any) -> Any:
    """One value. Raises TypeError for what cannot be written."""
    # Exact types: a named tuple would come back as a plain one, which some networks refuse.
    if type(value) in (torch.Tensor, torch.nn.Parameter):
        return _tensor_record(value)
    if type(value) in (tuple, list):
        return {type(value).__name__: [_record(part) for part in value]}
    # In a table of its own, so that an argument called "sizes" or "value" is not taken for another kind of record.
    if type(value) is dict and all(type(key) is str for key in value):
        return {"dict": {key: _record(part) for key, part in value.items()}}
    if type(value) in _PLAIN or (type(value) is float and isfinite(value)):
        return {"value": value}
    raise TypeError(type(value).__name__)


def _tensor_record(tensor: torch.Tensor) -> dict[str, Any]:
    """A tensor's sizes and kind, and its values where they are no random floats. Raises TypeError."""
    kind = str(tensor.dtype).removeprefix("torch.")
    record: dict[str, Any] = {"sizes": list(tensor.shape), "kind": kind}
    if kind not in _KINDS:
        raise TypeError(kind)
    if tensor.is_floating_point() or tensor.is_complex():
        if tensor.numel() and not bool(tensor.any()):
            record["values"] = 0  # a state at rest
        return record
    if tensor.numel() > _MOST_VALUES:
        raise TypeError("a large table of whole numbers")
    record["values"] = tensor.reshape(-1).tolist()
    return record


def _entries(record: Any, depth: int) -> int:
    """Entries of all tensors in a record, before any of them is made. Raises ValueError for sizes that are none.

    An axis without entries counts as one: its strides, too, have to be numbers that torch can hold.
    """
    if not isinstance(record, dict) or depth > _DEEPEST:
        return 0  # `_value` refuses it
    if "sizes" in record:
        return prod(max(size, 1) for size in _sizes(record))
    return sum(_entries(part, depth + 1) for part in _parts(record))


def _parts(record: Mapping[str, Any]) -> Iterable[Any]:
    """The records within that of a tuple, a list or a table."""
    for kind in ("tuple", "list"):
        if isinstance(record.get(kind), list):
            return record[kind]
    table = record.get("dict")
    if isinstance(table, dict):
        return table.values()
    return ()


def _sizes(record: Mapping[str, Any]) -> list[int]:
    """The sizes of a tensor. Raises ValueError for what is none."""
    sizes = record["sizes"]
    if not isinstance(sizes, list) or len(sizes) > _MOST_AXES or not all(map(_is_size, sizes)):
        raise ValueError("inputs: the sizes of a tensor are none")
    return sizes


def _is_size(size: Any) -> bool:
    """Whether a value is a size of an axis; True is none."""
    return type(size) is int and size >= 0


def _value(record: Any, generator: torch.Generator, depth: int) -> Any:
    """The inverse of `_record`. Raises ValueError."""
    if not isinstance(record, dict) or depth > _DEEPEST:
        raise ValueError("inputs: an entry is no table, or lies too deep")
    # The kind of a record is the key that it has, see the example at the top of this file.
    if "sizes" in record:
        return _tensor(record, generator)
    if isinstance(record.get("tuple"), list):
        return tuple(_value(part, generator, depth + 1) for part in record["tuple"])
    if isinstance(record.get("list"), list):
        return [_value(part, generator, depth + 1) for part in record["list"]]
    if isinstance(record.get("dict"), dict):
        return {str(key): _value(part, generator, depth + 1) for key, part in record["dict"].items()}
    if isinstance(record.get("value", ()), (*_PLAIN, float)):
        return record["value"]
    raise ValueError("inputs: an entry is nothing that a call can hold")


def _tensor(record: Mapping[str, Any], generator: torch.Generator) -> torch.Tensor:
    """A tensor: of the values that are written, of zeros, or N(0, 1). Raises ValueError for what is none."""
    sizes, kind = _sizes(record), _KINDS.get(str(record.get("kind")))
    if kind is None:
        raise ValueError("inputs: the kind of a tensor is none")
    # values: all of them in one row, 0 for zeros; nothing for random numbers.
    values = record.get("values")
    if isinstance(values, list):
        try:
            return torch.tensor(values, dtype=kind).reshape(sizes)
        except (RuntimeError, TypeError, ValueError, OverflowError) as error:
            raise ValueError("inputs: the values of a tensor do not fit it") from error
    if values == 0 or not (kind.is_floating_point or kind.is_complex):
        return torch.zeros(sizes, dtype=kind)
    return torch.randn(sizes, generator=generator, dtype=torch.float64).to(kind)
