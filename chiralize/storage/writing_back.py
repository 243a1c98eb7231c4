"""Results put back into files like those that the networks came from, for the trainer's own loader.

`cli/targets.py` asks whether a result goes back (`origin_for`): a network from `last.ckpt` does as `out.ckpt`, and is
written anew as `out.pt2`. The work is the format's own (`Format.write_back`, mostly through `patching`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from chiralize.errors.words import when
from chiralize.storage.format import LoadedModel, Origin
from chiralize.storage.registry import known_formats
from chiralize.storage.sidecar import with_source

if TYPE_CHECKING:
    import torch

OURS = (".pt2", ".onnx", ".safetensors")
"""Suffixes of files that are written in one way, whatever the network came from."""


def is_like(target: Path, source: Path) -> bool:
    """Whether a result of this name goes into a file like its source: it has the suffix, or the source is a folder."""
    if target.suffix in OURS:
        return False
    if source.is_dir():  # `out.pt` is a file of weights, any other name a folder
        return target.suffix != ".pt"
    return target.suffix == source.suffix


def origin_for(loaded: LoadedModel, target: Path) -> Origin | None:
    """The origin that a result goes back into a file like, None where the target has another suffix than it."""
    if loaded.origin is None or not is_like(target, loaded.source):
        return None
    if known_formats()[loaded.origin.format].write_back is None:
        return None
    return loaded.origin


def write_back(origin: Origin, state: Mapping[str, torch.Tensor], target: Path, passport: str) -> tuple[str, ...]:
    """Write a file or folder that is the origin's but for the network's weights, with its certificate; notes on it.

    Raises UsageError where the weights have no place there, ModelFileError where the origin was changed since,
    OutputFileError.
    """
    write = known_formats()[origin.format].write_back
    assert write is not None
    title = known_formats()[origin.format].title
    notes = write(origin, state, target, with_source(passport, origin))
    under = when(origin.prefix, f", under {origin.prefix!r}")
    return (f"written as {title}: what {origin.path.name} holds, with these weights in place of its own{under}", *notes)
