"""Weights stored as arrays of numpy: `.npz`, a dict in a `.npy`, a plain pickle of arrays.

Files of arrays are mostly data. A network's names have dots, `first.weight`; `poses` or `S1/Walking` have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from chiralize.errors import ModelFileError, UnsafeFileError
from chiralize.storage.content import Content
from chiralize.storage.format import LoadedModel, Wanted
from chiralize.storage.missing import KINDS, plain_pickle
from chiralize.storage.stored import Stored
from chiralize.storage.unpickle import imported_names, restricted_load
from chiralize.storage.weights import load_weights

_NUMBERS = "biufc"


def load_arrays(content: Content, wanted: Wanted, format_name: str, title: str, arrays: Any) -> LoadedModel:
    """The network whose weights these arrays are.  Raises as `load_weights`, and ModelFileError for other arrays.

    Names of weights have dots; arrays without any are taken for data.  title: of the file, for messages.
    """
    tree = with_tensors(arrays)
    if not isinstance(tree, Mapping) or not any("." in str(name) for name in _names(tree)):
        raise ModelFileError(content.where, f"is {title}, not a model", f"give {KINDS}.")
    return load_weights(content, wanted, format_name, Stored(tree))


def with_tensors(tree: Any) -> Any:
    """The same dicts, lists and tuples with tensors in place of arrays of numbers."""
    if isinstance(tree, np.ndarray) and tree.dtype.kind in _NUMBERS:
        # torch has no other order of bytes than the machine's.
        native = tree.astype(tree.dtype.newbyteorder("="), copy=True)
        return torch.from_numpy(native)
    if isinstance(tree, Mapping):
        return {name: with_tensors(entry) for name, entry in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [with_tensors(entry) for entry in tree]
    return tree


def _names(tree: Mapping[Any, Any], depth: int = 4) -> list[Any]:
    """All keys of nested tables, down to a depth."""
    names = list(tree)
    for entry in tree.values():
        if isinstance(entry, Mapping) and depth:
            names += _names(entry, depth - 1)
    return names


def read_plain_pickle(content: Content, wanted: Wanted) -> Stored:
    """The arrays in a pickle that torch did not write, read without what it names.

    Raises UnsafeFileError, with the command that lets its code run, where it names more than arrays.
    """
    try:
        names = sorted(set(imported_names(content.data)))
    except ValueError as error:
        remedy = "copy or download the file again."
        raise ModelFileError(content.where, f"is a damaged or truncated pickle ({error})", remedy) from error
    try:
        return Stored(with_tensors(restricted_load(content.data, content.where)))
    except UnsafeFileError as error:
        raise plain_pickle(content, wanted, names) from error
