"""Writing of outputs: whole or not at all, with the permissions of a normal file."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from chiralize.errors import OutputFileError
from chiralize.storage import atomic as atomic_module
from chiralize.storage.atomic import atomic_write, check_writable, write_text

ROOT = Path(__file__).parents[2]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def umask() -> Iterator[int]:
    old = os.umask(0o027)
    yield 0o027
    os.umask(old)


# ---- atomic writing ---------------------------------------------------------------------------------------------
def test_new_file_obeys_the_umask(tmp_path: Path, umask: int) -> None:
    write_text(tmp_path / "a.txt", "ä\n")
    assert (tmp_path / "a.txt").read_bytes() == "ä\n".encode()
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~umask
    assert names(tmp_path) == ["a.txt"]


def test_replaced_file_keeps_its_link(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "real.txt").read_text() == "new"


def test_relative_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_text("a.txt", "x")
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_failing_writer_leaves_the_old_file(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    seen: list[Path] = []

    def write(temporary: Path) -> None:
        seen.append(temporary)
        temporary.write_text("half")
        raise error

    with pytest.raises(type(error)):
        atomic_write(path, write)
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]
    assert seen[0].parent == tmp_path and seen[0].name.startswith(".a.txt.") and seen[0].suffix == ".tmp"


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("error", [None, RuntimeError("some library's own")], ids=["nothing", "another error"])
@pytest.mark.parametrize(("number", "told"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_library_that_swallows_a_signal(
    number: signal.Signals, told: type[BaseException], error: Exception | None, tmp_path: Path
) -> None:
    """What is written meanwhile is whole, or not there; the signal counts all the same, and its handler is back."""
    path = tmp_path / "a.txt"
    usual = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}[number]

    def write(temporary: Path) -> None:
        temporary.write_text("whole")
        with suppress(told):
            signal.raise_signal(number)
        if error is not None:
            raise error

    before = signal.signal(number, usual)  # a shell's background ignores SIGINT
    try:
        with pytest.raises(told):
            atomic_write(path, write)
        assert signal.getsignal(number) is usual
    finally:
        signal.signal(number, before)
    assert names(tmp_path) == (["a.txt"] if error is None else [])


@pytest.mark.parametrize(("number", "cause"), [(errno.ENOSPC, "the disk is full"), (errno.EIO, "cannot be written")])
def test_failing_disk(number: int, cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("old")

    def fail(path: Path) -> None:
        del path
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic_module, "_sync", fail)
    with pytest.raises(OutputFileError, match=cause) as caught:
        write_text(tmp_path / "a.txt", "new")
    assert "Fix: " in str(caught.value) and caught.value.exit_status == 2
    assert (tmp_path / "a.txt").read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is in its place by then, so that nothing is refused."""
    sync = atomic_module._sync

    def fail(path: Path) -> None:
        if path.is_dir():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        sync(path)

    monkeypatch.setattr(atomic_module, "_sync", fail)
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new" and names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.name != "posix", reason="symbolic links need rights elsewhere")
def test_links_in_a_circle_and_odd_names(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OutputFileError, match=r"symbolic links|cannot be written"):
        write_text(tmp_path / "loop", "x")
    write_text(tmp_path / "odd", "\udcff")
    assert (tmp_path / "odd").read_text() == "\\udcff"


def test_full_device() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(OutputFileError, match="not a regular file"):
        write_text("/dev/full", "x")


UNWRITABLE = {
    "missing folder": ("no/such/a.txt", "does not exist", "mkdir -p"),
    "folder": (".", "folder", "name a file"),
    "file as folder": ("file/a.txt", "is not a folder", "mkdir"),
    "long name": ("a" * 300, "too long", "shorter"),
}


@pytest.mark.parametrize("case", UNWRITABLE)
def test_where_nothing_can_be_written(case: str, tmp_path: Path) -> None:
    name, cause, remedy = UNWRITABLE[case]
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputFileError) as caught:
        write_text(tmp_path / name, "x")
    assert cause in str(caught.value) and remedy in caught.value.remedy
    assert names(tmp_path) == ["file"]


def test_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *args: False)  # the tests may run as root, who may write anywhere
    with pytest.raises(OutputFileError, match="cannot be written to"):
        check_writable(tmp_path / "a.txt")


def test_check_leaves_no_trace(tmp_path: Path) -> None:
    check_writable(tmp_path / "a.txt")
    assert names(tmp_path) == []


# ---- killed while writing ---------------------------------------------------------------------------------------
WRITER = """
import itertools, sys
from pathlib import Path
from chiralize.storage.atomic import atomic_write

def write(text):
    def fill(temporary):
        with temporary.open("w") as stream:
            for _ in range(200):
                stream.write(text)
                stream.flush()
    return fill

print("ready", flush=True)
for count in itertools.count():
    atomic_write(Path(sys.argv[1]), write(f"{count:06d}|" * 100))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_at_any_moment(number: signal.Signals, tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    for index in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.005 + 0.0037 * index)
            process.send_signal(number)
            process.wait(timeout=10)
        if path.exists():
            words = path.read_text().split("|")
            assert len(words) == 200 * 100 + 1 and set(words) == {words[0], ""}
        if number == signal.SIGTERM:
            assert names(tmp_path) in ([], ["out.txt"])
            assert process.returncode == 128 + signal.SIGTERM or process.returncode == -signal.SIGTERM
    assert path.exists()
