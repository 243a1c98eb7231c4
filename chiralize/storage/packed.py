"""Models inside a compressed file or an archive: nothing is unpacked here, the error has the commands that do it.

Compressed files would be one more kind of file to defend against bombs, and the shell has tools for them (decision
0067). `load` asks where no format knows a file. Of `net.tar.gz` with `best.pt` in it the remedy is

    tar -xf net.tar.gz
    chiralize convert best.pt --skeleton h36m
"""

from __future__ import annotations

import bz2
import io
import lzma
import shlex
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from chiralize.errors import ModelFileError
from chiralize.errors.words import listed
from chiralize.storage.content import Content
from chiralize.storage.format import Wanted
from chiralize.storage.missing import command_on
from chiralize.storage.suffixes import OF_MODELS

_HEAD = 1 << 16
"""Bytes that are read of a compressed file, and bytes that are unpacked of them."""
_SHOWN = 3


class _Packing(NamedTuple):
    """A kind of compressed file.

    words: what it is.  unpack: the command, which keeps the file.  decompressor: None where there is none here.
    """

    magic: bytes
    words: str
    unpack: str
    decompressor: Callable[[], Any] | None


_PACKINGS = (
    _Packing(b"\x1f\x8b", "gzip", "gzip -dk", lambda: zlib.decompressobj(31)),
    _Packing(b"\xfd7zXZ\x00", "xz", "xz -dk", lzma.LZMADecompressor),
    _Packing(b"BZh", "bzip2", "bzip2 -dk", bz2.BZ2Decompressor),
    _Packing(b"\x28\xb5\x2f\xfd", "zstd", "zstd -dk", None),
)


def packed_model(content: Content, wanted: Wanted) -> ModelFileError | None:
    """The error for a compressed file or an archive, with the commands to type instead; None for anything else.

    Of what is compressed no more than the first 64 KiB are looked at.
    """
    if content.is_zip:
        names = [name for name in content.names if _is_model(name)]
        if not names:
            return None
        return _of_archive(content, wanted, "a zip archive", f"unzip {_quoted(content)}", names)
    packing = next((kind for kind in _PACKINGS if content.data.startswith(kind.magic)), None)
    head = _head(content.data, packing) if packing else content.data
    if head[257:262] == b"ustar":  # where the first header of a tar archive has its magic word
        words = f"a tar archive packed by {packing.words}" if packing else "a tar archive"
        return _of_archive(content, wanted, words, f"tar -xf {_quoted(content)}", _names_in_tar(head))
    if packing is None:
        return None
    # One compressed file, `net.pt.gz`: its name without the last suffix is what the command will write.
    if content.path.suffix:
        inside = content.path.with_suffix("")
    else:
        inside = content.path.with_name("UNPACKED")
    remedy = f"unpack it first:\n    {packing.unpack} {_quoted(content)}\n    {command_on(content, wanted, inside)}"
    return ModelFileError(content.where, f"is packed by {packing.words}", remedy)


def _quoted(content: Content) -> str:
    """The path as a shell takes it."""
    return shlex.quote(content.where)


def _is_model(name: str) -> bool:
    """Whether a member may be a model: by its suffix, and lying inside the archive's folder."""
    # The name goes into a command that the user is to type.
    path = PurePosixPath(name)
    return path.suffix in OF_MODELS and name.isprintable() and not path.is_absolute() and ".." not in path.parts


def _of_archive(content: Content, wanted: Wanted, words: str, unpack: str, names: list[str]) -> ModelFileError:
    """The error for an archive, with a command for each of the first models in it.  names: of its members."""
    names = [name for name in names if _is_model(name)]
    lines = [f"    {command_on(content, wanted, Path(name))}" for name in names[:_SHOWN]]
    lines = lines or [f"    {command_on(content, wanted, Path('MODEL'))}"]
    facts = f"is {words}"
    if names:
        facts += f" with {listed(names, _SHOWN)}"
    return ModelFileError(content.where, facts, "\n".join([f"unpack it first:\n    {unpack}", *lines]))


def _head(data: bytes, packing: _Packing) -> bytes:
    """The first bytes of the packed content; none where it is damaged, or cannot be unpacked here."""
    if packing.decompressor is None:
        return b""
    try:
        return packing.decompressor().decompress(data[:_HEAD], _HEAD)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
        return b""


def _names_in_tar(head: bytes) -> list[str]:
    """The names of the files at the beginning of a tar archive."""
    names: list[str] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(head), mode="r:") as archive:
            names += (member.name for member in iter(archive.next, None) if member.isfile())
    except (tarfile.TarError, OSError, ValueError, EOFError):
        pass  # the beginning ends in the middle of a member
    return names
