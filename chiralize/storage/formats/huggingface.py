"""A folder of Hugging Face: `config.json`, and weights in one file of safetensors or in several."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chiralize.errors import ModelFileError, UnsafeFileError
from chiralize.storage.content import Content
from chiralize.storage.files import read_file
from chiralize.storage.format import Format, LoadedModel, Origin, Wanted
from chiralize.storage.safetensors_file import is_safetensors, read_safetensors

if TYPE_CHECKING:
    import torch

_CONFIG, _WEIGHTS, _INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
_OLD = "pytorch_model.bin"
_REMEDY = "download the folder again, or save the model with save_pretrained."


def _recognises(content: Content) -> bool:
    names = set(content.names) if content.file is None else set()
    return _CONFIG in names and bool(names & {_WEIGHTS, _INDEX, _OLD})


def _load(content: Content, wanted: Wanted) -> LoadedModel:
    from chiralize.storage.transformers_model import model_builder
    from chiralize.storage.weights import Stored, load_weights

    tensors: dict[str, Any] = {}
    for name in _files(content.path):
        data = read_file(content.path / name)
        _check_safetensors(data, content.path / name)
        tensors |= read_safetensors(data, str(content.path / name))[0]
    name, build = model_builder(_json(content.path / _CONFIG), content.where)
    return load_weights(content, wanted, "huggingface", Stored(tensors, named=name, build=build))


def _files(folder: Path) -> list[str]:
    """Names of the files of weights.  Raises UnsafeFileError for one that is not in the folder, ModelFileError."""
    if (folder / _WEIGHTS).is_file():
        return [_WEIGHTS]
    if not (folder / _INDEX).is_file():
        facts = f"holds its weights as {_OLD}, a pickle"
        raise ModelFileError(str(folder), facts, f"name that file, with --model: {folder / _OLD}")
    table = _json(folder / _INDEX).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise ModelFileError(str(folder / _INDEX), "has no weight_map", _REMEDY)
    names = list(dict.fromkeys(table.values()))
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            facts = f"names a file of weights {name!r}, which is not one of the folder's"
            raise UnsafeFileError(str(folder / _INDEX), facts, "do not use this folder; download the model again.")
    return names


def _check_safetensors(data: bytes, path: Path) -> None:
    if not is_safetensors(data):
        raise ModelFileError(str(path), "is no safetensors file, whatever its name says", _REMEDY)


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
    from chiralize.storage.patching import safetensors_patched

    patched: dict[str, bytes] = {}
    for name in _files(origin.path):
        path = origin.path / name
        data = read_file(path)
        patched[name] = safetensors_patched(data, origin.names, state, str(path))
    return write_folder(origin, patched, target, sidecar)


FORMAT = Format("huggingface", "a folder of Hugging Face", _recognises, _load, None, _write_back, rank=100)
