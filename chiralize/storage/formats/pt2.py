"""`.pt2`: an exported program, as `torch.export.save` writes it; `read_pt2` checks and reads it."""

from __future__ import annotations

from chiralize.storage.content import Content
from chiralize.storage.format import Format, LoadedModel, Wanted
from chiralize.storage.missing import refuse_weight_options


def _recognises(content: Content) -> bool:
    return content.is_zip and ("archive_format" in content.inner or "serialized_exported_program.json" in content.names)


def _load(content: Content, wanted: Wanted) -> LoadedModel:
    """The program as a module, with the example and the certificate in the file."""
    from chiralize.storage.read_pt2 import example_inputs, load_program, program_module

    refuse_weight_options(content, "pt2", wanted)
    assert content.file is not None
    digest = content.digest
    program, extra = load_program(content.file, content.where)
    args, kwargs = example_inputs(program) or (None, None)
    module = program_module(program, content.where)
    return LoadedModel(module, "pt2", content.path, digest, program, args, kwargs, extra)


FORMAT = Format("pt2", "a pt2 model", _recognises, _load, rank=90, may_be_whole=True)
