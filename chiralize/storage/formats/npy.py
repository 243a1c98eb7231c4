"""`.npy`: one array of numpy."""

from __future__ import annotations

from typing import Any

from chiralize.storage.content import Content
from chiralize.storage.format import Format


def _recognises(content: Content) -> bool:
    return content.file is not None and not content.is_zip and content.data[:6] == b"\x93NUMPY"


def _arrays(content: Content) -> Any:
    from chiralize.storage.numpy_files import read_npy

    return read_npy(content.data, "the array", content.where)


FORMAT = Format("npy", "an array file (.npy)", _recognises, arrays=_arrays, rank=40)
