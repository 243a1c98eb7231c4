"""What the command sets up before anything else."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from chiralize.__main__ import main
from chiralize.errors import ModelFileError


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


@pytest.mark.parametrize("error", [RuntimeError("of torch's own code"), ModelFileError("net.pt2", "inconsistent", "")])
def test_an_interrupt_that_became_another_error(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where Ctrl-C comes while torch's own code calls Python: the user stopped it, and nothing is wrong."""

    def run(arguments: object) -> int:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise error from None
        return 0

    monkeypatch.setattr("chiralize.__main__._run", run)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a shell it is ignored
    try:
        with pytest.raises(SystemExit) as ended:
            main(["verify", "net.pt2"])
        assert ended.value.code == 130 and capsys.readouterr().err.splitlines() == ["interrupted"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_no_room_for_the_report() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "chiralize", "skeleton", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("OutputFileError CH206  the report, or a temporary file: No space left on device\n")
    assert "Exception" not in done.stderr


LIMITED = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_FSIZE, (600, resource.RLIM_INFINITY))
runpy.run_module("chiralize", run_name="__main__")
"""


@pytest.mark.one_in(2)
@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_report_that_fits_in_part_is_no_success(unbuffered: str, tmp_path: Path) -> None:
    """Without a buffer Python takes a short write for a whole one: half a report, and exit 0."""
    command = [sys.executable, "-c", LIMITED, "skeleton", "list", "--format", "json"]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with (tmp_path / "out").open("w") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, env=environment)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"OutputFileError CH206  the report, or a temporary file: {os.strerror(errno.EFBIG)}")
    assert "Exception" not in done.stderr


# ---- standard streams that are closed, or that nobody reads -------------------------------------------------------
def run_into(
    arguments: Sequence[str], closed: Sequence[int] = (), unread: Sequence[str] = ()
) -> subprocess.CompletedProcess[bytes]:
    """Runs Python with closed file descriptors, and with pipes that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    shut = "".join(f" {descriptor}>&-" for descriptor in closed)
    command = ["sh", "-c", f'exec "$0" "$@"{shut}', sys.executable, *arguments]
    stdout, stderr = (writing if name in unread else subprocess.PIPE for name in ("stdout", "stderr"))
    try:
        return subprocess.run(command, check=False, stdout=stdout, stderr=stderr)
    finally:
        os.close(writing)


LIST = ("-m", "chiralize", "skeleton", "list")
INFER = ("-m", "chiralize", "skeleton", "infer", "left_a", "left_b")


@pytest.mark.one_in(2)
@pytest.mark.parametrize("options", [(), ("--format", "json")])
def test_a_reader_that_is_gone_ends_the_command_in_silence(options: tuple[str, ...]) -> None:
    """`| head -1`: the exit status that SIGPIPE would give, and not a word."""
    done = run_into([*LIST, *options], unread=["stdout"])
    assert (done.returncode, done.stderr) == (141, b"")


def test_the_reader_of_messages_is_gone() -> None:
    done = run_into(INFER, unread=["stderr"])
    assert done.returncode == 141
    told = run_into(["-m", "chiralize", "skeleton", "show", "nobody"], unread=["stderr"])
    assert (told.returncode, told.stdout) == (2, b"")


PRINTING = """
from chiralize.cli import streams
def network():
    for _ in range(100_000):
        print("in forward")
try:
    with streams.reader_watched():
        try:
            network()
        except Exception as error:
            raise SystemExit("the network was blamed")
except streams.ReaderGoneError:
    raise SystemExit(7)
"""


def test_a_network_that_prints_is_not_blamed() -> None:
    done = run_into(["-c", PRINTING], unread=["stdout"])
    assert (done.returncode, done.stderr) == (7, b"")


def test_messages_stay_off_stdout_where_stderr_is_closed() -> None:
    """Python alone would print them to standard output."""
    told = run_into(["-m", "chiralize", "skeleton", "show", "nobody"], closed=[2])
    assert (told.returncode, told.stdout) == (2, b"")
    done = run_into([*LIST], closed=[0, 2])
    assert done.returncode == 0 and done.stdout.startswith(b"name")


def test_a_file_is_never_taken_for_a_closed_stream(tmp_path: Path) -> None:
    """What is opened next would be standard output or error, and messages would be written into it."""
    path = tmp_path / "face.yaml"
    arguments = ("-m", "chiralize", "skeleton", "infer", "nose", "left_eye", "right_eye", "-o", str(path))
    assert run_into(arguments, closed=[0, 1, 2]).returncode == 0
    assert path.read_text().startswith("name: inferred\n") and "wrote" not in path.read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_no_room_for_messages() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, *INFER], check=False, stdout=subprocess.PIPE, stderr=full)
    assert done.returncode == 2
