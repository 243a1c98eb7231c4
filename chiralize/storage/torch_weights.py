"""Weights in files of `torch.save`: what all formats that trainers write with it have in common.

`torch_formats` hands on to here.  There are three readers of one file, tried from the strictest on:

    checkpoint.read_safely    the file names nothing but tensors and containers
    torch_file.TorchFile      it names other classes, and weights are found beside stand-ins for those
    --unsafe-pickle           neither finds weights, or the whole module is wanted: the file's code runs, by consent
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from chiralize.errors import ModelFileError
from chiralize.graph.copies import attribute_within
from chiralize.storage.checkpoint import read_safely, read_whole_pickle
from chiralize.storage.content import Content
from chiralize.storage.factory import working_folder_importable
from chiralize.storage.format import LoadedModel, Origin, Wanted
from chiralize.storage.missing import pickled_module
from chiralize.storage.numpy_weights import read_plain_pickle, with_tensors
from chiralize.storage.patching import torch_patched, unchanged_source
from chiralize.storage.save import save_beside
from chiralize.storage.sidecar import certificate_beside
from chiralize.storage.stored import Stored
from chiralize.storage.tables import tables_in
from chiralize.storage.torch_file import TorchFile
from chiralize.storage.weights import load_weights

_OPTIMIZERS = ("optimizer", "optim")
OF_OLD_WEIGHTS = "the state of its optimizer is kept as it was: it belongs to the weights before the conversion"


def read_stored(content: Content, wanted: Wanted | None = None) -> Stored:
    """What a torch file holds, read without running anything.  Raises UnsafeFileError, ModelFileError.

    A file of tensors and containers is read by torch's own safe reader; one that names other classes by ours, which
    puts stand-ins in their places.  wanted: by `unsafe_pickle`, where neither finds weights, the file's own code may
    run.
    """
    wanted = wanted or Wanted()
    if content.pickled is not None and not content.foreign:
        return Stored(read_safely(content.data, content.where))
    if content.tree is None or not tables_in(content.tree, content.where):
        if wanted.unsafe_pickle:
            restored = _unpickled(content)
            if isinstance(restored, torch.nn.Module):
                tree = restored.state_dict()
            else:
                tree = with_tensors(restored)
            return Stored(tree, restored=restored)
        if content.pickled is None and content.starts_like_pickle:
            return read_plain_pickle(content, wanted)
        return Stored(read_safely(content.data, content.where))  # says what it would import
    file = TorchFile(content.data, content.where)
    return Stored(file.tree, file.tensor, foreign=content.foreign)


def load_torch(content: Content, wanted: Wanted, format_name: str, stored: Stored | None = None) -> LoadedModel:
    """The network of a torch file: its weights in one that a factory builds, or, by consent, the module pickled in it.

    Raises UsageError, FactoryError, ModelFileError, UnsafeFileError.
    """
    stored = stored or read_stored(content, wanted)
    # With a class named by --model, or by the file, its weights are read without its code even under --unsafe-pickle.
    if wanted.unsafe_pickle and wanted.factory is None and stored.build is None:
        modules = _modules(content, stored)
        if modules:
            return _network(content, wanted, format_name, modules)
    tables = tables_in(stored.tree, content.where)
    # Every table is that of a pickled module: the user has to name its class, or to consent.
    if wanted.factory is None and tables and all(weights.owner for weights in tables):
        raise pickled_module(content, wanted, tables)
    return load_weights(content, wanted, format_name, stored)


def write_back_torch(origin: Origin, state: Mapping[str, torch.Tensor], target: Path, sidecar: str) -> tuple[str, ...]:
    """The torch file with the network's weights replaced, see `torch_patched`; notes on the rest of it."""
    data = unchanged_source(origin)
    save_beside(target, torch_patched(data, origin, state, str(origin.path)), sidecar)
    # Momenta and second moments were gathered for the old weights; nothing here can convert them.
    tree = TorchFile(data, str(origin.path)).tree
    entries = tree if isinstance(tree, dict) else {}
    trains = any(str(key).lower().startswith(_OPTIMIZERS) for key in entries)
    return (OF_OLD_WEIGHTS,) if trains else ()


def _modules(content: Content, stored: Stored) -> dict[str, torch.nn.Module]:
    """The networks that the file's own code restores, by entry; none where it has no code.  Raises ModelFileError."""
    # Reading may have run the code already; a file of tensors alone has none to run.
    restored = stored.restored
    if restored is None and (content.pickled is None or content.foreign):
        restored = _unpickled(content)
    if isinstance(restored, torch.nn.Module):
        return {"": restored}
    return _modules_in(restored)


def _unpickled(content: Content) -> Any:
    """The objects that the file's own code restores.  Raises ModelFileError."""
    with working_folder_importable():
        return read_whole_pickle(content.data, content.where, content.pickled is None and content.starts_like_pickle)


def _network(content: Content, wanted: Wanted, format_name: str, modules: Mapping[str, torch.nn.Module]) -> LoadedModel:
    """The one of the restored modules that the user means, out of its wrappers.  Raises ModelFileError."""
    if wanted.key is not None and wanted.key in modules:
        modules = {wanted.key: modules[wanted.key]}
    if len(modules) > 1:
        facts = f"holds {len(modules)} networks: {', '.join(map(repr, modules))}"
        raise ModelFileError(
            content.where, facts, f"name the entry of yours: `--key {shlex.quote(next(iter(modules)))}`."
        )
    key, module = next(iter(modules.items()))
    module, wrapper, prefix = _unwrapped(module)
    module.eval()
    notes = ([f"took the entry {key!r}, the network in the file"] if key else []) + wrapper
    # In the file the names are those of the wrapped module.
    names = {name: f"{prefix}{name}" for name in module.state_dict()}
    origin = Origin(content.path, content.digest, format_name, key, prefix, names)
    extra = certificate_beside(content.path, content.digest)
    return LoadedModel(
        module, format_name, content.path, content.digest, extra=extra, notes=tuple(notes), origin=origin
    )


def _modules_in(loaded: Any, key: str = "", depth: int = 4) -> dict[str, torch.nn.Module]:
    """Modules in dicts of dicts, by their keys."""
    modules: dict[str, torch.nn.Module] = {}
    for name, entry in loaded.items() if isinstance(loaded, Mapping) and depth else ():
        inner = f"{key}.{name}" if key else str(name)
        if isinstance(entry, torch.nn.Module):
            modules[inner] = entry
        else:
            modules |= _modules_in(entry, inner, depth - 1)
    return modules


def _unwrapped(module: torch.nn.Module) -> tuple[torch.nn.Module, list[str], str]:
    """The network in its wrappers (DataParallel, torch.compile), notes, and the prefix of the names in them."""
    notes: list[str] = []
    prefix = ""
    while attribute := attribute_within(module):
        notes.append(f"took the network out of its {type(module).__name__}")
        prefix += f"{attribute}."
        module = getattr(module, attribute)
    return module, notes, prefix
