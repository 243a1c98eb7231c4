"""Pickles read without running what they name: a restricted unpickler, and a reader of their imports.

A pickle names functions of Python and calls them.  Three ways to look at one without that:

    restricted_load       arrays of numpy and containers; any other name is refused          data files, plain pickles
    imported_names        the names alone, off the list of its ops; nothing is built         messages, kinds of files
    check_script_pickle   names of a member of TorchScript, each of which has to be known    torchscript

`inert` is a fourth, which lets every name pass and puts a stand-in in its place.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from chiralize.errors import DataFileError, UnsafeFileError
from chiralize.storage.bounds import check_parts
from chiralize.storage.recipes import NUMPY_RECIPES, built

_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
"""The number that a file of torch begins with, before version 1.6."""

_TORCH_NAME = re.compile(
    r"torch\._utils\._\w+|torch\._tensor\._rebuild\w+|torch\.(\w+Storage|\w*Tensor|Size|device|dtype)"
    r"|torch\.storage\.\w+|torch\.nn\.parameter\.\w+|torch\.serialization\._get_layout|collections\.OrderedDict"
    r"|torch\.(float|int|uint|bfloat|complex|bool|quint|qint|double|half|long|short)\w*"
    r"|numpy(\._?core\.multiarray)?\.(_reconstruct|scalar|ndarray|dtype)|numpy\.dtypes\.\w+|_codecs\.encode"
    r"|numpy\.random\.(_pickle\.|mtrand\.)?__\w+_ctor|numpy\.random\._mt19937\.MT19937|(builtins|__builtin__)\.set"
)
# What a member of TorchScript imports: classes of its own code (but for those that C++ libraries add), and tensors.
_SCRIPT_NAME = re.compile(
    r"__torch__\.(?!torch\.classes\.)[\w.]+|__torch__\.torch\.classes\.(quantized|rnn|sparse)\.\w+"
    r"|torch\.jit\._pickle\.(build_\w+|restore_type_tag)|torch\._utils\._rebuild_(tensor_v2|qtensor|parameter)"
    r"|torch\.(\w+Storage|device|per_\w+_affine\w*)|collections\.OrderedDict|torch\._tensor\._rebuild_from_type_v2"
)


class _NumpyUnpickler(pickle.Unpickler):
    """Builds containers, numbers, text and numpy arrays; any other name in the pickle is refused without a call."""

    def __init__(self, stream: io.BytesIO, where: str) -> None:
        super().__init__(stream, encoding="latin1")  # texts of Python 2, of which every byte is a letter
        self._where = where

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name of numpy's.  Raises UnsafeFileError for other names."""
        # `_codecs.encode` is how old protocols write bytes; numpy's own functions are replaced, see `recipes`.
        known = {**NUMPY_RECIPES, "collections.OrderedDict": OrderedDict, "_codecs.encode": _encode_latin1}
        if f"{module}.{name}" in known:
            return known[f"{module}.{name}"]
        raise UnsafeFileError(
            self._where,
            f"loading it would import and may call {module}.{name}",
            "save plain arrays instead: np.savez(path, poses=array).",
        )

    def persistent_load(self, pid: Any) -> Any:
        """Refuse objects outside of the pickle.  Raises UnsafeFileError."""
        raise UnsafeFileError(self._where, f"refers to an outside object {pid!r}", "save plain arrays instead.")


