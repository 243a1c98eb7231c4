"""`.npz`: several arrays of numpy in a zip archive, which may be weights by name."""

from __future__ import annotations

from typing import Any

from chiralize.storage.content import Content
from chiralize.storage.format import Format, LoadedModel, Wanted

_TITLE = "an array file (.npz)"


def _recognises(content: Content) -> bool:
    return content.is_zip and bool(content.names) and all(name.endswith(".npy") for name in content.names)


def _arrays(content: Content) -> Any:
    from chiralize.storage.numpy_files import read_npz

    return read_npz(content.data, content.where)


def _load(content: Content, wanted: Wanted) -> LoadedModel:
    """The network whose weights the arrays are; ModelFileError where they are data."""
    from chiralize.storage.numpy_weights import load_arrays

    return load_arrays(content, wanted, "npz", _TITLE, _arrays(content))


FORMAT = Format("npz", _TITLE, _recognises, _load, _arrays)
