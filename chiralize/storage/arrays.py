"""Arrays of calibration, example and audit data: .npy, .npz, .csv, .pt and .safetensors, without running code.

`problem/data` asks for the user's inputs.  The kind of file is found by its content; what the formats' `arrays` give,
however nested, becomes one table of arrays: {"S1": {"Walking": [a, b]}} has the names S1/Walking/0 and S1/Walking/1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chiralize.errors import DataFileError, ModelFileError, NonFiniteError
from chiralize.errors.words import when
from chiralize.storage.content import content_of_bytes
from chiralize.storage.files import read_file
from chiralize.storage.numpy_files import DAMAGE, REMEDY, npy_header
from chiralize.storage.registry import format_of
from chiralize.storage.sniff import describe

_PART = 2**22
"""Entries that are looked at in one go."""


def load_arrays(path: Path | str, *, skip_text: bool = False) -> dict[str, np.ndarray]:
    """Arrays by name, in file order; that of a .npy file stays on the disk until it is looked at.

    The array of a .npy file and a lone tensor of a .pt file have the name "".  A list is named "0", "1", ...; nested
    tables are joined by "/" ("S1/Walking/0").  skip_text: leave out arrays of text (labels) instead of refusing the
    file.  Raises DataFileError, NonFiniteError, UnsafeFileError.
    """
    where = str(path)
    try:
        on_disk = _on_disk(Path(path))  # a data set may be larger than the memory
        arrays = _by_kind(read_file(path), where) if on_disk is None else {"": on_disk}
    except RecursionError as error:
        raise DataFileError(where, "is nested too deeply, or contains itself", REMEDY) from error
    except ModelFileError as error:
        raise DataFileError(error.where, error.facts, error.remedy.replace("model file", "array file")) from error
    if skip_text:
        arrays = {name: array for name, array in arrays.items() if array.dtype.kind not in "US"}
    if not arrays:
        raise DataFileError(where, "holds no arrays", REMEDY)
    for name, array in arrays.items():
        _require_numbers(name, array, where)
    return arrays


def _on_disk(path: Path) -> np.ndarray | None:
    """The numbers of a whole .npy file, mapped; None for anything else, which is read with its own messages."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            _, dtype, needed = npy_header(file)
            available = path.stat().st_size - file.tell()
        # Objects would be unpickled, and a file that is too short has no such memory: both get their message elsewhere.
        if dtype.hasobject or not 0 < needed <= available:
            return None
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (*DAMAGE, RecursionError):
        return None


def _by_kind(data: bytes, where: str) -> dict[str, np.ndarray]:
    """The arrays in a file, by the format that recognises it.  Raises DataFileError where none holds arrays."""
    content = content_of_bytes(data, where)
    record = format_of(content)
    if record is not None and record.arrays is not None:
        return _flatten("", record.arrays(content), where)
    raise DataFileError(where, f"is {record.title if record else describe(data)}, not an array file", REMEDY)


def _flatten(name: str, value: Any, where: str) -> dict[str, np.ndarray]:
    """Nested tables and lists as one table: {"S1": {"Walking": [a, b]}} has the keys S1/Walking/0 and S1/Walking/1."""
    # An array of objects is a list of whatever is in it.
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        value = list(value.ravel())
    if isinstance(value, Mapping):
        entries = value.items()
    elif isinstance(value, (list, tuple)) and not _is_numbers(value):
        entries = enumerate(value)
    else:
        return {name: _as_array(name, value, where)}
    prefix = when(name, f"{name}/")
    arrays: dict[str, np.ndarray] = {}
    for key, entry in entries:
        arrays.update(_flatten(prefix + str(key), entry, where))
    return arrays


def _is_numbers(value: list | tuple) -> bool:
    """Whether a list is one of numbers, and so an array itself."""
    return bool(value) and all(isinstance(entry, (int, float, complex, np.number)) for entry in value)


def _as_array(name: str, value: Any, where: str) -> np.ndarray:
    """One entry as an array, text as an array of text.  Raises DataFileError for objects."""
    # By its module, since torch is imported only where a file has made a tensor.
    if type(value).__module__.split(".")[0] == "torch" and hasattr(value, "detach"):
        return _from_tensor(name, value, where)
    if isinstance(value, (np.ndarray, np.generic, list, tuple, int, float)):
        return np.asarray(value)
    if isinstance(value, (str, bytes)) or value is None:
        return np.asarray(str(value))
    raise DataFileError(where, f"{name!r} is a {type(value).__name__}, not an array", REMEDY)


def _from_tensor(name: str, tensor: Any, where: str) -> np.ndarray:
    """A tensor as an array.  Raises DataFileError for one that numpy cannot hold."""
    try:
        dense = tensor.detach().cpu().to_dense().resolve_conj().resolve_neg()
        if str(dense.dtype).startswith(("torch.bfloat16", "torch.float8")):  # kinds that numpy lacks
            dense = dense.float()
        return dense.numpy()
    except (TypeError, RuntimeError, NotImplementedError) as error:
        shown = f"{name!r} is a {tensor.layout} tensor of {tensor.dtype} on {tensor.device}"
        raise DataFileError(where, f"{shown}, which is no plain array", REMEDY) from error


def _require_numbers(name: str, array: np.ndarray, where: str) -> None:
    """Refuse text, no entries, and NaN or infinity.  Raises DataFileError, NonFiniteError."""
    shown = repr(name) if name else "the array"
    if array.dtype.kind not in "biufc":
        remedy = "keep text and records out of the file, or save the arrays alone with np.savez."
        raise DataFileError(where, f"{shown} holds {array.dtype}, not numbers", remedy)
    if array.size == 0:
        raise DataFileError(where, f"{shown} is empty, shape {array.shape}", "give at least one sample.")
    if array.dtype.kind in "fc":
        count = sum(int(part.size - np.isfinite(part).sum()) for part in _parts(array))
        if count:
            facts = f"{shown} holds NaN or infinity in {count} of {array.size} places, shape {array.shape}"
            raise NonFiniteError(where, facts, _how_to_fill(array))


def _how_to_fill(array: np.ndarray) -> str:
    """How to be rid of NaN for joints that a detector missed: where every sample has some, nothing can be left out."""
    fill = "fill missing joints with what the network was trained on, such as 0: numpy.nan_to_num(x)"
    if array.ndim < 2:
        return fill
    whole = sum(int(np.isfinite(part).reshape(len(part), -1).all(1).sum()) for part in _parts(array))
    if not whole:
        return f"{fill}; every sample has some."
    return (
        f"{fill}; or keep the {whole} of {len(array)} samples without: x[numpy.isfinite(x).reshape(len(x), -1).all(1)]"
    )


def _parts(array: np.ndarray) -> Iterator[np.ndarray]:
    """Some millions of entries at a time, so that looking at a mapped file takes little memory."""
    if array.ndim == 0:
        yield array
        return
    rows = max(1, _PART * max(len(array), 1) // max(array.size, 1))
    for start in range(0, len(array), rows):
        yield array[start : start + rows]
