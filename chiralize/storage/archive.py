"""Zip archives: read once into memory under strict rules, and written anew for the library that loads them.

Two zip readers can disagree about the same bytes (duplicate names, data before or behind the archive).  So the members
that were checked are packed into a fresh archive, and only that archive is handed to torch.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping

from chiralize.errors import ModelFileError, UnsafeFileError

MAX_TOTAL_BYTES = 64 << 30
MAX_MEMBER_RATIO = 1000
LARGE_MEMBER_BYTES = 1 << 30
_REMEDY_BROKEN = "copy or download the file again; if it was written by torch, save it again."
_REMEDY_HOSTILE = "do not use this file; ask its author for one written by an ordinary save."


def open_archive(data: bytes, where: str) -> zipfile.ZipFile:
    """The zip archive held by `data`, its directory checked.  Raises ModelFileError, UnsafeFileError."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise ModelFileError(
            where,
            f"starts like a zip archive of {len(data):,} bytes, but its directory cannot be read ({error}); "
            "the file is truncated or damaged",
            _REMEDY_BROKEN,
        ) from error
    _check_directory(archive, len(data), where)
    return archive


def _check_directory(archive: zipfile.ZipFile, file_size: int, where: str) -> None:
    members = archive.infolist()
    seen: dict[str, str] = {}
    for member in members:
        name = member.filename
        if _escapes(name):
            raise UnsafeFileError(where, f"member {name!r} would be written outside its folder", _REMEDY_HOSTILE)
        if name.casefold() in seen:
            facts = f"two members bear the name {name!r}, so that two readers would see two different files"
            raise UnsafeFileError(where, facts, _REMEDY_HOSTILE)
        seen[name.casefold()] = name
        if member.flag_bits & 0x1:
            raise ModelFileError(where, f"member {name!r} is encrypted", "store the file without a password.")
        ratio = member.file_size / max(member.compress_size, 1)
        if member.file_size > LARGE_MEMBER_BYTES and ratio > MAX_MEMBER_RATIO:
            facts = f"member {name!r} unpacks {member.compress_size:,} bytes to {member.file_size:,} (a zip bomb)"
            raise UnsafeFileError(where, facts, _REMEDY_HOSTILE)
    total = sum(member.file_size for member in members)
    if total > MAX_TOTAL_BYTES:
        facts = f"{len(members)} members unpack to {total:,} bytes, limit {MAX_TOTAL_BYTES:,}"
        raise UnsafeFileError(where, facts, _REMEDY_HOSTILE)
    packed = sum(member.compress_size for member in members)
    if packed > file_size:
        facts = f"members claim {packed:,} packed bytes in a file of {file_size:,}: they overlap"
        raise UnsafeFileError(where, facts, _REMEDY_HOSTILE)


def _escapes(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in name


def read_members(archive: zipfile.ZipFile, where: str) -> dict[str, bytes]:
    """All members by name, in file order.  Raises ModelFileError on damage."""
    members: dict[str, bytes] = {}
    for info in archive.infolist():
        if info.is_dir():
            continue
        try:
            members[info.filename] = archive.read(info)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError) as error:
            facts = f"member {info.filename!r} cannot be read ({error}); the file is truncated or damaged"
            raise ModelFileError(where, facts, _REMEDY_BROKEN) from error
    return members


def without_root(members: Mapping[str, bytes], where: str) -> tuple[str, dict[str, bytes]]:
    """The single top folder that torch puts all members in, and the members named relative to it."""
    roots = {name.split("/", 1)[0] for name in members if "/" in name}
    loose = [name for name in members if "/" not in name]
    if len(roots) != 1 or loose:
        found = ", ".join(sorted(roots) + loose) or "nothing"
        facts = f"torch puts all members into one folder; this archive holds {found} at the top"
        raise ModelFileError(where, facts, "give the file that torch wrote, not an archive made by hand.")
    root = roots.pop()
    return root, {name[len(root) + 1 :]: data for name, data in members.items()}


def pack(members: Mapping[str, bytes], root: str = "archive") -> io.BytesIO:
    """A fresh uncompressed archive of the members below one folder, rewound."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(f"{root}/{name}", data)
    buffer.seek(0)
    return buffer
