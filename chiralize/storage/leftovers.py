"""Temporary files beside an output: locked by the process that fills them, removed once that process is gone.

A process that is killed cannot tidy up.  The system, though, takes its lock away, so that the next one that writes the
same output can tell a dead temporary file from one that is being filled, also across containers that share a folder.
(The number of its process would not tell: other containers count processes anew.)

The temporary file of `out/chiral.pt2` is `out/.chiral.pt2.0f3a9c1e.tmp`.  `atomic` makes, replaces and discards it.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be removed: no lock is needed there
    fcntl = None  # type: ignore[assignment]

_ATTEMPTS = 100


class Temporary:
    """A file beside an output, locked from its creation until it is discarded, or is the output."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = self._named()
        self._descriptor = -1

    def _named(self) -> Path:
        """A hidden name beside the output, with a random part."""
        return self.target.with_name(f".{self.target.name}.{secrets.token_hex(4)}.tmp")

    def create(self, mode: int) -> None:
        """Make the file, empty, and lock it.  mode: its permissions, less the umask.  Raises OSError."""
        for _ in range(_ATTEMPTS):
            # Between the creation and the lock another process may remove the file: then it has no name any more.
            self._descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)
            if _lock(self._descriptor) is not False and _is_at(self._descriptor, self.path):
                return
            self.release()  # another process took it for a dead one before it was locked
            self.path = self._named()
        raise OSError(f"{_ATTEMPTS} temporary files beside it were removed at once")

    def replace_target(self) -> None:
        """Put the file in the output's place.  Raises OSError."""
        if fcntl is None:  # Windows renames no open file
            self.release()
        self.path.replace(self.target)
        self.release()

    def discard(self) -> None:
        """Remove the file, if it still exists."""
        self.release()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def remove_leftovers(target: Path) -> None:
    """Remove the temporary files of this output whose processes are gone; what cannot be removed stays."""
    name = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.tmp")
    with suppress(OSError):  # a folder that may be written to and not read
        for path in target.parent.iterdir():
            if name.fullmatch(path.name):
                with suppress(OSError):
                    _remove_dead(path)


def _remove_dead(path: Path) -> None:
    """Remove a temporary file that nobody has locked.  Raises OSError."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return
    if fcntl is None:
        path.unlink()
        return
    with _opened(path) as descriptor:
        # Locked by us: nobody fills it.  Where there are no locks (None) nobody can know, and it stays.
        if _lock(descriptor) and _is_at(descriptor, path):
            path.unlink()


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A file open for a lock, but never the file behind a symbolic link."""
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Whether the file is locked for this process; None where the file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file still bears this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
