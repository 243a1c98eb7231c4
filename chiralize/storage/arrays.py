"""Arrays of calibration, example and audit data: .npy, .npz, .pt and .safetensors, without running code."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chiralize.errors import DataFileError, ModelFileError, NonFiniteError
from chiralize.storage.archive import Members, open_archive
from chiralize.storage.files import read_file
from chiralize.storage.sniff import describe, sniff_bytes
from chiralize.storage.unpickle import restricted_load

_PART = 2**22
_DAMAGE = (
    ValueError, EOFError, OSError, SyntaxError, TypeError, OverflowError, MemoryError, tokenize.TokenError,
)  # fmt: skip
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
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
            room = path.stat().st_size - file.tell()
        wanted = int(np.prod(shape, dtype=object)) * dtype.itemsize
        return None if dtype.hasobject or not 0 < wanted <= room else np.load(path, mmap_mode="r", allow_pickle=False)
    except (*_DAMAGE, RecursionError):
        return None


def _by_kind(data: bytes, where: str) -> dict[str, np.ndarray]:
    kind = sniff_bytes(data, where)
    if kind == "npy":
        return _flatten("", _read_npy(data, "the array", where), where)
    if kind == "npz":
        members = Members(open_archive(data, where), where)
        named = {name.removesuffix(".npy"): _read_npy(content, name, where) for name, content in members.items()}
        return _flatten("", named, where)
    if kind in ("state_dict", "pickled_module"):
        from chiralize.storage.checkpoint import read_safely

        return _flatten("", read_safely(data, where), where)
    if kind == "safetensors":
        from chiralize.storage.load import read_safetensors

        return _flatten("", read_safetensors(data, where)[0], where)
    found = f"a {kind} model" if kind in ("pt2", "torchscript", "onnx") else describe(data)
    raise DataFileError(where, f"is {found}, not an array file", _REMEDY)


def read_plain(data: bytes, where: str) -> dict[str, np.ndarray]:
    """The arrays of a .npy (named "") or .npz file, text too, no objects.  Raises DataFileError, UnsafeFileError."""
    try:
        if not data.startswith(b"PK"):
            return {"": _read_npy(data, "the array", where, plain=True)}
        members = Members(open_archive(data, where), where)
        return {name.removesuffix(".npy"): _read_npy(own, name, where, plain=True) for name, own in members.items()}
    except RecursionError as error:
        raise DataFileError(where, "is nested too deeply", _REMEDY) from error
    except ModelFileError as error:
        raise DataFileError(error.where, error.facts, error.remedy) from error


def _read_npy(data: bytes, member: str, where: str, *, plain: bool = False) -> Any:
    """One array; or, for an array of objects, what the restricted unpickler makes of it (plain: an error)."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
    except _DAMAGE as error:
        raise DataFileError(where, f"{member}: the array header is damaged ({error})", _REMEDY) from error
    if dtype.hasobject:
        if plain:
            facts = f"{member}: holds Python objects, which are not unpickled (allow_pickle=False)"
            raise DataFileError(where, facts, _REMEDY)
        loaded = restricted_load(data[stream.tell() :], where)
        lone = isinstance(loaded, np.ndarray) and loaded.shape == ()
        return loaded.item() if lone else loaded
    wanted = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if wanted > len(data) - stream.tell():
        facts = f"{member}: {shape} of {dtype} needs {wanted:,} bytes, {len(data) - stream.tell():,} are there"
        raise DataFileError(where, f"{facts}; the file is truncated", "copy or download the file again.")
    try:
        return np.load(io.BytesIO(data), allow_pickle=False)
    except _DAMAGE as error:
        raise DataFileError(where, f"{member}: {shape} of {dtype} cannot be read ({error})", _REMEDY) from error


def _flatten(name: str, value: Any, where: str) -> dict[str, np.ndarray]:
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        value = list(value.ravel())
    if isinstance(value, Mapping):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, (list, tuple)) and not _is_numbers(value):
        items = [(str(index), item) for index, item in enumerate(value)]
    else:
        return {name: _as_array(name, value, where)}
    result: dict[str, np.ndarray] = {}
    for key, item in items:
        result.update(_flatten(f"{name}/{key}" if name else key, item, where))
    return result


def _is_numbers(value: list | tuple) -> bool:
    return bool(value) and all(isinstance(item, (int, float, complex, np.number)) for item in value)


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
        narrow = str(dense.dtype).startswith(("torch.bfloat16", "torch.float8"))  # kinds that numpy lacks
        return (dense.float() if narrow else dense).numpy()
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
    rows = max(1, _PART * max(len(array), 1) // max(array.size, 1)) if array.ndim else 1
    return (array[start : start + rows] for start in range(0, len(array), rows)) if array.ndim else iter([array])
