"""A killed conversion leaves the old output or the whole new one; a polite signal leaves nothing else behind."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from chiralize.storage.atomic import atomic_writes, holding
from tests.support.command import LIFTER, library_warnings, network, save_program

# It converts nothing: a fork of it writes one output over and over, so that a signal meets a write.
WRITER = """
import os, sys
from chiralize.storage.load import load_model
from chiralize.storage.save import save_pt2, save_state_dict
programs = [load_model(name).exported for name in ("one.pt2", "two.pt2")]
def write(name):
    for round in range(100_000):
        if name.endswith(".pt2"):
            save_pt2(programs[round % 2], name, {"chirality.json": "{}"})
        else:
            save_state_dict(programs[round % 2].state_dict, name, "{}")
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        try:
            write(line.strip())
        except BaseException:
            os._exit(1)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
ROOT = str(Path(__file__).parents[2])
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A process that hears SIGINT, also where the suite runs in the background of a shell, which ignores it."""
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=folder, env=os.environ | {"PYTHONPATH": ROOT}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interrupted")
    save_program(network(), folder / "one.pt2")
    save_program(network(hidden=6), folder / "two.pt2")
    (folder / "lifter.yaml").write_text(LIFTER)
    return folder


def hidden_units(path: Path) -> int:
    """Loads the file as a stranger would; the two networks differ in width."""
    with library_warnings():
        if path.suffix == ".pt2":
            return torch.export.load(path).state_dict["first.weight"].shape[0]
        return torch.load(path, weights_only=True)["first.weight"].shape[0]


class Writer:
    """A process that has read both networks, and a fork of it that writes one file for ever."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = start(folder, "-c", WRITER)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.asked, self.told = self.process.stdin, self.process.stdout

    def begins(self, name: str) -> int:
        """The number of the fork that writes the file, once the file is there."""
        print(name, file=self.asked, flush=True)
        number = int(self.told.readline())
        deadline = time.monotonic() + 30
        while not (self.folder / name).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return number

    def ends(self, number: int, by: signal.Signals) -> int:
        """The status that the signal leaves, sent again where it fell between two writes into a call that drops it."""
        os.kill(number, by)
        while not select.select([self.told], [], [], 5)[0]:
            os.kill(number, by)
        return int(self.told.readline())


@pytest.fixture(scope="module")
def writer(folder: Path) -> Iterator[Writer]:
    own = Writer(folder)
    yield own
    own.process.kill()
    own.process.communicate()


@POSIX
@pytest.mark.parametrize("name", ["out.pt2", "out.pt"])
def test_a_kill_while_writing(name: str, folder: Path, writer: Writer) -> None:
    """SIGKILL at a random moment of an endless series of writes: what stands there is always one of the two."""
    number = writer.begins(name)
    try:
        generator = random.Random(0)
        for _ in range(10):  # a reader that looks in between never sees half a file
            time.sleep(generator.uniform(0, 0.03))
            assert hidden_units(folder / name) in (6, 8)
    finally:
        assert writer.ends(number, signal.SIGKILL) == -signal.SIGKILL
    assert hidden_units(folder / name) in (6, 8)
    written = [name] if name.endswith(".pt2") else [name, f"{name}.chirality.json"]
    atomic_writes([(folder / file, holding(b"the next run")) for file in written])
    assert list(folder.glob(f".{name}.*.tmp")) == []  # nobody can tidy up after SIGKILL but the next that writes there


@POSIX
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_signal(number: signal.Signals, folder: Path, writer: Writer) -> None:
    """SIGTERM and SIGINT while writing: no temporary file, and the output is whole."""
    assert writer.ends(writer.begins(f"polite{number}.pt2"), number) != 0
    assert [path.name for path in folder.glob(".*.tmp")] == []
    assert hidden_units(folder / f"polite{number}.pt2") in (6, 8)


@POSIX
def test_the_command_is_interrupted(folder: Path) -> None:
    """Ctrl-C in the middle of a conversion: one word, status 130, the old output as it was."""
    old = b"the old output"
    (folder / "kept.pt2").write_bytes(old)
    before = sorted(path.name for path in folder.iterdir())
    process = start(folder, "-m", "chiralize", "convert", "one.pt2", "--skeleton", "lifter.yaml", "-o", "kept.pt2")
    time.sleep(2)  # torch is being imported, or the network converted
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    if process.returncode == 0:  # a fast machine: it was done already
        assert hidden_units(folder / "kept.pt2") == 8
        return
    assert (process.returncode, out, err) == (130, "", "interrupted\n")
    assert (folder / "kept.pt2").read_bytes() == old
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.one_in(2)
@POSIX
@pytest.mark.parametrize("body", ["raise KeyboardInterrupt", "import os, signal; os.kill(os.getpid(), signal.SIGINT)"])
@pytest.mark.parametrize("inside_typer", [True, False])
def test_interrupted_inside_an_exec(inside_typer: bool, body: str, folder: Path) -> None:
    """Libraries exec text while they load: the status is 130 all the same, not the signal; typer may catch it first."""
    place = "typer.core.TyperGroup.invoke = lambda self, context:" if inside_typer else "entry._run = lambda arguments:"
    (folder / "interrupted_exec.py").write_text(
        "import typer.core\nimport chiralize.__main__ as entry\n"
        f"{place} exec({body!r})\nentry.main(['skeleton', 'list'])\n"
    )
    process = start(folder, "-m", "interrupted_exec")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")
