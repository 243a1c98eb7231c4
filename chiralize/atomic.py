"""Writing of outputs: whole or not at all.

A kill at any moment leaves the old file or the whole new one.  Parent folders are never created.
"""

from __future__ import annotations

import errno
import os
import secrets
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from chiralize.errors import OutputFileError


def atomic_write(path: Path | str, writer: Callable[[Path], None]) -> None:
    """Lets `writer` fill a temporary file beside `path`, then puts it in its place.

    Raises OutputFileError.  Whatever `writer` raises passes through; the temporary file is removed.
    """
    check_writable(path)
    path = _target(Path(path))
    check_writable(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with _interruptible():
        try:
            descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _mode(path))
            os.close(descriptor)
            writer(temporary)
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)
        except OSError as error:
            raise _os_error(path, error) from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """A text file in UTF-8 with line feeds as they are.  Raises OutputFileError."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path | str, data: bytes) -> None:
    """Raises OutputFileError."""

    def write(temporary: Path) -> None:
        temporary.write_bytes(data)

    atomic_write(path, write)


def check_writable(path: Path | str) -> None:
    """Whether a file could be written here, asked before long work.  Raises OutputFileError."""
    path = Path(path)
    try:
        _check_target(path)
    except OSError as error:
        raise _os_error(path, error) from error


def _target(path: Path) -> Path:
    """The file behind a symbolic link, so that the link stays a link."""
    return path.resolve() if path.is_symlink() else path


def _mode(path: Path) -> int:
    """Permissions of the file that is replaced, else those of any new file (the umask is applied by the system)."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0o666


def _check_target(path: Path) -> None:
    if not path.name:
        raise OutputFileError(str(path), "is not a file name", "name a file: `-o model.chiral.pt2`.")
    if path.is_dir():
        raise OutputFileError(str(path), "is a folder", f"name a file in it: `-o {path / 'model.chiral.pt2'}`.")
    if path.exists() and not path.is_file():
        raise OutputFileError(str(path), "is a device or a pipe, not a regular file", "name a regular file.")
    folder = path.parent
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise OutputFileError(str(path), f"the folder {str(folder)!r} {what}", f"create it: `mkdir -p {folder}`.")
    if not os.access(folder, os.W_OK | os.X_OK):
        facts = f"the folder {str(folder)!r} cannot be written to"
        raise OutputFileError(str(path), facts, "change its permissions or choose another folder.")


def _os_error(path: Path, error: OSError) -> OutputFileError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        facts = f"the disk is full ({error.strerror}); nothing was changed"
        return OutputFileError(str(path), facts, "free some space or choose another disk.")
    if error.errno == errno.ENAMETOOLONG:
        return OutputFileError(str(path), "the file name is too long", "choose a shorter name.")
    facts = f"cannot be written ({error.strerror or error}); nothing was changed"
    return OutputFileError(str(path), facts, "check the permissions, or choose another folder.")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot sync folders
            raise
    finally:
        os.close(descriptor)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Turns SIGTERM into SystemExit meanwhile, so that the temporary file is removed.

    A library may swallow what a signal raises inside it (a C call that asks for an attribute and clears the error):
    then SIGTERM and SIGINT are raised once more at the end.
    """
    caught: list[BaseException] = []

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        caught.append(KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number))
        raise caught[-1]

    ours = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    in_main = threading.current_thread() is threading.main_thread()
    replaced = {own: old for own, old in ours.items() if in_main and signal.getsignal(own) is old}
    for own in replaced:
        signal.signal(own, stop)
    try:
        yield
    finally:
        for own, old in replaced.items():
            signal.signal(own, old)
        if caught:
            raise caught[-1]
