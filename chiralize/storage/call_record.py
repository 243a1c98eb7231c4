"""One call of a network as text, so that a file says by itself how it is called: sizes and kinds, not the numbers.

{"args": [{"tensor": [1, 47], "dtype": "float32"}], "kwargs": {}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch

from chiralize.errors import ModelFileError

CALL = "chirality.call.json"
_MOST_VALUES = 100_000
_MOST_ENTRIES = 2**28
_PLAIN = (bool, int, float, str)
_Call = tuple[tuple[Any, ...], dict[str, Any]]


def call_text(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """A call as text; None where an argument is of a kind that JSON has no form for."""
    try:
        return json.dumps({"args": [_described(arg) for arg in args], "kwargs": _table(kwargs)})
    except TypeError:
        return None


def _table(values: Mapping[Any, Any]) -> dict[str, Any]:
    if not all(isinstance(key, str) for key in values):
        raise TypeError("keys that are no texts")
    return {key: _described(value) for key, value in values.items()}


def _described(value: Any) -> Any:
    """A value as a table that says its kind. Raises TypeError where there is none for it."""
    if isinstance(value, torch.Tensor):
        described: dict[str, Any] = {"tensor": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
        if not value.is_floating_point() and value.numel() <= _MOST_VALUES:
            described["values"] = value.reshape(-1).tolist()
        return described
    if value is None or isinstance(value, _PLAIN):
        return {"plain": value}
    for kind, name in ((tuple, "tuple"), (list, "list")):
        if type(value) is kind:
            return {name: [_described(entry) for entry in value]}
    if type(value) is dict:
        return {"dict": _table(value)}
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def recorded(text: str, where: str) -> _Call:
    """The inverse of `call_text`, with random numbers in tensors. Raises ModelFileError for text that is no record."""
    try:
        record = json.loads(text)
        generator = torch.Generator().manual_seed(0)
        if _entries([record["args"], record["kwargs"]]) > _MOST_ENTRIES:
            raise ValueError(f"its tensors have more than {_MOST_ENTRIES:,} entries")
        args = tuple(_built(entry, generator) for entry in record["args"])
        return args, {str(key): _built(entry, generator) for key, entry in record["kwargs"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, RecursionError) as error:
        facts = f"{CALL} cannot be read ({str(error)[:200]})"
        raise ModelFileError(where, facts, "convert the network again, or give --input-shape.") from error


def _entries(entry: Any) -> int:
    """Entries of all tensors in a part of a record, before any of them is made."""
    if isinstance(entry, list):
        return sum(map(_entries, entry))
    if not isinstance(entry, dict):
        return 0
    shape = entry.get("tensor")
    if isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape):
        return prod(shape)
    return sum(map(_entries, entry.values()))


def _built(entry: Any, generator: torch.Generator) -> Any:
    if "plain" in entry:
        value = entry["plain"]
        if value is not None and not isinstance(value, _PLAIN):
            raise ValueError(f"{value!r} is no plain value")
        return value
    for kind, name in ((tuple, "tuple"), (list, "list")):
        if name in entry:
            return kind([_built(part, generator) for part in entry[name]])
    if "dict" in entry:
        return {str(key): _built(part, generator) for key, part in entry["dict"].items()}
    return _tensor(entry, generator)


def _tensor(entry: Any, generator: torch.Generator) -> torch.Tensor:
    """Random numbers, or those that the record holds. Raises ValueError for absurd sizes."""
    shape, dtype = entry["tensor"], getattr(torch, str(entry["dtype"]), None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"{entry['dtype']!r} is no kind of numbers")
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"{shape!r} are no sizes")
    if "values" in entry:
        return torch.tensor(entry["values"], dtype=dtype).reshape(shape)
    return torch.randn(shape, generator=generator).to(dtype)
