"""Arrays of calibration, example and audit data: .npy, .npz, .pt and .safetensors, without running code."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np

from chiralize.errors import DataFileError, ModelFileError, NonFiniteError
from chiralize.storage.archive import Members, open_archive
from chiralize.storage.files import read_file
from chiralize.storage.sniff import describe, sniff_bytes
from chiralize.storage.unpickle import restricted_load

_PART = 2**22
_DAMAGE = (ValueError, EOFError, OSError, SyntaxError, TypeError, OverflowError, MemoryError, TokenError)
_REMEDY = "give a .npy, .npz, .pt or .safetensors file of numbers."


def load_arrays(path: Path | str, *, skip_text: bool = False) -> dict[str, np.ndarray]:
    """Arrays by name, in file order; that of a .npy file stays on the disk until it is looked at.

    The array of a .npy file and a lone tensor of a .pt file have the name "".  A list is named "0", "1", ...; nested
    tables are joined by "/" ("S1/Walking/0").  skip_text: leave out arrays of text (labels) instead of refusing the
    file.  Raises DataFileError, NonFiniteError, UnsafeFileError.
    """
    where = str(path)
    try:
        on_disk = _on_disk(Path(path))
        arrays = _by_kind(read_file(path), where) if on_disk is None else {"": on_disk}
    except RecursionError as error:
        raise DataFileError(where, "is nested too deeply, or contains itself", _REMEDY) from error
    except ModelFileError as error:
        raise DataFileError(error.where, error.facts, error.remedy.replace("model file", "array file")) from error
    if skip_text:
        arrays = {name: array for name, array in arrays.items() if array.dtype.kind not in "US"}
    if not arrays:
        raise DataFileError(where, "holds no arrays", _REMEDY)
    for name, array in arrays.items():
        _require_numbers(name, array, where)
    return arrays


def _on_disk(path: Path) -> np.ndarray | None:
    """The numbers of a whole .npy file, mapped; None for anything else, which is read with its own messages."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            _, dtype, needed = _npy_header(file)
            available = path.stat().st_size - file.tell()
        if dtype.hasobject or not 0 < needed <= available:
            return None
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (*_DAMAGE, RecursionError):
        return None


def _npy_header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape and type of the array that follows in the file, and how many bytes its numbers take."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype, int(np.prod(shape, dtype=object)) * dtype.itemsize


def _by_kind(data: bytes, where: str) -> dict[str, np.ndarray]:
    kind = sniff_bytes(data, where)
    if kind == "npy":
        return _flatten("", _read_npy(data, "the array", where), where)
    if kind == "npz":
        return _flatten("", _read_npz(data, where), where)
    if kind in ("state_dict", "pickled_module"):
        from chiralize.storage.checkpoint import read_safely

        return _flatten("", read_safely(data, where), where)
    if kind == "safetensors":
        from chiralize.storage.load import read_safetensors

        return _flatten("", read_safetensors(data, where)[0], where)
    content = f"a {kind} model" if kind in ("pt2", "torchscript", "onnx") else describe(data)
    raise DataFileError(where, f"is {content}, not an array file", _REMEDY)


def read_plain(data: bytes, where: str) -> dict[str, np.ndarray]:
    """The arrays of a .npy (named "") or .npz file, text too, no objects.  Raises DataFileError, UnsafeFileError."""
    try:
        if not data.startswith(b"PK"):
            return {"": _read_npy(data, "the array", where, plain=True)}
        return _read_npz(data, where, plain=True)
    except RecursionError as error:
        raise DataFileError(where, "is nested too deeply", _REMEDY) from error
    except ModelFileError as error:
        raise DataFileError(error.where, error.facts, error.remedy) from error


def _read_npz(data: bytes, where: str, *, plain: bool = False) -> dict[str, Any]:
    """The arrays of a zip archive of .npy files, by name; `plain` as for `_read_npy`."""
    members = Members(open_archive(data, where), where)
    return {name.removesuffix(".npy"): _read_npy(array, name, where, plain=plain) for name, array in members.items()}


