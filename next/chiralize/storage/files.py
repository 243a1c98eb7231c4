"""How are bytes read and written? A file is read once, into memory that views may change; a result comes in one piece.

A kill at any moment leaves the old file or the whole new one: the bytes go to a temporary name in the same folder,
reach the disk, and take the name of the target at once. Parent folders are never created.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from chiralize.errors import ModelFileError, OutputFileError, UnsafeFileError

_MOST_PACKED = 64
"""How many times its size in the file a large archive may have unpacked: floats of a network shrink to a half at best,
masks and one-hot tables to a fortieth."""
_SMALL = 2**27
"""Bytes that any archive may unpack to: 128 MB do no harm."""
_ALIGNED = 64
"""Bytes at whose multiples torch has the storages of a zip begin, so that they can be mapped into memory."""
_LOCAL_HEADER = 30
"""Bytes of a member's header in a zip before its name; at 26 and 28 are the lengths of the name and the extra field."""
ANOTHER = "give a .pt2, a .safetensors or a file of torch.save"


class _Kind(NamedTuple):
    """A kind of file that is no model of ours. magic: what it has at `start`."""

    magic: bytes
    words: str
    remedy: str = ANOTHER
    start: int = 0


_KINDS = (
    _Kind(b"version https://git-lfs", "a git-lfs pointer, not the file itself", "run `git lfs pull`"),
    _Kind(b"<!DOCTYPE", "a web page: the download failed, or needs a login", "download the file again"),
    _Kind(b"<html", "a web page: the download failed, or needs a login", "download the file again"),
    _Kind(b"\x1f\x8b", "packed by gzip", "unpack it first: gzip -dk FILE"),
    _Kind(b"\x89HDF", "an HDF5 file (Keras or MATLAB 7.3)", "write the network as ONNX, and give that"),
    _Kind(b"TFL3", "a model of TensorFlow Lite", "write the network as ONNX, and give that", start=4),
    _Kind(b"GGUF", "a GGUF file, whose weights are packed for one runtime", "give the .safetensors it was made from"),
    _Kind(b"PK", "a zip archive that is no model"),
    _Kind(b"\x80", "a damaged pickle, or one of nothing that is weights"),
)


@dataclass(frozen=True)
class Content:
    """A file in memory.

    where: its path, for messages.  stream: its bytes, to be read in order.  view: the same bytes without a copy, which
    may be written to.
    """

    where: str
    stream: io.BytesIO

    @cached_property
    def view(self) -> memoryview:
        """All bytes. Tensors that are views of them keep the memory alive."""
        return self.stream.getbuffer()

    @property
    def start(self) -> bytes:
        """The first bytes, by which a kind of file is known."""
        return bytes(self.view[:512])

    @cached_property
    def archive(self) -> zipfile.ZipFile | None:
        """The file as a zip; None for other files.

        Raises ModelFileError for a broken one, UnsafeFileError for one that unpacks to many times its size.
        """
        if not self.start.startswith(b"PK"):
            return None
        try:
            archive = zipfile.ZipFile(self.stream)
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise ModelFileError(self.where, f"is a damaged archive ({error})", "copy or download it again") from error
        # Of a file that is cut off, zipfile may read an archive within it.
        if min((info.header_offset for info in archive.infolist()), default=0):
            raise ModelFileError(self.where, "is a damaged archive (its end is missing)", "copy or download it again")
        unpacked = sum(info.file_size for info in archive.infolist())
        if unpacked > max(_MOST_PACKED * len(self.view), _SMALL):
            facts = f"would unpack from {len(self.view):,} to {unpacked:,} bytes"
            raise UnsafeFileError(self.where, facts, "do not use this file")
        return archive

    @property
    def members(self) -> list[str]:
        """The names in the archive; none of other files."""
        return self.archive.namelist() if self.archive is not None else []

    def member(self, name: str) -> memoryview:
        """A member of the archive: a view of the file where it is not packed. Raises ModelFileError."""
        assert self.archive is not None
        try:
            info = self.archive.getinfo(name)
            if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:
                return self._stored(info)
            return memoryview(bytearray(self.archive.read(info)))
        # A library of packing raises errors of its own, RuntimeError where a password is asked for.
        except Exception as error:
            facts = f"member {name!r} cannot be read ({error})"
            raise ModelFileError(self.where, facts, "copy or download the file again") from error

    @cached_property
    def _has_sums(self) -> bool:
        """Whether members have checksums: torch can leave them out, and then they are 0 throughout."""
        return self.archive is not None and any(info.CRC for info in self.archive.infolist())

    def _stored(self, info: zipfile.ZipInfo) -> memoryview:
        """The bytes of a member that is not packed. Raises ValueError where they are damaged, or fewer."""
        at = info.header_offset
        header = self.view[at : at + _LOCAL_HEADER]
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        begin = at + _LOCAL_HEADER + lengths
        data = self.view[begin : begin + info.file_size]
        if bytes(header[:4]) != b"PK\x03\x04" or len(data) != info.file_size:
            raise ValueError("the file is too short")
        if self._has_sums and zlib.crc32(data) != info.CRC:
            raise ValueError("its bytes do not have their checksum")
        # Torch has storages begin where any number may; those of a zip that others wrote are copied there.
        return data if begin % 8 == 0 else memoryview(bytearray(data))


