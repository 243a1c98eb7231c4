"""Files of numpy, .npy and .npz, read without running code.

A `.npy` is a header (shape, type) and numbers behind it, or, for arrays of Python objects, a pickle. numpy would run
that pickle (allow_pickle=True); here the restricted unpickler reads it. Sizes are compared with the bytes that are
there before numpy sees the file: a header of 100 bytes can ask for any memory.
"""

from __future__ import annotations

import io
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np

from chiralize.errors import DataFileError, ModelFileError
from chiralize.storage.archive import Members, open_archive
from chiralize.storage.unpickle import restricted_load

DAMAGE = (ValueError, EOFError, OSError, SyntaxError, TypeError, OverflowError, MemoryError, TokenError)
REMEDY = "give a .npy, .npz, .csv, .pt or .safetensors file of numbers."


def read_plain(data: bytes, where: str) -> dict[str, np.ndarray]:
    """The arrays of a .npy (named "") or .npz file, text too, no objects.  Raises DataFileError, UnsafeFileError."""
    try:
        if not data.startswith(b"PK"):
            return {"": read_npy(data, "the array", where, plain=True)}
        return read_npz(data, where, plain=True)
    except RecursionError as error:
        raise DataFileError(where, "is nested too deeply", REMEDY) from error
    except ModelFileError as error:
        raise DataFileError(error.where, error.facts, error.remedy) from error


def npy_header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape and type of the array that follows in the file, and how many bytes its numbers take."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        read = np.lib.format.read_array_header_1_0
    else:
        read = np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    # With dtype object the product is Python's, which cannot overflow.
    return shape, dtype, int(np.prod(shape, dtype=object)) * dtype.itemsize


def read_npz(data: bytes, where: str, *, plain: bool = False) -> dict[str, Any]:
    """The arrays of a zip archive of .npy files, by name; `plain` as for `read_npy`."""
    members = Members(open_archive(data, where), where)
    return {name.removesuffix(".npy"): read_npy(array, name, where, plain=plain) for name, array in members.items()}


def read_npy(data: bytes, member: str, where: str, *, plain: bool = False) -> Any:
    """One array; or, for an array of objects, what the restricted unpickler makes of it (plain: an error)."""
    stream = io.BytesIO(data)
    try:
        shape, dtype, needed = npy_header(stream)
    except DAMAGE as error:
        raise DataFileError(where, f"{member}: the array header is damaged ({error})", REMEDY) from error
    if dtype.hasobject:
        if plain:
            facts = f"{member}: holds Python objects, which are not unpickled (allow_pickle=False)"
            raise DataFileError(where, facts, REMEDY)
        # An array of objects without axes is how np.save stores a dict.
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
    except DAMAGE as error:
        raise DataFileError(where, f"{member}: {shape} of {dtype} cannot be read ({error})", REMEDY) from error
