"""What the command sets up before anything else."""

from __future__ import annotations

import os

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
