"""Zip archives: read member by member under strict rules, and written anew for the library that loads them.

Two zip readers can disagree about the same bytes (duplicate names, data before or behind the archive), and a file can
change between two looks at it.  So every member that is judged is read once, what was read is packed into a fresh
archive that nobody else can write to, and only that archive is handed to torch.

    open_archive    the directory is checked: names, sizes, overlaps          -> zipfile.ZipFile
    members_of      the files below torch's one top folder                    -> Members, read one by one
    pack            what the caller adds, uncompressed                        -> an open file for torch
"""

from __future__ import annotations

import io
import lzma
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO

from chiralize.errors import ModelFileError, UnsafeFileError
from chiralize.storage.files import CHUNK

MAX_TOTAL_BYTES = 64 << 30
"""Bytes that an archive may unpack to."""
MAX_MEMBER_RATIO = 1000
MAX_TOTAL_RATIO = 100
"""By how much a member, and a whole archive, may grow when it is unpacked, where that makes it large."""
LARGE_MEMBER_BYTES = 1 << 30
IN_MEMORY = 1 << 24
"""Bytes up to which a checked copy is kept in memory."""
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError, MemoryError)
_REMEDY_BROKEN = "copy or download the file again; if it was written by torch, save it again."
_REMEDY_HOSTILE = "do not use this file; ask its author for one written by an ordinary save."


def open_archive(source: bytes | BinaryIO, where: str) -> zipfile.ZipFile:
    """The zip archive that the source holds, its directory checked.  Raises ModelFileError, UnsafeFileError."""
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    size = file.seek(0, os.SEEK_END)
    try:
        archive = zipfile.ZipFile(file)
    except _DAMAGE as error:
        raise ModelFileError(
            where,
            f"starts like a zip archive of {size:,} bytes, but its directory cannot be read ({error}); "
            "the file is truncated or damaged",
            _REMEDY_BROKEN,
        ) from error
    _check_directory(archive, size, where)
    _leave_out_missing_checksums(archive)
    return archive


def _leave_out_missing_checksums(archive: zipfile.ZipFile) -> None:
    """Members of a file that torch wrote without checksums (`set_crc32_options(False)`: 0 throughout) are not held to
    them.
    """
    # zipfile compares sums only where a record has one.
    infos = archive.infolist()
    if not any(info.CRC for info in infos):
        for info in infos:
            del info.CRC


def _check_directory(archive: zipfile.ZipFile, file_size: int, where: str) -> None:
    """Refuse names and sizes that only a hostile archive has.  Raises UnsafeFileError; ModelFileError for encryption.

    All of this is read off the directory, before any member is unpacked.
    """
    members = archive.infolist()
    seen: dict[str, str] = {}
    for member in members:
        name = member.filename
        if _escapes(name):
            raise UnsafeFileError(where, f"member {name!r} would be written outside its folder", _REMEDY_HOSTILE)
        if name.casefold() in seen:  # `A` and `a` are one file for readers on Windows and macOS
            facts = f"two members bear the name {name!r}, so that two readers would see two different files"
            raise UnsafeFileError(where, facts, _REMEDY_HOSTILE)
        seen[name.casefold()] = name
        if member.flag_bits & 0x1:
            raise ModelFileError(where, f"member {name!r} is encrypted", "store the file without a password.")
        # Small bombs do no harm, and weights that are all 0 are packed well.
        ratio = member.file_size / max(member.compress_size, 1)
        if member.file_size > LARGE_MEMBER_BYTES and ratio > MAX_MEMBER_RATIO:
            facts = f"member {name!r} unpacks {member.compress_size:,} bytes to {member.file_size:,} (a zip bomb)"
            raise UnsafeFileError(where, facts, _REMEDY_HOSTILE)
    total = sum(member.file_size for member in members)
    if total > MAX_TOTAL_BYTES:
        facts = f"{len(members)} members unpack to {total:,} bytes, limit {MAX_TOTAL_BYTES:,}"
        raise UnsafeFileError(where, facts, _REMEDY_HOSTILE)
    if total > LARGE_MEMBER_BYTES and total > MAX_TOTAL_RATIO * file_size:
        facts = f"{len(members)} members unpack {file_size:,} bytes to {total:,} (a zip bomb)"
        raise UnsafeFileError(where, facts, _REMEDY_HOSTILE)
    # Overlapping members unpack the same bytes many times, each by a harmless ratio.
    packed = sum(member.compress_size for member in members)
    if packed > file_size:
        facts = f"members claim {packed:,} packed bytes in a file of {file_size:,}: they overlap"
        raise UnsafeFileError(where, facts, _REMEDY_HOSTILE)


