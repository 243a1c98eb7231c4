"""A folder of Hugging Face: weights in one file or in several, of safetensors or of torch; mostly a `config.json`.

Of several files an index says which weight is in which: {"weight_map": {"encoder.weight": "model-00001-of-00002.bin"}}.
The class is named by the config, and built by consent (`transformers_model`).

    folder/config.json                         {"model_type": "vitpose", ...}: which class
    folder/model.safetensors.index.json        which file has which weight
    folder/model-00001-of-00002.safetensors    its weights; those of all files become one table

A result is written as a folder with the same files of weights, so that the same program can read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chiralize.errors import ModelFileError, UnsafeFileError
from chiralize.storage.content import Content
from chiralize.storage.files import read_file
from chiralize.storage.format import Format, LoadedModel, Origin, Wanted
from chiralize.storage.safetensors_file import is_safetensors, read_safetensors

if TYPE_CHECKING:
    import torch

_CONFIG = "config.json"
_SAFETENSORS, _TORCH = "model.safetensors", "pytorch_model.bin"
_WEIGHTS = (_SAFETENSORS, f"{_SAFETENSORS}.index.json", _TORCH, f"{_TORCH}.index.json")
"""Where weights may be, the first that is there counts, as it does for transformers."""
_REMEDY = "download the folder again, or save the model with save_pretrained."


def _recognises(content: Content) -> bool:
    """Whether this is a folder with weights under one of the names that transformers gives them."""
    return content.file is None and not set(content.names).isdisjoint(_WEIGHTS)


def _load(content: Content, wanted: Wanted) -> LoadedModel:
    """The network of the folder, its weights gathered from all files.  Raises as `load_weights`."""
    from chiralize.storage.stored import Stored
    from chiralize.storage.transformers_model import model_builder
    from chiralize.storage.weights import load_weights

    tensors: dict[str, Any] = {}
    for name in _files(content.path):
        tensors |= _tensors(content.path / name)
    # Without a config the class has to be named by the user.
    stored, config = Stored(tensors), content.path / _CONFIG
    if config.is_file():
        name, build = model_builder(_json(config), content.where)
        stored = replace(stored, named=name, build=build)
    return load_weights(content, wanted, "huggingface", stored)


def _files(folder: Path) -> list[str]:
    """Names of the files of weights, each once, in the order of the index.

    Raises UnsafeFileError for one that is not in the folder, ModelFileError for an index without its table.
    """
    first = next(name for name in _WEIGHTS if (folder / name).is_file())
    if not first.endswith(".index.json"):
        return [first]
    table = _json(folder / first).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise ModelFileError(str(folder / first), "has no weight_map", _REMEDY)
    # The suffix has to be that of the index: it decides below by which reader a file is read.
    suffix = Path(first.removesuffix(".index.json")).suffix
    names = list(dict.fromkeys(table.values()))
    for name in names:  # the index is text of anybody's: a name must not lead out of the folder
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(suffix):
            facts = f"names a file of weights {name!r}, which is not one of the folder's"
            raise UnsafeFileError(str(folder / first), facts, "do not use this folder; download the model again.")
    return names


def _tensors(path: Path) -> dict[str, Any]:
    """The weights in one file, read without running code.  Raises UnsafeFileError, ModelFileError."""
    data = read_file(path)
    if path.suffix == ".safetensors":
        if not is_safetensors(data):
            raise ModelFileError(str(path), "is no safetensors file, whatever its name says", _REMEDY)
        return read_safetensors(data, str(path))[0]
    from torch import Tensor

    # A file of torch in such a folder is a flat table of tensors, and nothing else.
    from chiralize.storage.checkpoint import read_safely

    table = read_safely(data, str(path))
    if not isinstance(table, Mapping) or not all(isinstance(entry, Tensor) for entry in table.values()):
        raise ModelFileError(str(path), "is no table of weights", _REMEDY)
    return dict(table)


def _json(path: Path) -> dict[str, Any]:
    """A table in a file.  Raises ModelFileError."""
    try:
        table = json.loads(read_file(path))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(str(path), f"is not valid JSON ({error})", _REMEDY) from error
    if not isinstance(table, dict):
        raise ModelFileError(str(path), "is no table", _REMEDY)
    return table


def _write_back(origin: Origin, state: Mapping[str, torch.Tensor], target: Path, sidecar: str) -> tuple[str, ...]:
    """A new folder with the same files, the weights in them replaced; the certificate is one more file in it."""
    from chiralize.storage.folders import write_folder

    # Each file gets the weights that it had, and no others, so that the old index stays right.
    files = {name: _patched(origin, state, origin.path / name) for name in _files(origin.path)}
    return write_folder(origin, files, target, sidecar)


def _patched(origin: Origin, state: Mapping[str, torch.Tensor], path: Path) -> bytes:
    """One file of weights with those that it has replaced.  Raises UsageError."""
    from chiralize.storage.patching import safetensors_patched, torch_patched

    data = read_file(path)
    if path.suffix == ".safetensors":
        return safetensors_patched(data, origin.names, state, str(path))
    return torch_patched(data, origin, state, str(path), partial=True)


FORMAT = Format("huggingface", "a folder of Hugging Face", _recognises, _load, None, _write_back, rank=100)
