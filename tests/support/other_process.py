"""pytest in a process of its own.

Not in a fork of this one: its threads do not live on there, but the locks they held do, and the fork may wait for ever.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PATIENCE = 100
"""Seconds, fewer than a test has: a run that hangs is told with what it wrote."""


def run_pytest(folder: Path, arguments: Sequence[str]) -> tuple[int, str]:
    """The status of pytest in a folder, and what it wrote; status -1 where it did not end."""
    words = [sys.executable, "-m", "pytest", *arguments]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            written, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            return -1, process.communicate()[0]
    return process.returncode, written
