"""What lies at a path, looked at only as far as somebody asks, and without running any of it.

Formats recognise a file by its content, one after the other (`registry.format_of`).  Each asks for what it needs: the
first bytes, the names in an archive, the keys of a pickle.  Every answer is kept, so that it is found once:

    names      members of a zip archive, files right in a folder        archive/data.pkl
    inner      members below the top folder of torch                    data.pkl
    pickled    the pickle of a file of torch, of either layout          bytes
    tree       what that pickle holds, with stand-ins                   {"state_dict": {...}, "epoch": 3}
    keys       the texts among the keys of that                         state_dict, epoch
    foreign    names that it imports beside those of tensors            pytorch_lightning.callbacks...
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from chiralize.errors import ModelFileError
from chiralize.storage.archive import open_archive
from chiralize.storage.files import ARCHIVE_STARTS, content_of, digest_of, open_file, readable
from chiralize.storage.inert import inert_tree
from chiralize.storage.unpickle import foreign_globals, legacy_torch_stream

WEIGHTS = (".safetensors", ".bin")
"""How names of files of weights in a folder end."""
_PICKLE_STARTS = tuple(b"\x80" + bytes([version]) for version in range(1, 6))


class Content:
    """A file or a folder.  path: where it is.  file: open at any position, None for a folder."""

    def __init__(self, path: Path, file: BinaryIO | None) -> None:
        self.path, self.file, self.where = path, file, str(path)

    @cached_property
    def data(self) -> bytes:
        """All of the file.  Raises ModelFileError."""
        if self.file is None:
            raise is_folder(self)
        return content_of(self.file, self.path)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file; of a folder, of the names and digests of the files of weights right in it."""
        if self.file is not None:
            return digest_of(self.file, self.path)
        # Other files of a folder may change (a README, the certificate itself) without it being another network.
        total = hashlib.sha256()
        for name in self.names:
            if not name.endswith(WEIGHTS):
                continue
            with open_file(self.path / name) as file:
                total.update(f"{name}\0{digest_of(file, self.path / name)}\n".encode())
        return total.hexdigest()

    @cached_property
    def is_zip(self) -> bool:
        """Whether the file is a zip archive."""
        if self.file is None:
            return False
        self.file.seek(0)
        return self.file.read(4) in ARCHIVE_STARTS

    @cached_property
    def archive(self) -> zipfile.ZipFile:
        """The zip archive, its directory checked.  Raises ModelFileError, UnsafeFileError."""
        return open_archive(self.file or io.BytesIO(self.data), self.where)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the members of a zip archive, or of the files right in a folder but our own; else none."""
        if self.file is None:
            with readable(self.path):
                files = [path.name for path in self.path.iterdir() if path.is_file()]
            # Our certificate is no part of the model: it holds the digest of the rest.
            return tuple(sorted(name for name in files if not name.endswith("chirality.json")))
        if self.is_zip:
            return tuple(self.archive.namelist())
        return ()

    @cached_property
    def inner(self) -> frozenset[str]:
        """Names of the members, without the top folder that torch puts them in."""
        return frozenset(name.split("/", 1)[1] for name in self.names if "/" in name)

    @cached_property
    def pickled(self) -> bytes | None:
        """The pickle of a torch file, which says what it holds; None where it is none, or cannot be read."""
        if self.file is None:
            return None
        # Damage is no error here: a format that knows the file by other marks says what is wrong with it.
        if not self.is_zip:
            try:
                if not self.starts_like_pickle:
                    return None
                return legacy_torch_stream(self.data)
            except ValueError:
                return None
        # In a zip archive it lies in torch's one top folder, whatever that is called.
        for name in self.names:
            if name.split("/", 1)[1:] == ["data.pkl"]:
                try:
                    return self.archive.read(name)
                except (OSError, RuntimeError, ValueError, zipfile.BadZipFile, EOFError):
                    return None
        return None

    @cached_property
    def starts_like_pickle(self) -> bool:
        """Whether the file starts as a pickle does."""
        return self.file is not None and not self.is_zip and self.data[:2] in _PICKLE_STARTS

    @cached_property
    def foreign(self) -> tuple[str, ...]:
        """Names that the pickle of a torch file imports beside those of tensors and containers."""
        if self.pickled is None:
            return ()
        try:
            return tuple(foreign_globals(self.pickled))
        except ValueError:
            return ()

    @cached_property
    def tree(self) -> Any:
        """What the pickle of a torch file holds, see `inert_tree`; None where it cannot be read."""
        if self.pickled is None:
            return None
        try:
            return inert_tree(self.pickled, self.where)
        except ValueError:
            return None

    @cached_property
    def keys(self) -> frozenset[str]:
        """The texts among the keys of the table that a torch file holds."""
        if isinstance(self.tree, dict):
            return frozenset(key for key in self.tree if isinstance(key, str))
        return frozenset()


def is_folder(content: Content) -> ModelFileError:
    """The error for a folder where a file is wanted."""
    facts, names = "is a folder, not a file", ", ".join(content.names[:5]) or "no files"
    remedy = f"name the model file inside it ({names}); a folder of Hugging Face has a config.json and weights."
    return ModelFileError(content.where, facts, remedy)


def opened(path: Path) -> Content:
    """The content of a file or a folder, to be closed by whoever asked.  Raises ModelFileError."""
    if path.is_dir():
        return Content(path, None)
    return Content(path, open_file(path))


def content_of_bytes(data: bytes, where: str) -> Content:
    """What was read already.  Raises ModelFileError where it is nothing."""
    if not data:
        raise ModelFileError(where, "is empty (0 bytes)", "copy or download the file again.")
    return Content(Path(where), io.BytesIO(data))
