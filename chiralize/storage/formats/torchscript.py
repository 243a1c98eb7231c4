"""TorchScript: a scripted or traced module, as `torch.jit.save` writes it."""

from __future__ import annotations

from chiralize.storage.content import Content
from chiralize.storage.format import Format, LoadedModel, Wanted
from chiralize.storage.missing import refuse_weight_options


def _recognises(content: Content) -> bool:
    return content.is_zip and (
        "constants.pkl" in content.inner or any(name.startswith("code/") for name in content.inner)
    )


def _load(content: Content, wanted: Wanted) -> LoadedModel:
    """The module with the certificate in the file; `torchscript` checks and reads it."""
    from chiralize.storage.torchscript import load_script

    refuse_weight_options(content, "torchscript", wanted)
    assert content.file is not None
    digest = content.digest
    module, extra = load_script(content.file, content.where)
    return LoadedModel(module, "torchscript", content.path, digest, extra=extra)


FORMAT = Format("torchscript", "a torchscript model", _recognises, _load, rank=80, may_be_whole=True)
