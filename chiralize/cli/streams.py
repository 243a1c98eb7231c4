"""The standard streams of the command: a closed one goes nowhere, and the command ends where nobody reads on.

Python raises an error there that looks like any other. It could be taken for one of the user's network, if that prints.

    chiralize convert net.pt2 ... | head -1      head ends after a line; the next write raises ReaderGoneError
    chiralize verify net.pt2 2>&-                standard error is closed; messages go to the null device

`__main__` calls `open_closed_streams` first of all, and runs the command within `reader_watched`.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO


class ReaderGoneError(BaseException):
    """Nobody reads what the command prints (`| head -1`). Like KeyboardInterrupt no Exception: nothing catches it."""


def open_closed_streams() -> None:
    """Open the null device for each standard stream that was closed (`2>&-`).

    Else the next file that is opened would be standard output or error to libraries, and messages would go there.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            # The lowest free number, which on POSIX is this one: lower streams are open by now.
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", errors="backslashreplace", closefd=False))


@contextmanager
def reader_watched() -> Iterator[None]:
    """Let printing into a pipe that nobody reads raise ReaderGoneError meanwhile. All is flushed at the end.

    So is a file that Python would write to without a buffer (PYTHONUNBUFFERED): what does not fit would be lost unseen.
    """
    replaced = {name: getattr(sys, name) for name in ("stdout", "stderr") if _is_pipe(getattr(sys, name))}
    if _is_unbuffered_file(sys.stdout):
        replaced["stdout"] = sys.stdout
    for name, stream in replaced.items():
        stream.flush()
        setattr(sys, name, _watched(stream))
    try:
        yield
        # Here a reader that is gone is still an error of the command; in `finally` it could only hide another one.
        sys.stdout.flush()
    finally:
        for name, stream in replaced.items():
            watched = getattr(sys, name)
            setattr(sys, name, stream)
            try:
                watched.flush()
            except (OSError, ValueError, ReaderGoneError):
                close(stream)


def close(stream: TextIO) -> None:
    """Drop everything that is still written to a stream, also what Python writes when it ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def _is_pipe(stream: Any) -> bool:
    """Whether a stream is the process's own, not one that a test or a notebook put there, and goes into a pipe."""
    if stream not in (sys.__stdout__, sys.__stderr__) or stream is None:
        return False
    mode = os.fstat(stream.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _is_unbuffered_file(stream: Any) -> bool:
    """Whether the stream writes to a file without a buffer, so that it takes a short write for a whole one."""
    if stream is not sys.__stdout__ or not isinstance(getattr(stream, "buffer", None), io.RawIOBase):
        return False
    return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)


def _watched(stream: TextIO) -> TextIO:
    """A stream to the same descriptor whose writes raise ReaderGoneError; standard error line by line, as Python's."""
    buffered = io.BufferedWriter(_Pipe(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(buffered, stream.encoding, stream.errors, line_buffering=stream is sys.__stderr__)


class _Pipe(io.FileIO):
    """The descriptor of a stream, in which BrokenPipeError becomes an exception that nothing catches by chance."""

    def write(self, data: Any, /) -> int:
        """Write to the pipe. Raises ReaderGoneError where nobody reads it."""
        try:
            return super().write(data)
        except BrokenPipeError:
            raise ReaderGoneError from None
