"""What is a TorchScript file? An archive with code of its own, searched before torch's C++ reader compiles it.

TorchScript has no imports, and its reader runs no Python; its ops can touch files all the same, at load
(`__setstate__`) and in every call. Each member is handled by its name:

    code/__torch__/net.py     text: searched for ops that reach outside
    data.pkl, data/0, ...     attributes and numbers, for the C++ reader alone: copied
    extra/chirality.json      the passport
    *.debug_pkl, bytecode.pkl left out: the module runs without them
    anything else             refused
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from chiralize.errors import ExportError, ModelFileError, ParityError, UnsafeFileError
from chiralize.errors.words import first_line
from chiralize.graph.quiet import quiet
from chiralize.graph.run import Call, apart, results
from chiralize.storage.files import Content, packed, write_bytes

_PLAIN = re.compile(
    r"version|byteorder|\.data/(version|serialization_id)|(data|constants|attributes)\.pkl"
    r"|(constants|data|tensors|attributes|traced_inputs)/[\w.\-]+|extra/[\w.\-]+"
)
_CODE = re.compile(r"code/[\w./\-]+\.py")
_UNUSED = re.compile(r"code/[\w./\-]+\.debug_pkl|(bytecode|mobile_debug_handles|traced_inputs)\.pkl")
_REACHING = r"(from_file|save|load_library|rpc_\w+)\b"
# Modules and functions can be given other names (`t = torch`), so what they are taken from says nothing, but for
# `self`, whose attributes may have any name. `getattr` with one literal is how names that are no identifiers are read.
_CALLS = re.compile(
    rf"(?<!self)(?<!\(self\))\.[\s\\]*{_REACHING}|\bself\s*=[^=]|getattr\([\w.() ]*, \"{_REACHING}"
    r"|getattr(?!\([\w.() ]*, \"[\w.\-:/ ]*\"\))"
    r"|\bops\b(?!\.(aten|prim|prims|quantized|torchvision|mkldnn|mkldnn_prepacked|prepacked)\.)"
)
_PASSPORT = "chirality.json"
_APART = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Largest difference from what was verified, in units of the output's scale: TorchScript fuses ops in another order,
which moves answers by some thousand roundings at most."""


def is_script(content: Content) -> bool:
    """Whether the file is an archive of torch.jit."""
    return any("/code/" in name or name.endswith("/constants.pkl") for name in content.members)


def load_script(content: Content) -> tuple[torch.jit.ScriptModule, str]:
    """The module in eval mode on the CPU, and its passport's text ("" for none).

    Raises UnsafeFileError, ModelFileError.
    """
    checked: dict[str, bytes | memoryview] = {}
    for full in content.members:
        name = full.partition("/")[2]
        if _UNUSED.fullmatch(name):
            continue
        if _CODE.fullmatch(name):
            _check_code(bytes(content.member(full)).decode("utf-8", "replace"), name, content.where)
        elif not _PLAIN.fullmatch(name):
            facts = f"its member {name[:80]!r} is no part of a TorchScript file"
            raise UnsafeFileError(content.where, facts, "do not use this file")
        checked[f"archive/{name}"] = content.member(full)
    passport = bytes(checked.get(f"archive/extra/{_PASSPORT}", b"")).decode("utf-8", "replace")
    try:
        with quiet():
            module = torch.jit.load(io.BytesIO(packed(checked)), map_location="cpu")
    except Exception as error:  # the C++ reader raises RuntimeError, and others through Python
        facts = f"torch {torch.__version__} cannot read the TorchScript file ({first_line(error)})"
        raise ModelFileError(content.where, facts, "save the module again with torch.jit.save") from error
    if getattr(module, "training", False):  # frozen modules have no such attribute
        module.eval()
    return module, passport


def _check_code(text: str, member: str, where: str) -> None:
    """Refuse code that may touch files. Comments and strings are searched, too. Raises UnsafeFileError."""
    use = _CALLS.search(text)
    if use is not None:
        facts = f"{member} has {use.group()[:80]!r}, which can read or write files, or run foreign code"
        raise UnsafeFileError(where, facts, "do not use this file; or script the module without it")


# ---- written -----------------------------------------------------------------------------------------------------
def with_values(script: torch.jit.ScriptModule, values: Mapping[str, torch.Tensor]) -> torch.jit.ScriptModule:
    """A copy of the script with these weights, written in place, so that tied ones and lists of them stay together.

    Raises ExportError for a value that the script has no room for: a constant of its code, or another size.
    """
    stream = io.BytesIO()
    with quiet(), torch.no_grad():
        torch.jit.save(script, stream)
        stream.seek(0)
        copy = torch.jit.load(stream, map_location="cpu")
        state = {**dict(copy.named_parameters(remove_duplicate=False)), **dict(copy.named_buffers())}
        for name, value in values.items():
            if name not in state or state[name].shape != value.shape:
                facts = f"the TorchScript file has no room for {name} {tuple(value.shape)}"
                raise ExportError("-o", facts, "write a .pt2, or use --method average")
            state[name].copy_(value)
    return copy


def save_script(module: nn.Module, script: torch.jit.ScriptModule, example: Call | None, path: Path, text: str) -> None:
    """Write a script with a passport, after its answers were compared with those of the module.

    Raises ParityError where it computes something else, OutputFileError.
    """
    stream = io.BytesIO()
    with quiet():
        torch.jit.save(script, stream, _extra_files={_PASSPORT: text.encode()})
        written = torch.jit.load(io.BytesIO(stream.getvalue()), map_location="cpu")
    if example is not None:
        _check_answers(module, written, example, str(path))
    write_bytes(path, stream.getvalue())


def _check_answers(module: nn.Module, written: nn.Module, example: Call, where: str) -> None:
    """Raise ParityError where a script does not answer the example as the module does."""
    answers: list[list[torch.Tensor]] = []
    with quiet(), torch.no_grad():
        for each in (module, written):
            args, kwargs = apart(example)
            answers.append(results(each(*args, **kwargs))[0])
    for expected, answer in zip(*answers, strict=True):
        scale = float(expected.abs().max()) if expected.numel() else 0.0
        gap = float((expected - answer).abs().max()) if expected.numel() else 0.0
        # NaN never passes.
        if not gap <= _APART.get(expected.dtype, 1e-2) * scale:
            facts = f"the TorchScript file would answer {gap:.1e} away from what was verified"
            raise ParityError(where, facts, "write a .pt2")
