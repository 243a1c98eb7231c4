"""Which arrays are in a data file? .npy, .npz, .csv, .pt and .safetensors, by their content, without running code.

What a file holds, however nested, becomes one table of arrays: {"S1": {"Walking": [a, b]}} has the names S1/Walking/0
and S1/Walking/1. A .npy file stays on the disk until it is looked at.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chiralize.errors import DataFileError, ModelFileError, NonFiniteError
from chiralize.storage.files import Content, read
from chiralize.storage.formats import read_npy, source_of
from chiralize.storage.pickles import Foreign

_PART = 2**22
"""Entries that are looked at in one go: 16 MB in float32."""
_REMEDY = "give a .npy, .npz, .csv, .pt or .safetensors file of numbers, samples first"
_LABELS = "give one label per sample: a .npy, or text with a line each"


def load_arrays(path: Path | str, *, skip_text: bool = False) -> dict[str, np.ndarray]:
    """Arrays by name, in file order.

    The array of a .npy file and a lone tensor of a .pt file have the name "". A list is named "0", "1", ...; nested
    tables are joined by "/". skip_text: leave out arrays of text (labels) instead of refusing the file.
    Raises DataFileError, NonFiniteError, UnsafeFileError.
    """
    path = Path(path)
    try:
        arrays = _mapped(path) or dict(_flat("", _tree(read(path)), str(path)))
    except ModelFileError as error:
        raise DataFileError(error.where, error.facts, _REMEDY) from error
    except RecursionError as error:
        raise DataFileError(str(path), "is nested too deeply, or contains itself", _REMEDY) from error
    if skip_text:
        arrays = {name: array for name, array in arrays.items() if array.dtype.kind not in "US"}
    if not arrays:
        raise DataFileError(str(path), "holds no arrays", _REMEDY)
    for name, array in arrays.items():
        _check(name, array, str(path))
    return arrays


def _mapped(path: Path) -> dict[str, np.ndarray]:
    """The numbers of a whole .npy file, on the disk: a data set may be larger than the memory. {} for other files."""
    try:
        with path.open("rb") as file:
            if file.read(6) == b"\x93NUMPY":
                return {"": np.load(path, mmap_mode="r", allow_pickle=False)}
    except (
        OSError,
        ValueError,
        SyntaxError,
        TypeError,
    ):  # objects, and damaged files: they get their message elsewhere
        pass
    return {}


def _tree(content: Content) -> Any:
    """What the file holds. Raises ModelFileError, UnsafeFileError, DataFileError."""
    is_npz = bool(content.members) and all(name.endswith(".npy") for name in content.members)
    if is_npz:
        members = {name.removesuffix(".npy"): content.member(name) for name in content.members}
        return {name: read_npy(data, content.where) for name, data in members.items()}
    if content.start.startswith(b"\x93NUMPY"):
        return read_npy(content.view, content.where)
    if all(byte >= 32 or byte in b"\t\r\n" for byte in content.start):
        return read_text(content)
    return source_of(content).tree


def read_text(content: Content) -> np.ndarray:
    """The rows "sample column" of a text: commas, semicolons, tabs or blanks between numbers, names in the first line.

    Raises DataFileError.
    """
    text = bytes(content.view).decode("utf-8-sig", "replace")
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataFileError(content.where, "is a text of blank lines", _REMEDY)
    separator = next((sign for sign in (",", ";", "\t") if sign in lines[-1]), None)
    header = 0 if len(lines) == 1 or _is_row(lines[0], separator) else 1
    try:
        return np.loadtxt(lines[header:], delimiter=separator, ndmin=2, comments=None)
    except ValueError as error:
        raise DataFileError(content.where, f"is no table of numbers ({error})", _REMEDY) from error


def _is_row(line: str, separator: str | None) -> bool:
    """Whether a line is numbers and nothing else."""
    try:
        np.loadtxt([line], delimiter=separator, comments=None)
    except ValueError:
        return False
    return True


def _flat(name: str, value: Any, where: str) -> Iterator[tuple[str, np.ndarray]]:
    """Nested tables and lists as one table. Raises DataFileError."""
    entries: list[tuple[Any, Any]] | None = None
    if isinstance(value, Mapping):
        entries = list(value.items())
    elif isinstance(value, (list, tuple)) and not _is_numbers(value):
        entries = list(enumerate(value))
    if entries is None:
        yield name, _array(name, value, where)
        return
    for key, entry in entries:
        yield from _flat(f"{name}/{key}" if name else str(key), entry, where)


def _is_numbers(value: Sequence[Any]) -> bool:
    """Whether a list is one of numbers, and so an array itself."""
    return bool(value) and all(isinstance(entry, (int, float, complex, np.number)) for entry in value)


def _array(name: str, value: Any, where: str) -> np.ndarray:
    """One entry as an array, text as an array of text. Raises DataFileError for anything else."""
    if isinstance(value, torch.Tensor) and value.layout is torch.strided:
        plain = value.detach()
        return (plain.float() if plain.dtype is torch.bfloat16 or plain.dtype.itemsize == 1 else plain).numpy()
    if isinstance(value, (np.ndarray, np.generic, list, tuple, int, float)):
        return np.asarray(value)
    if isinstance(value, (str, bytes)) or value is None:
        return np.asarray(str(value))
    kind = value.name if isinstance(value, Foreign) else type(value).__name__
    raise DataFileError(where, f"{name!r} is a {kind}, no plain array of numbers", _REMEDY)


def _check(name: str, array: np.ndarray, where: str) -> None:
    """Refuse text, no entries, and NaN or infinity. Raises DataFileError, NonFiniteError."""
    shown = repr(name) if name else "the array"
    if array.dtype.kind not in "biufc":
        raise DataFileError(where, f"{shown} holds {array.dtype}, not numbers", "save the arrays of numbers without it")
    if not array.size:
        raise DataFileError(where, f"{shown} is empty, shape {array.shape}", "give at least one sample")
    if array.dtype.kind in "fc":
        count = sum(int(part.size - np.isfinite(part).sum()) for part in _parts(array))
        if count:
            facts = f"{shown} holds NaN or infinity in {count} of {array.size} numbers, shape {array.shape}"
            raise NonFiniteError(
                where, facts, "fill in what the network was trained on, such as 0: numpy.nan_to_num(x)"
            )


def _parts(array: np.ndarray) -> Iterator[np.ndarray]:
    """Some millions of entries at a time, so that looking at a mapped file takes little memory."""
    if not array.ndim:
        yield array
        return
    rows = max(1, _PART * len(array) // array.size)
    for start in range(0, len(array), rows):
        yield array[start : start + rows]


# ---- labels --------------------------------------------------------------------------------------------------------
def load_labels(path: Path | str, samples: int) -> list[str]:
    """One label per sample, as texts: 2, 2.0 and "2" are one label. From a .npy file, or text with a line each.

    Of a table with commas the column called `label` counts. Raises DataFileError.
    """
    try:
        content = read(Path(path))
        is_numpy = content.start.startswith((b"\x93NUMPY", b"PK"))
        labels = _of_arrays(_tree(content)) if is_numpy else _of_lines(content, samples)
    except ModelFileError as error:
        raise DataFileError(error.where, error.facts, _LABELS) from error
    if len(labels) != samples:
        raise DataFileError(str(path), f"holds {len(labels)} labels for {samples} samples", _LABELS)
    return labels


def _of_arrays(tree: Any) -> list[str]:
    """The labels in what numpy wrote: the only array, or the one called `label` or `labels`."""
    if isinstance(tree, Mapping):
        values = list(tree.values())
        tree = values[0] if len(values) == 1 else next((tree[n] for n in ("label", "labels") if n in tree), [])
    entries = tree.tolist() if isinstance(tree, np.ndarray) else tree
    return [_label(entry) for entry in entries] if isinstance(entries, list) else []


def _of_lines(content: Content, samples: int) -> list[str]:
    """The labels of a text: a line each, after a header where there is one line more than samples."""
    text = bytes(content.view).decode("utf-8-sig", "replace")
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    column = rows[0].index("label") if rows and "label" in rows[0] else 0
    if len(rows) == samples + 1:
        rows = rows[1:]
    return [_label(row[column].strip()) if column < len(row) else "" for row in rows]


def _label(value: Any) -> str:
    """A label as text; whole numbers without a point."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return str(int(number)) if number.is_integer() else str(number)
