"""What is in a file of `torch.save`? The tree that it holds, its tensors as views of the file; and the file anew.

    zip    archive/data.pkl, archive/data/0, archive/data/1, ...
    old    pickles of: a magic number, a version, the machine, the object, the keys of its storages; then, for each key,
           how many entries there are (8 bytes) and the entries

To put a weight back is to copy it into the view. The passport is one more member, `extra/chirality.json`.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from chiralize.errors import ModelFileError, UnsafeFileError
from chiralize.errors.words import first_line, listed
from chiralize.storage.files import Content, content_of, packed
from chiralize.storage.pickles import Foreign, Storage, Unpickler, built

PASSPORT = "extra/chirality.json"
_MAGIC = 0x1950A86A20F9469CFC6C
"""What the first pickle of an old file holds: `torch.serialization.MAGIC_NUMBER`."""
_DEEPEST = 100
"""Modules within modules of a pickled network: Python itself ends at a thousand calls."""


@dataclass(frozen=True)
class TorchFile:
    """What torch.save wrote.

    tree: dicts, lists, plain values, tensors that are views of the file, `Foreign` objects.  foreign: names of classes
    that only running code could restore.  passport: the text of one, "" for none.  root: the folder in the zip, "" for
    a file before torch 1.6.  storages: by their member's name.
    """

    content: Content
    tree: Any
    foreign: tuple[str, ...]
    passport: str = ""
    root: str = ""
    storages: dict[str, Storage] = field(default_factory=dict)

    def written(self, passport: str) -> bytes:
        """The file with its storages as they are now, and with a passport; every other member as it was.

        Raises ModelFileError for a file before torch 1.6 that holds objects.
        """
        if not self.root:
            return self._renewed(passport)
        names = [name for name in self.content.members if name != f"{self.root}{PASSPORT}"]
        members: dict[str, bytes | memoryview] = {}
        for name in names:
            room = self.storages[name].room if name in self.storages else self.content.member(name)
            members[name] = memoryview(room)
        return packed({**members, f"{self.root}{PASSPORT}": passport.encode()})

    def _renewed(self, passport: str) -> bytes:
        """An old file as a zip."""
        if self.foreign:
            facts = f"is a file from before torch 1.6 with objects of {listed(self.foreign, 3)}"
            raise ModelFileError(self.content.where, facts, "write a .safetensors")
        return saved(self.tree, passport)


def saved(tree: Any, passport: str) -> bytes:
    """A tree of plain values and tensors as a file of torch.save, with a passport."""
    stream = io.BytesIO()
    torch.save(tree, stream)
    content = Content("", stream)
    root = _root(content)
    members: dict[str, bytes | memoryview] = {name: content.member(name) for name in content.members}
    return packed({**members, f"{root}{PASSPORT}": passport.encode()})


def read_torch(content: Content) -> TorchFile | None:
    """The file, if torch.save wrote it. Raises ModelFileError for a damaged one."""
    if content.archive is None and not _is_old(content):
        return None
    if content.archive is not None and not _root(content):
        return None
    try:
        return _of_old(content) if content.archive is None else _of_zip(content)
    except ModelFileError:
        raise
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
        facts = f"is a damaged file of torch.save ({type(error).__name__}: {first_line(error)})"
        raise ModelFileError(content.where, facts, "copy or download the file again") from error


def _is_old(content: Content) -> bool:
    """Whether a file begins as torch began it before version 1.6."""
    content.stream.seek(0)
    try:
        return content.start.startswith(b"\x80") and Unpickler(content.stream).load() == _MAGIC
    except Exception:  # a damaged pickle raises whatever its bytes happen to mean
        return False


def _root(content: Content) -> str:
    """The folder of the archive, with a slash, that holds the pickle of the object; "" for none."""
    roots = [name.removesuffix("data.pkl") for name in content.members if name.endswith("/data.pkl")]
    return roots[0] if len(roots) == 1 else ""


def _of_zip(content: Content) -> TorchFile:
    """A file of torch 1.6 and newer."""
    root, storages = _root(content), dict[str, Storage]()

    def storage_of(pid: Any) -> Storage:
        """The storage of ("storage", dtype, key, device, count)."""
        _, dtype, key, *_ = pid
        name = f"{root}data/{key}"
        if name not in storages:
            storages[name] = Storage(dtype, content.member(name))
        return storages[name]

    if f"{root}byteorder" in content.members and bytes(content.member(f"{root}byteorder")) == b"big":
        raise ValueError("its numbers are those of a big-endian machine")
    tree, foreign = _tree(io.BytesIO(content.member(f"{root}data.pkl")), storage_of)
    has_passport = f"{root}{PASSPORT}" in content.members
    passport = bytes(content.member(f"{root}{PASSPORT}")).decode() if has_passport else ""
    return TorchFile(content, tree, foreign, passport, root, storages)


def _of_old(content: Content) -> TorchFile:
    """A file from before torch 1.6."""
    stream = content.stream
    stream.seek(0)
    for _ in ("magic number", "version", "machine"):
        Unpickler(stream).load()
    storages = dict[str, Storage]()

    def storage_of(pid: Any) -> Any:
        """The storage of ("storage", dtype, key, device, count, view); the class of ("module", class, file, source)."""
        if pid[0] == "module":
            return pid[1]
        _, dtype, key, _, count, *_ = pid
        if not 0 <= count * dtype.itemsize <= len(content.view):
            raise ValueError("a storage is larger than the file")
        return storages.setdefault(key, Storage(dtype, bytearray(count * dtype.itemsize)))

    tree, foreign = _tree(stream, storage_of)
    for key in Unpickler(stream).load():
        (count,) = struct.unpack("<q", stream.read(8))
        room = storages[key].room
        if count * storages[key].dtype.itemsize != len(room) or stream.readinto(room) != len(room):
            raise ValueError("the file is too short")
    return TorchFile(content, tree, foreign)


def _tree(stream: io.BytesIO, storage_of: Callable[[Any], Any]) -> tuple[Any, tuple[str, ...]]:
    """What the pickle of the object holds, and the names that are not ours."""
    reader = Unpickler(stream, storage_of)
    return built(reader.load()), tuple(reader.foreign)


def plain_tree(data: bytes | memoryview, where: str) -> Any:
    """What a file of torch.save within another file holds. Raises UnsafeFileError for objects, ModelFileError."""
    file = read_torch(content_of(data, where))
    if file is None:
        raise ModelFileError(where, "holds a part that is no file of torch.save", "export the model again")
    if file.foreign:
        facts = f"holds objects of {listed(file.foreign, 3)}, which only code of theirs could restore"
        raise UnsafeFileError(where, facts, "do not use this file")
    return file.tree


def weights_of(module: Foreign, prefix: str = "", depth: int = _DEEPEST) -> dict[str, torch.Tensor]:
    """The weights of a pickled module by name, as its `state_dict` lists them."""
    fields = module.fields
    if "_modules" not in fields and module.args and isinstance(module.args[0], Foreign):  # of torch.compile
        return weights_of(module.args[0], f"{prefix}_orig_mod.", depth - 1) if depth else {}
    unsaved = fields.get("_non_persistent_buffers_set") or ()
    weights: dict[str, torch.Tensor] = {}
    for table in ("_parameters", "_buffers"):
        for name, tensor in _entries(fields.get(table)).items():
            if isinstance(tensor, torch.Tensor) and name not in unsaved:
                weights[f"{prefix}{name}"] = tensor
    for name, inner in _entries(fields.get("_modules")).items():
        if isinstance(inner, Foreign) and depth:
            weights |= weights_of(inner, f"{prefix}{name}.", depth - 1)
    return weights


def _entries(value: Any) -> dict[str, Any]:
    """The entries of a table of a module."""
    return value if isinstance(value, dict) else {}


def loaded_by_its_code(content: Content) -> Any:
    """What the file holds, restored by the code that it names: by the user's consent alone. Raises ModelFileError."""
    try:
        return torch.load(io.BytesIO(content.view), map_location="cpu", weights_only=False)
    except Exception as error:  # the file's own code
        facts = f"its code failed ({type(error).__name__}: {first_line(error)})"
        remedy = "run in the folder that holds its classes"
        raise ModelFileError(content.where, facts, remedy) from error
