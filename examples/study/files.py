"""Writing a file whole or not at all, with the folder that it goes into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from chiralize.storage.atomic import atomic_write


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Calls write(temporary path beside `path`), then moves the result to `path`. Raises OutputFileError."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def writer(beside: Path) -> None:
        write(beside)

    atomic_write(path, writer)
