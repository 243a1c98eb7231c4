"""Writing of outputs: whole or not at all.

A kill at any moment leaves the old file or the whole new one.  Parent folders are never created.

Every output of every command goes through `atomic_writes`.  For each file:

    check      that the target can be written, before any work
    fill       a temporary file in the same folder, locked while it is filled (`leftovers`)
    sync       its bytes reach the disk; else a loss of power could leave the name with nothing in it
    rename     it takes the target's place, which the system does at once
    sync       the folder, which holds the names
"""

from __future__ import annotations

import errno
import io
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, cast

from chiralize.errors import OutputFileError
from chiralize.storage.leftovers import Temporary, remove_leftovers

Writer = Callable[[Path], None]


def atomic_write(path: Path | str, writer: Writer) -> None:
    """Let `writer` fill a temporary file beside `path`, then put it in the place of `path`.

    Raises OutputFileError.  Whatever `writer` raises passes through; the temporary file is removed.
    """
    atomic_writes([(path, writer)])


def atomic_writes(files: Sequence[tuple[Path | str, Writer]]) -> None:
    """Write several files that belong together: all are filled, in this order, before the first is put in its place.

    They are put in their places from the last to the first, so that the file that the others describe comes first in
    the list and is replaced last.  Temporary files that killed processes left beside them are removed.
    Raises OutputFileError.
    """
    temporaries: list[Temporary] = []
    with _interruptible():
        try:
            # All targets are checked before the first writer is called, which may take minutes.
            for path, writer in [(_checked(path), writer) for path, writer in files]:
                remove_leftovers(path)
                temporary = Temporary(path)
                temporaries.append(temporary)
                with _os_errors_explained(path):
                    temporary.create(_mode(path))
                    writer(temporary.path)
                    _sync(temporary.path)
            # Of weights and their certificate the certificate goes first.  A kill between the two leaves it beside the
            # old weights, whose digest it does not name: a reader notices (`sidecar.certificate_beside`).
            for temporary in reversed(temporaries):
                with _os_errors_explained(temporary.target):
                    temporary.replace_target()
                with suppress(OSError):  # a folder that may be written to and not read; the file is there
                    _sync(temporary.target.parent)
        finally:  # those that took their places are gone from here
            for temporary in temporaries:
                temporary.discard()


def write_text(path: Path | str, text: str) -> None:
    """Write a text file in UTF-8, line feeds as they are; what is no UTF-8 is escaped.  Raises OutputFileError."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write a file with this content.  Raises OutputFileError."""
    atomic_write(path, holding(data))


def holding(data: bytes) -> Writer:
    """The writer of a file with this content."""

    def write(temporary: Path) -> None:
        """Write the content to the temporary file."""
        temporary.write_bytes(data)

    return write


def streaming(fill: Callable[[BinaryIO], None]) -> Writer:
    """The writer of a file that `fill` writes to an open stream, piece by piece.

    The stream never fails while it is written to, nor does a signal end the writing: torch's writers of archives lose
    count after an error, and end the whole process.  What went wrong is raised when `fill` is done.
    """

    def write(temporary: Path) -> None:
        """Fill the temporary file; raise afterwards what went wrong meanwhile."""
        with temporary.open("wb") as file, _signals_deferred():
            # A full disk is noticed by the stream, which swallows the rest; the archive's writer never learns of it.
            stream = _PatientStream(file)
            try:
                fill(cast(BinaryIO, stream))
            finally:
                if stream.failure is not None:
                    raise stream.failure

    return write