def read(path: Path) -> Content:
    """A file's content. Raises ModelFileError where there is none."""
    stream = io.BytesIO()
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ModelFileError(str(path), "is no ordinary file", ANOTHER)
            shutil.copyfileobj(file, stream, 2**22)
    except IsADirectoryError as error:
        raise ModelFileError(str(path), "is a folder", "name the file in it") from error
    except (OSError, ValueError) as error:
        facts = f"cannot be read ({getattr(error, 'strerror', None) or error})"
        raise ModelFileError(str(path), facts, "check the path") from error
    if not stream.tell():
        raise ModelFileError(str(path), "is empty", "copy or download the file again")
    stream.seek(0)
    return Content(str(path), stream)


def content_of(data: bytes | bytearray | memoryview, where: str) -> Content:
    """The content of a file within another one."""
    return Content(where, io.BytesIO(data))


def unknown(content: Content) -> ModelFileError:
    """The error for a file that no format knows: what it looks like, and what to do."""
    start = content.start
    known = next((kind for kind in _KINDS if start.startswith(kind.magic, kind.start)), None)
    if known is not None:
        return ModelFileError(content.where, f"is {known.words}", known.remedy)
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start):
        lines = start.decode().strip().splitlines() or [""]
        return ModelFileError(content.where, f"is a text file that starts {lines[0][:40]!r}", ANOTHER)
    size = len(content.view)
    return ModelFileError(content.where, f"is {size:,} bytes that start {start[:8].hex(' ')}", ANOTHER)


# ---- written -----------------------------------------------------------------------------------------------------
def packed(members: Mapping[str, bytes | memoryview]) -> bytes:
    """A zip of members that are not packed, each at a multiple of 64 bytes, as torch writes and maps them."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            begin = stream.tell() + _LOCAL_HEADER + len(name.encode()) + 4  # 4: kind and length of the extra field
            # From 4 GB on zipfile itself adds an extra field of 20 bytes with the long sizes.
            begin += 20 if len(data) > 2**31 else 0
            room = -begin % _ALIGNED
            info.extra = b"FB" + room.to_bytes(2, "little") + bytes(room)
            archive.writestr(info, data)
    return stream.getvalue()


def check_writable(path: Path) -> None:
    """Raise OutputFileError where a file of this name could not be written: before any work is done for it."""
    with _explained(path):
        if path.is_dir():
            raise OutputFileError(str(path), "is a folder", "name a file")
        if not path.parent.is_dir():
            raise OutputFileError(str(path), f"the folder {path.parent} does not exist", "create it first")
        if path.exists() and not path.is_file():
            raise OutputFileError(str(path), "is no ordinary file", "name another file")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise OutputFileError(str(path), f"the folder {path.parent} is read-only", "name another folder")
        with contextlib.suppress(FileNotFoundError):
            path.stat()  # raises for a name that is too long, or a circle of links


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all. Raises OutputFileError."""
    check_writable(path)
    target = Path(os.path.realpath(path))  # a link stays a link
    with _explained(path):
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_umask()
        handle, name = tempfile.mkstemp(prefix=".chiralize-", suffix=".tmp", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(mode)
            Path(name).replace(target)
        finally:
            Path(name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # a folder that may be written to and not read; the file is there
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _umask() -> int:
    """The bits that new files of this process don't get. The system tells them only by setting others."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What the system says of a target, as OutputFileError."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        number = getattr(error, "errno", None)
        remedy = "make room, or name another disk" if number in (errno.ENOSPC, errno.EDQUOT) else "name another file"
        facts = f"cannot be written ({getattr(error, 'strerror', None) or error})"
        raise OutputFileError(str(path), facts, remedy) from error
