"""The format of a file, judged from its content and never from its suffix."""

from __future__ import annotations

import io
import json
import pickletools
import struct
from pathlib import Path
from typing import BinaryIO, Literal

from chiralize.errors import ModelFileError
from chiralize.storage.archive import open_archive
from chiralize.storage.files import ARCHIVE_STARTS, open_file
from chiralize.storage.unpickle import foreign_globals, legacy_torch_stream

Format = Literal["pt2", "torchscript", "state_dict", "pickled_module", "safetensors", "npy", "npz", "onnx", "unknown"]

_ONNX_GRAPH, _ONNX_VERSIONS = 7, {1, 8}
_ONNX_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, _ONNX_GRAPH: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}  # to wire types

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


def sniff(path: Path | str) -> Format:
    """Format of a model or array file, from its content.

    Raises ModelFileError when the file is missing, a folder, empty, unreadable or a damaged archive, and
    UnsafeFileError when an archive is built to deceive its reader.
    """
    with open_file(path) as file:
        return sniff_file(file, str(path))


def sniff_bytes(data: bytes, where: str) -> Format:
    """The format of content that was read already; raises as `sniff` does."""
    return sniff_file(io.BytesIO(data), where)


def sniff_file(file: BinaryIO, where: str) -> Format:
    """The format of an open file; raises as `sniff` does.  Of a zip archive no more is read than must be."""
    file.seek(0)
    if file.read(4) in ARCHIVE_STARTS:
        return _sniff_zip(file, where)
    file.seek(0)
    data = file.read()
    if data[:6] == b"\x93NUMPY":
        return "npy"
    if _is_safetensors(data):
        return "safetensors"
    if data[:1] == b"\x80" and data[1:2] in (b"\x01", b"\x02", b"\x03", b"\x04", b"\x05"):
        return _sniff_pickle(data)
    if _is_onnx(data):
        return "onnx"
    return "unknown"


def _sniff_zip(file: BinaryIO, where: str) -> Format:
    archive = open_archive(file, where)
    names = archive.namelist()
    inner = {name.split("/", 1)[1] for name in names if "/" in name}
    if "archive_format" in inner or "serialized_exported_program.json" in names:
        return "pt2"
    if any(name.startswith("code/") for name in inner) or "constants.pkl" in inner:
        return "torchscript"
    if "data.pkl" in inner:
        member = next(name for name in names if name.split("/", 1)[1:] == ["data.pkl"])
        try:
            foreign = foreign_globals(archive.read(member))
        except (ValueError, OSError, RuntimeError):
            return "state_dict"
        return "pickled_module" if foreign else "state_dict"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    return "unknown"


def _sniff_pickle(data: bytes) -> Format:
    """Torch files older than the zip layout, and bare pickles."""
    try:
        foreign = foreign_globals(legacy_torch_stream(data))
    except ValueError:
        return "pickled_module" if _has_globals(data) else "unknown"
    return "pickled_module" if foreign else "state_dict"


def _has_globals(data: bytes) -> bool:
    try:
        return any(op.name in ("GLOBAL", "STACK_GLOBAL", "INST") for op, _, _ in pickletools.genops(data))
    except Exception:  # pickletools raises many kinds on damaged bytes
        return False


def _is_safetensors(data: bytes) -> bool:
    if len(data) < 10 or data[8:9] != b"{":
        return False
    (size,) = struct.unpack("<Q", data[:8])
    return 2 <= size <= 100_000_000


def _is_onnx(data: bytes) -> bool:
    """Whether these are the fields of an ONNX ModelProto, a graph among them; a file cut short goes by its start."""
    has_version = data[:1] == b"\x08" and 1 <= (data[1:2] or b"\0")[0] < 0x20
    if has_version and data[2:3] in (b"\x12", b"\x1a", b"\x3a", b"\x42"):
        return True  # ir_version, then the producer, the graph or the operator sets
    position, seen = 0, set()
    while position < len(data):
        tag, position = _varint(data, position)
        field, wire = tag >> 3, tag & 7
        if _ONNX_FIELDS.get(field) != wire:
            return False
        seen.add(field)
        number, position = _varint(data, position)
        if wire == 2:  # the number is the length of what follows
            position += number
    return position == len(data) and _ONNX_GRAPH in seen and bool(seen & _ONNX_VERSIONS)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A protobuf number and the position after it; past the end, a tag that no field has."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        value |= (data[position] & 0x7F) << shift
        position += 1
        if data[position - 1] < 0x80:
            return value, position
    return 0, len(data) + 1


def safetensors_header(data: bytes, where: str) -> dict:
    """The JSON header of a safetensors file.  Raises ModelFileError."""
    (size,) = struct.unpack("<Q", data[:8])
    if 8 + size > len(data):
        facts = f"safetensors header of {size:,} bytes in a file of {len(data):,}: the file is truncated"
        raise ModelFileError(where, facts, "copy or download the file again.")
    try:
        header = json.loads(data[8 : 8 + size])
    except (ValueError, RecursionError) as error:
        facts = f"safetensors header is not valid JSON ({error})"
        raise ModelFileError(where, facts, "copy or download the file again.") from error
    if not isinstance(header, dict):
        raise ModelFileError(where, "safetensors header is not a table", "copy or download the file again.")
    return header


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