def _encode_latin1(text: str, encoding: str = "latin1") -> bytes:
    """How protocol 2 writes bytes.  Other codecs are refused."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"codec {encoding!r}")
    return text.encode("latin1")


def restricted_load(data: bytes, where: str) -> Any:
    """Object of a numpy pickle (dict, list, tuple, text, numbers, arrays).  Raises UnsafeFileError, DataFileError."""
    try:
        loaded = _NumpyUnpickler(io.BytesIO(data), where).load()
        check_parts(loaded, "its pickled part", where)
        return built(loaded)
    except UnsafeFileError:
        raise
    except Exception as error:  # damaged pickles raise many kinds
        facts = f"its pickled part is damaged ({type(error).__name__}: {error})"
        raise DataFileError(where, facts, "copy or download the file again.") from error


def imported_names(data: bytes) -> Iterator[str]:
    """Dotted names that a pickle imports.  Raises ValueError on damage or on names that only running it would tell.

    Old protocols write the name into the op (GLOBAL "module name").  New ones take it from the stack (STACK_GLOBAL):
    the last two texts, which may come from the memo.  A hostile pickle can mislead this, as it can put texts on the
    stack and take them off again: nothing is loaded on the strength of it.
    """
    texts: list[str] = []
    memo: dict[int, str | None] = {}
    last: str | None = None  # the text that stands on top of the stack
    for op, arg, _ in _ops(data):
        if isinstance(arg, str) and "UNICODE" in op.name:
            texts.append(arg)
            last = arg
            continue
        if op.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if arg is None else int(arg)] = last  # MEMOIZE takes the next free number
        elif op.name in ("GET", "BINGET", "LONG_BINGET") and (text := memo.get(int(arg or 0))) is not None:
            texts.append(text)
        elif name := _imported_name(op.name, arg, texts):
            yield name
        if op.name not in ("PROTO", "FRAME"):
            last = None


def _imported_name(op: str, arg: Any, texts: list[str]) -> str:
    """The dotted name that an op imports, "" where it imports none.  texts: those that the pickle had until here."""
    if op in ("GLOBAL", "INST"):
        return str(arg).replace(" ", ".")
    if op == "STACK_GLOBAL":
        if len(texts) < 2:
            raise ValueError("an import whose name is computed")
        return f"{texts[-2]}.{texts[-1]}"
    if op in ("EXT1", "EXT2", "EXT4"):
        return f"copyreg.extension_{arg}"
    return ""


def foreign_globals(data: bytes) -> list[str]:
    """Names imported by a torch pickle that tensors and containers do not need.  Raises ValueError on damage.

    Only tells formats apart: what may be loaded is decided by torch's own `weights_only` reader.
    """
    return sorted({name for name in imported_names(data) if not _TORCH_NAME.fullmatch(name)})


def legacy_torch_stream(data: bytes) -> bytes:
    """The object pickle of a torch file from before the zip layout.  Raises ValueError when it is not one."""
    stream = io.BytesIO(data)
    # Before the object stand three pickles: the magic number, the version, the machine.
    for position in range(3):
        numbers = [arg for op, arg, _ in _ops(stream) if op.name in ("LONG1", "BININT", "BININT2")]
        if position == 0 and numbers[:1] != [_TORCH_MAGIC]:
            raise ValueError("no torch magic number")
    return data[stream.tell() :]


def _ops(pickled: bytes | io.BytesIO) -> Iterator[tuple[Any, Any, Any]]:
    """The ops of one pickle, each with its argument and position.  Raises ValueError on damage."""
    try:
        yield from pickletools.genops(pickled)
    except ValueError:
        raise
    except Exception as error:  # pickletools raises many kinds on damaged bytes
        raise ValueError(f"damaged pickle: {error}") from error


def check_script_pickle(data: bytes, member: str, where: str) -> None:
    """Refuse a TorchScript member that imports anything but the archive's own types.  Raises UnsafeFileError."""
    try:
        names = _plain_imports(data)
    except ValueError as error:
        facts = f"member {member!r} is not a TorchScript pickle ({error})"
        raise UnsafeFileError(where, facts, "save the module again with torch.jit.save.") from error
    for name in names:
        if not _SCRIPT_NAME.fullmatch(name):
            facts = f"member {member!r} imports {name}, which TorchScript never does"
            raise UnsafeFileError(where, facts, "do not use this file; ask its author for one from torch.jit.save.")


def _plain_imports(data: bytes) -> list[str]:
    """Dotted names that a pickle imports, all of them written in it.  Raises ValueError for any other import."""
    names: list[str] = []
    for op, arg, _ in _ops(data):
        # torch.jit.save writes names into GLOBAL.  Of these ops the name is computed, or an object is made in passing.
        if op.name in ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"):
            raise ValueError(f"opcode {op.name}")
        if op.name == "GLOBAL":
            names.append(str(arg).replace(" ", "."))
    return names
