"""Torch files by their parts: the pickle, and the storages beside it, with the bytes that each takes in the file.

Torch writes the numbers of every tensor apart from the pickle that says what they are: as a member `data/KEY` of a zip
archive, or, before version 1.6, one after the other behind the pickle.

    zip    archive/data.pkl, archive/data/0, archive/data/1, ..., archive/byteorder
    old    pickles of: a magic number, a version, the machine, the object, the keys of its storages;
           then for each key the number of entries (8 bytes) and the entries

`torch_weights` reads weights through this where the pickle names classes that torch's own reader refuses; `patching`
has to know which bytes of the file are the numbers of a weight.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from chiralize.errors import ModelFileError
from chiralize.storage.archive import Members, members_of, open_archive
from chiralize.storage.inert import Foreign, StoredTensor, check_stored, inert_tree
from chiralize.storage.unpickle import legacy_torch_stream

if TYPE_CHECKING:
    import torch

_OTHER_ORDER = "was written on a machine of the other byte order"
_REMEDY = "copy or download the file again; if it was written by torch, save it again."


class TorchFile:
    """A file of `torch.save`, read without running any of it.  Raises ModelFileError on damage."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data, self.where = data, where
        self._read: dict[str, bytes] = {}

    @cached_property
    def members(self) -> Members | None:
        """The members of the archive, None for a file of before there were any."""
        if self.data[:2] != b"PK":
            return None
        return members_of(open_archive(self.data, self.where), self.where)

    @cached_property
    def tree(self) -> Any:
        """What the pickle holds, see `inert_tree`."""
        # ValueError is what the readers of pickles raise on damage, wherever it is.
        try:
            if self.members is None:
                return inert_tree(legacy_torch_stream(self.data), self.where)
            if "data.pkl" not in self.members:
                raise ValueError("it has no data.pkl")
            return inert_tree(self.members["data.pkl"], self.where)
        except ValueError as error:
            raise ModelFileError(self.where, f"its pickle cannot be read ({error})", _REMEDY) from error

    @cached_property
    def old_spans(self) -> Mapping[str, tuple[int, int]]:
        """Start and size in bytes of every storage of a file of old torch."""
        kinds = {stored.storage.key: stored.storage.dtype for stored in stored_in(self.tree)}
        try:
            self._check_order()
            # Past the object, then past the keys: there the first storage begins.
            position = len(self.data) - len(legacy_torch_stream(self.data))
            position = _end_of_pickle(self.data, position)
            after = _end_of_pickle(self.data, position)
            keys = pickle.loads(_only_texts(self.data[position:after]))
            spans: dict[str, tuple[int, int]] = {}
            for key in keys:
                if after + 8 > len(self.data):
                    raise ValueError(f"the size of storage {key} is cut off")
                (count,) = struct.unpack_from("<q", self.data, after)  # a claim of the file's, held against its length
                size = count * itemsize_of(kinds.get(key) or "uint8")  # untyped storages count bytes
                spans[key] = after + 8, size
                after += 8 + size
                if size < 0 or after > len(self.data):
                    raise ValueError(f"storage {key} of {size:,} bytes is cut off")
            return spans
        except (ValueError, struct.error, TypeError, pickle.UnpicklingError) as error:
            raise ModelFileError(self.where, f"its storages cannot be read ({error})", _REMEDY) from error

    def _check_order(self) -> None:
        """Refuse a file of old torch whose numbers are in another order of bytes: its third pickle says so."""
        start = _end_of_pickle(self.data, _end_of_pickle(self.data, 0))
        about = inert_tree(self.data[start:], self.where)
        if isinstance(about, dict) and about.get("little_endian") is False:
            raise ModelFileError(self.where, _OTHER_ORDER, _REMEDY)

    def storage(self, key: str) -> bytes:
        """The bytes of a storage.  Raises ModelFileError where there is none."""
        if key not in self._read:
            self._read[key] = self._bytes_of(key)
        return self._read[key]

    def _bytes_of(self, key: str) -> bytes:
        """As `storage`, read anew."""
        # Of an old file a part of it, of an archive a member, whose order of bytes a member of its own says.
        if self.members is None:
            start, size = self.old_spans.get(key, (0, -1))
            if size >= 0:
                return self.data[start : start + size]
        elif f"data/{key}" in self.members:
            if self.members.size_if_there("byteorder") == 3 and self.members["byteorder"] == b"big":
                raise ModelFileError(self.where, _OTHER_ORDER, _REMEDY)
            return self.members[f"data/{key}"]
        raise ModelFileError(self.where, f"has no storage {key!r}, which its pickle names", _REMEDY)

    def tensor(self, stored: StoredTensor, name: str) -> torch.Tensor:
        """A copy of the numbers.  name: for messages.  Raises ModelFileError, UnsafeFileError."""
        import torch

        dtype = getattr(torch, stored.dtype)
        room = bytearray(self.storage(stored.storage.key))  # a copy, which torch may write to
        check_stored(stored, len(room), dtype.itemsize, name, self.where)
        if not stored.end:
            return torch.empty(stored.shape, dtype=dtype)
        return view_of(room, stored).clone()


def view_of(room: bytearray, stored: StoredTensor) -> torch.Tensor:
    """The tensor whose numbers are these bytes of its storage; to write to it is to write to them."""
    import torch

    dtype = getattr(torch, stored.dtype)
    whole = torch.frombuffer(room, dtype=dtype, count=len(room) // dtype.itemsize)
    return whole.as_strided(stored.shape, stored.strides, stored.offset)


def itemsize_of(dtype: str) -> int:
    """Bytes of an entry."""
    import torch

    return getattr(torch, dtype).itemsize


def stored_in(tree: Any) -> list[StoredTensor]:
    """Every tensor in a tree, those in stand-ins too; each object is looked at once."""
    seen: set[int] = set()
    tensors: list[StoredTensor] = []
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, StoredTensor):
            tensors.append(part)
        if id(part) in seen:  # a hostile pickle may contain itself
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, (list, tuple, set, frozenset)):
            waiting += part
        elif isinstance(part, Foreign):
            waiting += (part.entries, part.state)
    return tensors


def _end_of_pickle(data: bytes, start: int) -> int:
    """Where the pickle that starts there ends.  Raises ValueError on damage."""
    stream = io.BytesIO(data)
    stream.seek(start)
    for _ in pickletools.genops(stream):
        pass
    return stream.tell()


def _only_texts(pickled: bytes) -> bytes:
    """The pickle itself, of a list of texts; raises ValueError for one that imports or calls anything.

    `pickle.loads` of what passes can build containers, numbers and texts, and nothing else.
    """
    for op, _, _ in pickletools.genops(pickled):
        if op.name in ("GLOBAL", "STACK_GLOBAL", "INST", "REDUCE", "BUILD", "OBJ", "NEWOBJ", "NEWOBJ_EX", "PERSID"):
            raise ValueError(f"opcode {op.name} among the names of its storages")
        if op.name.startswith("EXT") or op.name == "BINPERSID":
            raise ValueError(f"opcode {op.name} among the names of its storages")
    return pickled