class _PatientStream(io.RawIOBase):
    """A stream that writes to a file until that fails, and from then on accepts data without writing them.

    failure: the first error, None while there was none.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self.failure: Exception | None = None
        self._file = file

    def writable(self) -> bool:
        """True: data are always accepted, even after a failure."""
        return True

    def seekable(self) -> bool:
        """True because torch asks; its only seek goes back to the start, when all is written."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Do nothing, and say that the stream is at its start."""
        del offset, whence
        return 0

    def write(self, data: Any, /) -> int:
        """Write the data unless writing has failed before; either way the count of their bytes, as if it had worked."""
        size = memoryview(data).nbytes
        if self.failure is None:
            try:
                self._file.write(data)
            except Exception as error:  # noqa: BLE001 - kept, and raised by `streaming`
                self.failure = error
        return size


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Hold back SIGTERM and SIGINT that arrive meanwhile, and raise them at the end."""
    arrived: list[int] = []
    handlers: dict[int, Any] = {}
    # Only the main thread may set handlers; others never get a signal.  One that is ignored stays ignored.
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            if callable(signal.getsignal(number)):
                handlers[number] = signal.signal(number, lambda number, frame: arrived.append(number))
    try:
        yield
    finally:
        # First the old handlers, then the signals that came: they are to do what they would have done.
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in arrived:
            signal.raise_signal(number)


def check_writable(path: Path | str) -> None:
    """Check before long work that a file can be written here.  Raises OutputFileError where it cannot."""
    _checked(path)


def _checked(path: Path | str) -> Path:
    """The path to write to: the file behind a symbolic link, so that the link stays a link."""
    path = Path(path)
    with _os_errors_explained(path):
        _check_target(path)
        if not path.is_symlink():
            return path
        try:
            target = path.resolve()
        except RuntimeError:  # of Python before 3.13
            raise OutputFileError(str(path), "is a circle of symbolic links", "write to another file.") from None
        _check_target(target)
        return target


@contextmanager
def _os_errors_explained(path: Path) -> Iterator[None]:
    """An OSError meanwhile leaves as OutputFileError, with what the user can do about it."""
    try:
        yield
    except OSError as error:
        raise _os_error(path, error) from error


def _mode(path: Path) -> int:
    """Permissions of the file that is replaced, else those of any new file (the umask is applied by the system)."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0o666


def _check_target(path: Path) -> None:
    """Raise OutputFileError where no file of this name can be written."""
    if not path.name:
        raise OutputFileError(str(path), "is not a file name", "name a file: `-o model.chiral.pt2`.")
    if path.is_dir():
        raise OutputFileError(str(path), "is a folder", "name a file in it.")
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
    """The error for the user, by its cause: a full disk, a long name, a limit on sizes, or anything else."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        facts = f"the disk is full ({error.strerror}); nothing was changed"
        return OutputFileError(str(path), facts, "free some space or choose another disk.")
    if error.errno == errno.ENAMETOOLONG:
        return OutputFileError(str(path), "the file name is too long", "choose a shorter name.")
    if error.errno == errno.EFBIG:
        facts = f"it would be larger than files may be here ({error.strerror}); nothing was changed"
        return OutputFileError(str(path), facts, "raise the limit (`ulimit -f unlimited`), or choose another disk.")
    facts = f"cannot be written ({error.strerror or error}); nothing was changed"
    return OutputFileError(str(path), facts, "check the permissions, or choose another folder.")


def _sync(path: Path) -> None:
    """Let a file or a folder reach the disk.  Raises OSError."""
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
    """Turn SIGTERM into SystemExit meanwhile, so that the temporary file is removed.

    A library may swallow what a signal raises inside it (a C call that asks for an attribute and clears the error):
    then SIGTERM and SIGINT are raised once more at the end.
    """
    caught: list[BaseException] = []

    def stop(number: int, frame: FrameType | None) -> None:
        """Raise the exception of this signal, and remember it in case a library swallows it."""
        del frame
        caught.append(KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number))
        raise caught[-1]

    ours = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    # Handlers that the user's program has set are left alone: only the system's own are replaced.
    in_main = threading.current_thread() is threading.main_thread()
    replaced = {number: old for number, old in ours.items() if in_main and signal.getsignal(number) is old}
    for number in replaced:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, old in replaced.items():
            signal.signal(number, old)
        if caught:
            raise caught[-1]
