"""TorchScript archives: read by torch's C++ reader, after a check of their imports and of their own code.

`formats/torchscript.py` calls `load_script`. An archive holds code in TorchScript, a language without imports, whose
ops can read files all the same; it runs at load (`__setstate__`) and in every call. Each member is handled by its name:

    code/__torch__/net.py     text: searched for ops that reach outside
    data.pkl                  the module's attributes: its imports and tensors are checked    unpickle, script_tensors
    data/0, constants/0       numbers: copied
    extra/chirality.json      a text: returned
    *.debug_pkl, bytecode.pkl left out: the module runs without them
    anything else             refused
"""

from __future__ import annotations

import re
import warnings
from typing import BinaryIO

import torch

from chiralize.errors import ModelFileError, UnsafeFileError
from chiralize.errors.words import first_line
from chiralize.storage.archive import Members, Packer, members_of, open_archive, pack
from chiralize.storage.script_tensors import check_script_tensors
from chiralize.storage.unpickle import check_script_pickle

_PICKLES = frozenset({"data.pkl", "constants.pkl", "attributes.pkl"})
_UNUSED = frozenset({"bytecode.pkl", "mobile_debug_handles.pkl", "traced_inputs.pkl"})
_PLAIN = frozenset({"version", "byteorder", ".data/version", ".data/serialization_id"})
_TENSORS = re.compile(r"(constants|data|tensors|attributes|traced_inputs)/[\w.\-]+")
_CODE = re.compile(r"code/[\w./\-]+\.py")
_DEBUG = re.compile(r"code/[\w./\-]+\.debug_pkl")
_EXTRA = re.compile(r"extra/[\w.\-]+")
# Searched in the whole text, comments and strings included, so that no way of writing it down can hide a use.
_FILE_ACCESS = re.compile(r"\b(from_file|save|load_library|rpc_\w+)\b|\bgetattr\s*\([^)]*\\")
_FOREIGN_OPS = re.compile(r"\bops\b(?!\.(aten|prim|prims|quantized|torchvision|mkldnn|mkldnn_prepacked|prepacked)\.)")


def load_script(file: BinaryIO, where: str) -> tuple[torch.nn.Module, dict[str, str]]:
    """The scripted module on the CPU and its extra files.  Raises UnsafeFileError, ModelFileError."""
    members = members_of(open_archive(file, where), where)
    if not {"data.pkl", "constants.pkl"} <= set(members):
        raise ModelFileError(where, "TorchScript archive without data.pkl or constants.pkl", "save the module again.")
    extra: dict[str, str] = {}
    with pack(lambda packer: extra.update(_pack_checked(members, packer, where)), members.size, where) as checked:
        module = _read(checked, where)
    if getattr(module, "training", False):  # frozen modules have no such attribute
        module.eval()
    return module, extra


def _pack_checked(members: Members, packer: Packer, where: str) -> dict[str, str]:
    """Pack what the module needs; returns the extra files."""
    extra: dict[str, str] = {}
    for name, content in members.items():
        if name in _PICKLES:
            check_script_pickle(content, name, where)
            check_script_tensors(content, name, members.size_if_there, where)
        elif _CODE.fullmatch(name):
            _check_code(content, name, where)
        elif _EXTRA.fullmatch(name):
            extra[name.removeprefix("extra/")] = content.decode("utf-8", "surrogateescape")  # bytes are kept
        elif _DEBUG.fullmatch(name) or name in _UNUSED:
            continue  # not needed to run the module
        elif name not in _PLAIN and not _TENSORS.fullmatch(name):
            remedy = "do not use this file; ask its author for one from torch.jit.save."
            raise UnsafeFileError(where, f"member {name!r} is not part of a TorchScript archive", remedy)
        packer.add(name, content)
    return extra


def _read(checked: BinaryIO, where: str) -> torch.nn.Module:
    """The module in an archive that was checked.  Raises ModelFileError."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
            warnings.filterwarnings("ignore", message=".*torch.jit.*", category=FutureWarning)
            return torch.jit.load(checked, map_location="cpu")
    except Exception as error:  # the C++ reader raises RuntimeError, and others through Python
        facts = f"torch {torch.__version__} cannot read the TorchScript module ({first_line(error)})"
        raise ModelFileError(where, facts, "save the module again with torch.jit.save.") from error


def _check_code(content: bytes, member: str, where: str) -> None:
    """Refuse code that may touch files: the module's own code runs at load (`__setstate__`) and in every call."""
    text = content.decode("utf-8", errors="replace")
    use = _FILE_ACCESS.search(text) or _FOREIGN_OPS.search(text)
    if use:
        line = text[text.rfind("\n", 0, use.start()) + 1 :].split("\n", 1)[0].strip()
        facts = f"{member} uses {use.group()!r} ({line[:80]!r}), which can read or write files or run foreign code"
        raise UnsafeFileError(where, facts, "do not use this file; script the module without it.")
