"""pytest in a fork of this process, which has imported torch already."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

NEEDS_FORK = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="runs pytest in a fork of itself, which Windows has not"
)


def run_pytest(folder: Path, arguments: Sequence[str]) -> tuple[int, str]:
    """The status of pytest in a folder, and what it wrote. Whatever the run changes ends with it."""
    written = folder / "written.txt"
    child = os.fork()
    if child == 0:
        status = 70  # of a run that did not come to its end
        try:
            os.chdir(folder)
            with written.open("w", encoding="utf-8") as stream:
                os.dup2(stream.fileno(), 1)
                os.dup2(stream.fileno(), 2)
                sys.stdout = sys.stderr = stream
                status = int(pytest.main([*arguments]))
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(ended), written.read_text(encoding="utf-8")
