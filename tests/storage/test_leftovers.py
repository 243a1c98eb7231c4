"""Outputs where a process died or the disk ended: dead temporary files go, live ones stay, torn pairs are noticed."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from chiralize.errors import ModelFileError, OutputFileError
from chiralize.methods.refine.checkpoint import Checkpoint
from chiralize.storage.atomic import atomic_write, streaming, write_text
from chiralize.storage.leftovers import Temporary
from chiralize.storage.load import load_model
from chiralize.storage.save import save_pt2, save_safetensors, save_state_dict

POSIX = pytest.mark.skipif(os.name != "posix", reason="locks and limits of POSIX")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def in_a_fork(act: Callable[[], object]) -> int:
    """How a fork of this process ends that does this and no more: 0, or the number of a signal."""
    pid = os.fork()
    if not pid:
        try:
            act()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1]


# ---- what killed processes leave --------------------------------------------------------------------------------
def test_the_next_run_removes_what_is_dead(tmp_path: Path) -> None:
    """And nothing but temporary files of this very output."""
    others = [".a.txt.tmp", ".a.txt.0123456.tmp", ".b.txt.01234567.tmp", "a.txt.01234567.tmp", ".a.txt.01234567.tmp.x"]
    for name in [".a.txt.01234567.tmp", ".a.txt.89abcdef.tmp", *others]:
        (tmp_path / name).write_text("half")
    write_text(tmp_path / "a.txt", "whole")
    assert names(tmp_path) == sorted(["a.txt", *others])


@POSIX
def test_a_live_writer_keeps_its_file(tmp_path: Path) -> None:
    """Two processes that write the same output at once do not disturb each other."""
    first = Temporary(tmp_path / "a.txt")
    first.create(0o666)
    first.path.write_text("first")
    write_text(tmp_path / "a.txt", "second")
    assert names(tmp_path) == [first.path.name, "a.txt"]
    first.replace_target()
    assert names(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() == "first"


@POSIX
def test_a_link_that_looks_like_a_leftover(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / ".a.txt.01234567.tmp").symlink_to("precious")
    write_text(tmp_path / "a.txt", "x")
    assert (tmp_path / "precious").read_text() == "mine" and (tmp_path / ".a.txt.01234567.tmp").is_symlink()


@POSIX
def test_a_killed_writer(tmp_path: Path) -> None:
    def die(temporary: Path) -> None:
        temporary.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_fork(lambda: atomic_write(tmp_path / "a.txt", die)) == signal.SIGKILL
    assert [name.startswith(".a.txt.") for name in names(tmp_path)] == [True], "the kill came too early"
    write_text(tmp_path / "a.txt", "whole")
    assert names(tmp_path) == ["a.txt"]


# ---- torn pairs -------------------------------------------------------------------------------------------------
def weights(value: float) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((2, 2), value), "bias": torch.zeros(2)}


def loaded_table(path: Path) -> object:
    model = load_model(path, factory="torch.nn:Linear", factory_args={"in_features": "2", "out_features": "2"})
    return json.loads(model.extra["chirality.json"])


def test_weights_of_one_conversion_beside_the_certificate_of_another(tmp_path: Path) -> None:
    path, beside = tmp_path / "w.pt", tmp_path / "w.pt.chirality.json"
    save_state_dict(weights(1.0), path, '{"made": 1}')
    old = path.read_bytes()
    assert loaded_table(path)["made"] == 1  # type: ignore[index]
    save_state_dict(weights(2.0), path, '{"made": 2}')
    assert loaded_table(path)["made"] == 2  # type: ignore[index]
    path.write_bytes(old)
    with pytest.raises(
        ModelFileError, match=r"w\.pt\.chirality\.json: describes other weights than w\.pt holds"
    ) as told:
        loaded_table(path)
    assert f"delete {beside} and give --skeleton" in told.value.remedy and told.value.exit_status == 2
    beside.write_text('{"made": 0}')  # as written before certificates named their weights
    assert loaded_table(path) == {"made": 0}


def test_the_certificate_is_in_place_before_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between the two leaves no new weights that would be taken for plain ones."""
    order: list[str] = []
    replace = Temporary.replace_target
    monkeypatch.setattr(
        Temporary, "replace_target", lambda temporary: (order.append(temporary.target.name), replace(temporary))
    )
    save_state_dict(weights(1.0), tmp_path / "w.pt", "{}")
    assert order == ["w.pt.chirality.json", "w.pt"]


# ---- no room ----------------------------------------------------------------------------------------------------
ROOMS = (0, 1, 63, 64, 700, 3_000, 9_000, 14_000)


def _write_without_room(folder: Path, writers: dict[str, Callable[[Path], object]], told: int) -> None:
    """Every writer in files that may not grow beyond each of the rooms; one line of each is written to `told`."""
    import resource

    rows: list[str] = []
    for name, write in writers.items():
        for room in ROOMS:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
            try:
                write(folder / name)
            except OutputFileError as error:
                result = error.facts
            else:
                result = "written"
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            rows.append("|".join((name, str(room), result, *names(folder))))
    os.write(told, "\n".join(rows).encode())


@POSIX
@pytest.mark.filterwarnings("ignore")
def test_no_room_for_a_model(tmp_path: Path) -> None:
    """Wherever the room ends, torch's writers neither end the process, which is a fork, nor leave anything."""
    net = torch.nn.Linear(60, 60)
    program, state = torch.export.export(net, (torch.ones(1, 60),)), net.state_dict()
    writers: dict[str, Callable[[Path], object]] = {
        "o.pt2": lambda path: save_pt2(program, path, {"chirality.json": "{}"}),
        "o.pt": lambda path: save_state_dict(state, path, "{}"),
        "o.safetensors": lambda path: save_safetensors(state, path, {}),
        "state": lambda path: Checkpoint(path, "owner").save("run", state),
    }
    ours, theirs = os.pipe()
    with os.fdopen(ours) as told:
        assert in_a_fork(lambda: _write_without_room(tmp_path, writers, theirs)) == 0
        os.close(theirs)
        rows = [line.split("|") for line in told.read().splitlines()]
    assert len(rows) == 4 * 8
    facts = f"it would be larger than files may be here ({os.strerror(errno.EFBIG)}); nothing was changed"
    assert [row[2:] for row in rows] == [[facts]] * len(rows)


def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    """The stream takes everything after the first failure, so that the writer above it comes to its end."""
    ended: list[bool] = []

    def fill(stream: object) -> None:
        with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123
            stream._file = full  # type: ignore[attr-defined]
            for _ in range(3):
                stream.write(b"data")  # type: ignore[attr-defined]
        ended.append(True)

    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(OutputFileError, match="the disk is full"):
        atomic_write(tmp_path / "a.pt2", streaming(fill))
    assert ended == [True] and names(tmp_path) == []


@POSIX
def test_a_signal_waits_for_the_end_of_a_stream(tmp_path: Path) -> None:
    """torch's writer would end the process where an exception passed through it."""
    ended: list[bool] = []

    def fill(stream: object) -> None:
        signal.raise_signal(signal.SIGINT)
        stream.write(b"data")  # type: ignore[attr-defined]
        ended.append(True)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            atomic_write(tmp_path / "a.pt2", streaming(fill))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended == [True] and names(tmp_path) == []
