"""Files of safetensors: a JSON header, and numbers behind it.

    8 bytes         size of the header, little endian
    the header      {"first.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "__metadata__": {...}}
    the numbers     offsets are counted from the end of the header

Tensors are read by the package; the header is read here, for the texts in it (the certificate) and for `patching`.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

from chiralize.errors import ModelFileError
from chiralize.errors.words import first_line
from chiralize.storage.sidecar import certificate_of

if TYPE_CHECKING:
    import torch

KINDS = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}
"""What the header calls a kind of numbers, and what torch does."""
_REMEDY = "copy or download the file again."


def is_safetensors(data: bytes) -> bool:
    """Whether this is the start of a safetensors file: a size, at most the package's limit, and a JSON table."""
    if len(data) < 10 or data[8:9] != b"{":
        return False
    (size,) = struct.unpack("<Q", data[:8])
    return 2 <= size <= 100_000_000


def safetensors_header(data: bytes, where: str) -> dict:
    """The JSON header of a safetensors file.  Raises ModelFileError."""
    (size,) = struct.unpack("<Q", data[:8])
    if 8 + size > len(data):
        facts = f"safetensors header of {size:,} bytes in a file of {len(data):,}: the file is truncated"
        raise ModelFileError(where, facts, _REMEDY)
    try:
        header = json.loads(data[8 : 8 + size])
    except (ValueError, RecursionError) as error:
        raise ModelFileError(where, f"safetensors header is not valid JSON ({error})", _REMEDY) from error
    if not isinstance(header, dict):
        raise ModelFileError(where, "safetensors header is not a table", _REMEDY)
    return header


def read_safetensors(data: bytes, where: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and texts ("chirality.json") of a safetensors file, in file order.  Raises ModelFileError."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    header = safetensors_header(data, where)
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
        facts = f"safetensors file cannot be read ({first_line(error)}); it is truncated or damaged"
        raise ModelFileError(where, facts, _REMEDY) from error
    in_file_order = {name: tensors[name] for name in header if name in tensors}
    return in_file_order, certificate_of(header.get("__metadata__") or {})