def _read_npy(data: bytes, member: str, where: str, *, plain: bool = False) -> Any:
    """One array; or, for an array of objects, what the restricted unpickler makes of it (plain: an error)."""
    stream = io.BytesIO(data)
    try:
        shape, dtype, needed = _npy_header(stream)
    except _DAMAGE as error:
        raise DataFileError(where, f"{member}: the array header is damaged ({error})", _REMEDY) from error
    if dtype.hasobject:
        if plain:
            facts = f"{member}: holds Python objects, which are not unpickled (allow_pickle=False)"
            raise DataFileError(where, facts, _REMEDY)
        loaded = restricted_load(data[stream.tell() :], where)
        if isinstance(loaded, np.ndarray) and loaded.shape == ():
            return loaded.item()
        return loaded
    available = len(data) - stream.tell()
    if needed > available:
        facts = f"{member}: {shape} of {dtype} needs {needed:,} bytes, {available:,} are there"
        raise DataFileError(where, f"{facts}; the file is truncated", "copy or download the file again.")
    try:
        return np.load(io.BytesIO(data), allow_pickle=False)
    except _DAMAGE as error:
        raise DataFileError(where, f"{member}: {shape} of {dtype} cannot be read ({error})", _REMEDY) from error


def _flatten(name: str, value: Any, where: str) -> dict[str, np.ndarray]:
    """Nested tables and lists as one table: {"S1": {"Walking": [a, b]}} has the keys S1/Walking/0 and S1/Walking/1."""
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        value = list(value.ravel())
    if isinstance(value, Mapping):
        entries = value.items()
    elif isinstance(value, (list, tuple)) and not _is_numbers(value):
        entries = enumerate(value)
    else:
        return {name: _as_array(name, value, where)}
    prefix = f"{name}/" if name else ""
    arrays: dict[str, np.ndarray] = {}
    for key, entry in entries:
        arrays.update(_flatten(prefix + str(key), entry, where))
    return arrays


def _is_numbers(value: list | tuple) -> bool:
    return bool(value) and all(isinstance(entry, (int, float, complex, np.number)) for entry in value)


def _as_array(name: str, value: Any, where: str) -> np.ndarray:
    if type(value).__module__.split(".")[0] == "torch" and hasattr(value, "detach"):
        return _from_tensor(name, value, where)
    if isinstance(value, (np.ndarray, np.generic, list, tuple, int, float)):
        return np.asarray(value)
    if isinstance(value, (str, bytes)) or value is None:
        return np.asarray(str(value))
    raise DataFileError(where, f"{name!r} is a {type(value).__name__}, not an array", _REMEDY)


def _from_tensor(name: str, tensor: Any, where: str) -> np.ndarray:
    try:
        dense = tensor.detach().cpu().to_dense().resolve_conj().resolve_neg()
        if str(dense.dtype).startswith(("torch.bfloat16", "torch.float8")):  # kinds that numpy lacks
            dense = dense.float()
        return dense.numpy()
    except (TypeError, RuntimeError, NotImplementedError) as error:
        shown = f"{name!r} is a {tensor.layout} tensor of {tensor.dtype} on {tensor.device}"
        raise DataFileError(where, f"{shown}, which is no plain array", _REMEDY) from error


def _require_numbers(name: str, array: np.ndarray, where: str) -> None:
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
            raise NonFiniteError(where, facts, "drop or fill the frames with missing joints.")


def _parts(array: np.ndarray) -> Iterator[np.ndarray]:
    """Some millions of entries at a time, so that looking at a mapped file takes little memory."""
    if array.ndim == 0:
        yield array
        return
    rows = max(1, _PART * max(len(array), 1) // max(array.size, 1))
    for start in range(0, len(array), rows):
        yield array[start : start + rows]
