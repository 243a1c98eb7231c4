"""The format of a file, judged from its content and never from its suffix.

`load` asks `describe` and `remedy_for` where no format of ours knows a file: others are told by their magic bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from chiralize.storage.content import Content, is_folder, opened
from chiralize.storage.registry import format_of


class _Other(NamedTuple):
    """A kind of file that is no model of ours. magic: what it has at `start`.  remedy: what to give instead, or ""."""

    magic: bytes
    words: str
    remedy: str = ""
    start: int = 0


_COMPILED = "give what it was compiled from: the .pt2, the TorchScript file, the ONNX file or the weights."
_TENSORFLOW = "write it as ONNX, and give that: python -m tf2onnx.convert --{} FILE --output net.onnx"
_KNOWN_OTHERS = (
    _Other(b"version https://git-lfs", "a git-lfs pointer, not the file itself", "run `git lfs pull`."),
    _Other(b"<!DOCTYPE", "a web page (the download failed or needs a login)", "download the file again."),
    _Other(b"<!doctype", "a web page (the download failed or needs a login)", "download the file again."),
    _Other(b"<html", "a web page (the download failed or needs a login)", "download the file again."),
    _Other(b"\x89HDF", "an HDF5 file (Keras or MATLAB 7.3)", _TENSORFLOW.format("keras")),
    _Other(b"MATLAB", "a MATLAB .mat file"),
    _Other(b"\x1f\x8b", "packed by gzip", "unpack it first: gzip -dk FILE"),
    _Other(b"7z\xbc\xaf", "a 7-zip archive", "unpack it first: 7z x FILE"),
    _Other(b"\x89PNG", "a PNG image"),
    _Other(b"\xff\xd8\xff", "a JPEG image"),
    _Other(b"%PDF", "a PDF document"),
    _Other(b"\x7fELF", "a compiled program or library", _COMPILED),
    _Other(b"ftrt", "an engine of TensorRT, compiled for one kind of GPU", _COMPILED),
    _Other(b"TFL3", "a model of TensorFlow Lite", _TENSORFLOW.format("tflite"), start=4),
    _Other(b"ET12", "a program of ExecuTorch", _COMPILED, start=4),
    _Other(b"GGUF", "a GGUF file, whose weights are packed for one runtime", "give the safetensors it was made from."),
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
    """The name of the format of a content.  Raises ModelFileError for a folder that is no model."""
    record = format_of(content)
    if record is None and content.file is None:
        raise is_folder(content)
    return record.name if record else "unknown"


def remedy_for(data: bytes, otherwise: str) -> str:
    """What to do about content that is no model, where its kind is known."""
    other = _known(data)
    if other and other.remedy:
        return other.remedy
    return otherwise


def _known(data: bytes) -> _Other | None:
    """The kind of file that begins with these bytes, None where it is not in the table."""
    return next((other for other in _KNOWN_OTHERS if data.startswith(other.magic, other.start)), None)


def describe(data: bytes) -> str:
    """A few words on what unrecognised content looks like, for a message."""
    if other := _known(data):
        return other.words
    # A text shows its first line, which often says what went wrong; a pickle begins with the byte 0x80.
    head = data[:512]
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        first = head.decode().strip().splitlines()
        if first:
            return f"a text file starting {first[0][:40]!r}"
        return "a text file of blank lines"
    if data[:1] == b"\x80":
        return f"a damaged or truncated pickle of {len(data):,} bytes"
    return f"{len(data):,} bytes of an unknown kind starting {data[:8].hex(' ')}"
