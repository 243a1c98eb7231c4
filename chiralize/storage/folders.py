"""Folders of a model, written whole or not at all: filled under another name, then given their own.

Folders of Hugging Face go back as folders (`formats/huggingface.py`): the files of weights hold other numbers, all
other files are copied, and the certificate is one more. `out` is filled as `.out.0f3a9c1e.tmp` and renamed at the end.
Unlike a file a folder cannot be replaced at once, so that it has to be a new one.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from chiralize.errors import ModelFileError, OutputFileError
from chiralize.storage.content import Content
from chiralize.storage.format import Origin
from chiralize.storage.sidecar import CERTIFICATE, DIGEST_KEY

_BLOBS = "blobs"


def check_folder(target: Path) -> None:
    """Raise OutputFileError where no new folder can be made there."""
    if target.exists():
        raise OutputFileError(str(target), "exists already, and folders are not written over", "name a new folder.")
    if not target.absolute().parent.is_dir():
        facts = f"the folder {str(target.parent)!r} does not exist"
        raise OutputFileError(str(target), facts, f"create it: mkdir -p {target.parent}")


def write_folder(origin: Origin, files: Mapping[str, bytes], target: Path, sidecar: str) -> tuple[str, ...]:
    """A copy of the origin's folder in which these files hold something else; notes on what was left out.

    A link that leads out of the folder is not followed, but into the cache that Hugging Face keeps beside it: a copy
    could take along what was never part of the model.  Raises OutputFileError, ModelFileError.
    """
    check_folder(target)
    if target.absolute().resolve().is_relative_to(origin.path.resolve()):
        raise OutputFileError(str(target), f"is in {origin.path}, which is copied", "name a folder outside of it.")
    if Content(origin.path, None).digest != origin.digest:
        raise ModelFileError(str(origin.path), "was written to since it was read", "convert again.")
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        # The digest is taken of what was written: it is of the files of weights, see `Content.digest`.
        left_out = _copied(origin.path, unfinished, files)
        digest = Content(unfinished, None).digest
        table = {**json.loads(sidecar), DIGEST_KEY: digest}
        (unfinished / CERTIFICATE).write_text(json.dumps(table), encoding="utf-8")
        unfinished.rename(target)
    except OSError as error:
        facts = f"cannot be written ({error.strerror or error}); nothing was changed"
        raise OutputFileError(str(target), facts, "check the permissions, or choose another folder.") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    if left_out:
        return (f"left out {', '.join(left_out)}: links that lead out of the folder",)
    return ()


def _copied(source: Path, target: Path, files: Mapping[str, bytes]) -> list[str]:
    """Copy a folder but for some files, whose content is given; names of links that were left out."""
    left_out: list[str] = []
    target.mkdir()
    for folder, _, names in os.walk(source):
        inner = Path(folder).relative_to(source)
        (target / inner).mkdir(exist_ok=True)
        for name in sorted(names):
            path, copy = Path(folder) / name, target / inner / name
            if str(inner / name) in files:
                copy.write_bytes(files[str(inner / name)])
            # A link to a file outside could bring the user's own files into a folder that is handed on.
            elif not path.is_file() or (path.is_symlink() and not _is_inside(path, source)):
                left_out.append(str(inner / name))
            else:
                shutil.copyfile(path, copy)
    return left_out


def _is_inside(link: Path, folder: Path) -> bool:
    """Whether a link leads to a file of the folder, or of the cache of which the folder is a snapshot, two folders
    up.
    """
    end = link.resolve()
    cache = folder.resolve().parent.parent / _BLOBS
    return end.is_relative_to(folder.resolve()) or end.is_relative_to(cache)
