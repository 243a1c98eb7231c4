"""Writing of outputs: whole or not at all, with the permissions of a normal file, and nothing beside it."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chiralize.errors import OutputFileError
from chiralize.storage.files import check_writable, write_bytes

ROOT = Path(__file__).parents[2]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_new_file_obeys_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "a.pt", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.pt").stat().st_mode) == 0o640
    assert names(tmp_path) == ["a.pt"]


def test_replaced_file_keeps_its_link_and_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "real.pt").write_bytes(b"old")
    (tmp_path / "real.pt").chmod(0o600)
    (tmp_path / "link.pt").symlink_to("real.pt")
    write_bytes(tmp_path / "link.pt", b"new")
    assert (tmp_path / "link.pt").is_symlink() and (tmp_path / "real.pt").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "real.pt").stat().st_mode) == 0o600


def test_relative_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_bytes(Path("a.pt"), b"x")
    assert names(tmp_path) == ["a.pt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_failing_disk(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system says so when the bytes have to reach the disk: the old file stays, and nothing beside it."""
    (tmp_path / "a.pt").write_bytes(b"old")

    def fail(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputFileError) as caught:
        write_bytes(tmp_path / "a.pt", b"new")
    assert caught.value.exit_status == 2 and caught.value.remedy
    assert (tmp_path / "a.pt").read_bytes() == b"old" and names(tmp_path) == ["a.pt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_interrupted(error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(error)):
        write_bytes(tmp_path / "a.pt", b"new")
    assert names(tmp_path) == []


UNWRITABLE = {
    "missing folder": "no/such/a.pt",
    "folder": ".",
    "file as folder": "file/a.pt",
    "long name": "a" * 300,
    "zero byte": "a\0b",
    "circle": "loop",
    "circle as folder": "loop/a.pt",
}


@pytest.mark.parametrize("case", UNWRITABLE)
def test_where_nothing_can_be_written(case: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OutputFileError):
        write_bytes(tmp_path / UNWRITABLE[case], b"x")
    assert names(tmp_path) == ["file", "loop"]


def test_devices_are_no_files() -> None:
    with pytest.raises(OutputFileError):
        write_bytes(Path("/dev/full"), b"x")


def test_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *args: False)  # the tests may run as root, who may write anywhere
    with pytest.raises(OutputFileError):
        check_writable(tmp_path / "a.pt")


def test_check_leaves_no_trace(tmp_path: Path) -> None:
    check_writable(tmp_path / "a.pt")
    assert names(tmp_path) == []


WRITER = """
import itertools, sys
from pathlib import Path
from chiralize.storage.files import write_bytes
print("ready", flush=True)
for count in itertools.count():
    write_bytes(Path(sys.argv[1]), f"{count:06d}|".encode() * 20000)
"""


def test_killed_at_any_moment(tmp_path: Path) -> None:
    path = tmp_path / "out.pt"
    for index in range(8):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(0.005 + 0.0037 * index)
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=10)
        if path.exists():
            words = path.read_text().split("|")
            assert len(words) == 20001 and set(words) == {words[0], ""}
    assert path.exists()