def _escapes(name: str) -> bool:
    """Whether a name leads out of the folder that it is unpacked into, by the rules of Unix or of Windows."""
    parts = name.replace("\\", "/").split("/")
    return name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in name


class Members(Mapping[str, bytes]):
    """The files of an archive by name, in its order, each read when it is asked for.  Raises ModelFileError on damage.

    root: the folder that they are in, which their names leave out.
    """

    def __init__(self, archive: zipfile.ZipFile, where: str, root: str = "") -> None:
        self._archive, self._where, self.root = archive, where, root
        self._infos = {info.filename[len(root) :]: info for info in archive.infolist() if not info.is_dir()}
        self.size = sum(info.file_size for info in self._infos.values())

    def __getitem__(self, name: str) -> bytes:
        info = self._infos[name]
        with self._undamaged(info):
            return self._archive.read(info)

    def size_of(self, name: str) -> int:
        """Bytes of `self[name]`, as the archive's directory says."""
        return self._infos[name].file_size

    def size_if_there(self, name: str) -> int | None:
        """As `size_of`, but None where there is no such member."""
        if name not in self:
            return None
        return self.size_of(name)

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of `self[name]`, piece by piece, so that none but one piece is in memory."""
        info = self._infos[name]
        with self._undamaged(info), self._archive.open(info) as stream:
            while chunk := stream.read(CHUNK):
                yield chunk

    def check(self, but: Container[str] = ()) -> None:
        """Read every member to its checksum, but for some.  Raises ModelFileError for the first that is damaged."""
        for name in self:
            if name not in but:
                for _ in self.chunks(name):
                    pass

    def __iter__(self) -> Iterator[str]:
        return iter(self._infos)

    def __len__(self) -> int:
        return len(self._infos)

    def __contains__(self, name: object) -> bool:  # that of Mapping would read the member
        return name in self._infos

    @contextmanager
    def _undamaged(self, info: zipfile.ZipInfo) -> Iterator[None]:
        """Turn failures to unpack the member meanwhile into ModelFileError."""
        try:
            yield
        except _DAMAGE as error:
            facts = f"member {info.filename!r} cannot be read ({error}); the file is truncated or damaged"
            raise ModelFileError(self._where, facts, _REMEDY_BROKEN) from error


def members_of(archive: zipfile.ZipFile, where: str) -> Members:
    """The members below the single top folder that torch puts all of them in.  Raises ModelFileError."""
    names = [info.filename for info in archive.infolist() if not info.is_dir()]
    roots = {name.split("/", 1)[0] for name in names if "/" in name}
    loose = [name for name in names if "/" not in name]
    if len(roots) != 1 or loose:
        at_the_top = ", ".join(sorted(roots) + loose) or "nothing"
        facts = f"torch puts all members into one folder; this archive holds {at_the_top} at the top"
        raise ModelFileError(where, facts, "give the file that torch wrote, not an archive made by hand.")
    return Members(archive, where, f"{roots.pop()}/")


class Packer:
    """Writes the members of a fresh archive, below one folder."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def add(self, name: str, data: bytes) -> None:
        """Write a member with this content."""
        self._archive.writestr(f"archive/{name}", data)

    def copy(self, name: str, members: Members) -> None:
        """Write the member of this name as it is, piece by piece: it may be as large as the memory."""
        info = zipfile.ZipInfo(f"archive/{name}")
        with self._archive.open(info, "w", force_zip64=True) as target:
            for chunk in members.chunks(name):
                target.write(chunk)


def pack(fill: Callable[[Packer], None], size: int, where: str) -> BinaryIO:
    """The fresh uncompressed archive that `fill` writes, rewound.  Raises ModelFileError.

    size: of its content, roughly.  A large one lies in a temporary file that has no name, so that it is nobody else's
    and goes when it is closed.
    """
    try:
        file = tempfile.TemporaryFile() if size > IN_MEMORY else io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            fill(Packer(archive))
        file.seek(0)
        return file
    except OSError as error:
        facts = f"is checked in a temporary copy of {size:,} bytes, which cannot be written ({error.strerror or error})"
        remedy = "free some space there, or name a folder that has it: TMPDIR=/path/to/folder."
        raise ModelFileError(where, facts, remedy) from error
