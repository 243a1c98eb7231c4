"""Model and array files, opened for reading, with messages for whoever named them.

A zip archive stays on the disk, since it may be as large as the memory and is read member by member; anything else is
read at once.  Every OSError leaves as ModelFileError with what to do: the nearest name in the folder, the command that
downloads what an address names, the permissions.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from chiralize.errors import ModelFileError
from chiralize.storage.suffixes import OF_ARRAYS, OF_MODELS

ARCHIVE_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
CHUNK = 1 << 20
"""Bytes that are read at a time where a whole file need not be in memory."""
_ADDRESS = re.compile(r"(https?|ftp|s3|gs):/+([\w./%~+@:=&?-]+)")
_NO_DATA = (".py", ".pyc", ".ipynb", ".sh", ".md", ".rst", ".txt", ".log", ".yaml", ".yml")
"""Files beside a model that are none: they are no likely names for one that is missing."""
_ON_HUB = re.compile(r"[A-Za-z0-9][\w-]*/[A-Za-z0-9][\w-]*")


def open_file(path: Path | str) -> BinaryIO:
    """A file open for reading, at its start: a zip archive as it lies on the disk, anything else in memory.

    Raises ModelFileError.
    """
    path = Path(path)
    with readable(path):
        # To open a pipe would wait for somebody to write to it.
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ModelFileError(str(path), "is a device or a pipe, not a file", "copy its content to a file first.")
        file = path.open("rb")
        archived = file.read(4) in ARCHIVE_STARTS  # the second is that of an empty archive
        file.seek(0)
        if archived:
            return file
        with file:
            data = file.read()
    if not data:
        raise ModelFileError(str(path), "is empty (0 bytes)", "copy or download the file again.")
    return io.BytesIO(data)


def read_file(path: Path | str) -> bytes:
    """The whole file.  Raises ModelFileError."""
    with open_file(path) as file:
        return content_of(file, path)


def content_of(file: BinaryIO, path: Path | str) -> bytes:
    """All of an open file.  Raises ModelFileError."""
    with readable(path):
        file.seek(0)
        return file.read()


def digest_of(file: BinaryIO, path: Path | str) -> str:
    """SHA-256 of an open file.  Raises ModelFileError."""
    digest = hashlib.sha256()
    with readable(path):
        file.seek(0)
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def unchanged(file: BinaryIO, path: Path | str) -> Iterator[None]:
    """Raise ModelFileError if the file is written to meanwhile: its parts would not belong together."""
    before = _last_written(file)
    yield
    if _last_written(file) != before:
        remedy = "wait until it is complete, then try again."
        raise ModelFileError(str(path), "was written to while it was read", remedy)


def _last_written(file: BinaryIO) -> tuple[int, int]:
    """Size and time of the last change, nanoseconds; of a file in memory always the same."""
    if isinstance(file, io.BytesIO):
        return 0, 0
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


@contextmanager
def readable(path: Path | str) -> Iterator[None]:
    """Turn failures to open or read the file meanwhile into ModelFileError."""
    path = Path(path)
    # Memory, too: a file may be larger than it.
    try:
        yield
    except FileNotFoundError as error:
        raise ModelFileError(
            str(path), "no such file", _elsewhere(path) or f"check the path{_near_names(path)}."
        ) from error
    except IsADirectoryError as error:
        raise ModelFileError(str(path), "is a folder, not a file", "name the model file inside it.") from error
    except (OSError, MemoryError) as error:
        if isinstance(error, OSError):
            cause = error.strerror
        else:
            cause = "larger than the memory of this machine"
        raise ModelFileError(str(path), f"cannot be read ({cause})", "check its permissions and its size.") from error


def _elsewhere(path: Path) -> str:
    """How to get what an address or a name on a hub stands for; "" for a path of this machine.

    Path takes one slash of `https://`, so that any number of them is looked for.
    """
    if address := _ADDRESS.fullmatch(str(path)):
        return f"nothing is downloaded here; download it first, and give the file: curl -LO {address[1]}://{address[2]}"
    name = str(path).removeprefix("hf:/")
    if _ON_HUB.fullmatch(name) and not path.parent.exists():
        return f"check the path; a name on the Hugging Face hub is downloaded by: hf download {name} --local-dir MODEL"
    return ""


def _could_be(path: Path, neighbour: Path) -> bool:
    """Whether a file could be the one that a path was to name, by the end of its name: an array is no source code."""
    kinds = [kind for kind in (OF_MODELS, OF_ARRAYS) if path.suffix in kind]
    if not kinds:
        return neighbour.suffix not in _NO_DATA
    return any(neighbour.suffix in kind for kind in kinds)


def _near_names(path: Path) -> str:
    """The most similar name in the folder, for a message; "" where none is similar."""
    if not path.parent.is_dir():
        return f"; the folder {str(path.parent)!r} does not exist either"
    import difflib

    names = [neighbour.name for neighbour in path.parent.iterdir() if _could_be(path, neighbour)]
    near = difflib.get_close_matches(path.name, names, n=1)
    if near:
        return f"; nearest name there: {near[0]!r}"
    return ""
