"""Lightning's `.ckpt`: `state_dict` and `hyper_parameters` of a LightningModule, with the state of its training."""

from __future__ import annotations

from dataclasses import replace

from chiralize.storage.content import Content
from chiralize.storage.format import Format, LoadedModel, Wanted
from chiralize.storage.named_class import named_in, plain_values
from chiralize.storage.torch_formats import arrays, write_back


def _recognises(content: Content) -> bool:
    return {"state_dict", "pytorch-lightning_version"} <= content.keys


def _load(content: Content, wanted: Wanted) -> LoadedModel:
    """The module that the factory builds, or a part of it.

    The factory gets what Lightning saved of its arguments, as `load_from_checkpoint` gives it to the class.
    """
    from chiralize.storage.factory import build_named
    from chiralize.storage.torch_weights import load_torch, read_stored

    saved = content.tree["hyper_parameters"] if "hyper_parameters" in content.keys else None
    stored = replace(read_stored(content, wanted), preferred=("state_dict",), arguments=plain_values(saved))
    name, arguments = named_in(saved)
    if name:
        stored = replace(stored, named=name, build=lambda: build_named(name, wanted.factory_args, arguments))
    return load_torch(content, wanted, "lightning", stored)


FORMAT = Format("lightning", "a Lightning checkpoint", _recognises, _load, arrays, write_back, rank=20)
