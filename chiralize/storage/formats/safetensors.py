"""`.safetensors`: weights, with texts in the header."""

from __future__ import annotations

from typing import Any

from chiralize.storage.content import Content
from chiralize.storage.format import Format, LoadedModel, Wanted
from chiralize.storage.safetensors_file import is_safetensors, read_safetensors


def _recognises(content: Content) -> bool:
    return content.file is not None and not content.is_zip and is_safetensors(content.data)


def _load(content: Content, wanted: Wanted) -> LoadedModel:
    """The network of the weights.  Raises ModelFileError for one of several files, which holds only a part of them."""
    from chiralize.storage.other_folders import shard_given, shard_of
    from chiralize.storage.stored import Stored
    from chiralize.storage.weights import load_weights

    if wanted.key is None and wanted.prefix is None and (part := shard_of(content)):
        raise shard_given(content, wanted, part)

    tensors, extra = read_safetensors(content.data, content.where)
    return load_weights(content, wanted, "safetensors", Stored(tensors, extra=extra))


def _arrays(content: Content) -> Any:
    return read_safetensors(content.data, content.where)[0]


FORMAT = Format("safetensors", "a safetensors file", _recognises, _load, _arrays, rank=30)
