"""The format of a file, judged from its content and never from its suffix."""

from __future__ import annotations

from pathlib import Path

from chiralize.storage.content import Content, is_folder, opened
from chiralize.storage.registry import format_of

_KNOWN_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a git-lfs pointer, not the file itself (run `git lfs pull`)"),
    (b"<!DOCTYPE", "a web page (the download failed or needs a login)"),
    (b"<!doctype", "a web page (the download failed or needs a login)"),
    (b"<html", "a web page (the download failed or needs a login)"),
    (b"\x89HDF", "an HDF5 file (Keras or MATLAB 7.3)"),
    (b"MATLAB", "a MATLAB .mat file"),
    (b"\x1f\x8b", "a gzip archive (unpack it first)"),
    (b"7z\xbc\xaf", "a 7-zip archive (unpack it first)"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF document"),
    (b"\x7fELF", "a compiled program or library"),
)


def sniff(path: Path | str) -> str:
    """Name of the format of a model or array file, from its content; "unknown" where there is none.

    Raises ModelFileError when the file is missing, a folder, empty, unreadable or a damaged archive, and
    UnsafeFileError when an archive is built to deceive its reader.
    """
    content = opened(Path(path))
    if content.file is None:
        return _name(content)
    with content.file:
        return _name(content)


def _name(content: Content) -> str:
    record = format_of(content)
    if record is None and content.file is None:
        raise is_folder(content)
    return record.name if record else "unknown"


def describe(data: bytes) -> str:
    """A few words on what unrecognised content looks like, for a message."""
    for magic, text in _KNOWN_OTHERS:
        if data.startswith(magic):
            return text
    head = data[:512]
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        first = head.decode().strip().splitlines()
        return f"a text file starting {first[0][:40]!r}" if first else "a text file of blank lines"
    if data[:1] == b"\x80":
        return f"a damaged or truncated pickle of {len(data):,} bytes"
    return f"{len(data):,} bytes of an unknown kind starting {data[:8].hex(' ')}"
