"""What the command sets up before anything else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chiralize.__main__ import main


@pytest.mark.parametrize(
    ("command", "given", "expected"),
    [("skeleton", None, "PASSIVE"), ("skeleton", "ACTIVE", "ACTIVE"), ("bench", None, None)],
)
def test_threads_wait_without_spinning(
    command: str, given: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the user says otherwise, or time is what is measured."""
    monkeypatch.setenv("OMP_WAIT_POLICY", given or "")
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert os.environ.get("OMP_WAIT_POLICY") == expected


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_no_room_for_the_report() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "chiralize", "skeleton", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("OutputFileError CH206  the report, or a temporary file: No space left on device\n")
    assert "Exception" not in done.stderr
