"""`.npz`: several arrays of numpy in a zip archive."""

from __future__ import annotations

from typing import Any

from chiralize.storage.content import Content
from chiralize.storage.format import Format


def _recognises(content: Content) -> bool:
    return content.is_zip and bool(content.names) and all(name.endswith(".npy") for name in content.names)


def _arrays(content: Content) -> Any:
    from chiralize.storage.numpy_files import read_npz

    return read_npz(content.data, content.where)


FORMAT = Format("npz", "an array file (.npz)", _recognises, arrays=_arrays)
