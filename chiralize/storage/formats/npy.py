"""`.npy`: one array of numpy, or a dict of arrays."""

from __future__ import annotations

from typing import Any

from chiralize.storage.content import Content
from chiralize.storage.format import Format, LoadedModel, Wanted

_TITLE = "an array file (.npy)"


def _recognises(content: Content) -> bool:
    return content.file is not None and not content.is_zip and content.data[:6] == b"\x93NUMPY"


def _arrays(content: Content) -> Any:
    from chiralize.storage.numpy_files import read_npy

    return read_npy(content.data, "the array", content.where)


def _load(content: Content, wanted: Wanted) -> LoadedModel:
    """The network whose weights the arrays are; ModelFileError where they are data."""
    from chiralize.storage.numpy_weights import load_arrays

    return load_arrays(content, wanted, "npy", _TITLE, _arrays(content))


FORMAT = Format("npy", _TITLE, _recognises, _load, _arrays, rank=40)
