"""What is being done is shown: a bar on a terminal, lines in a log, silence where that is asked for."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from chiralize import audit, chiralize, plan, verify
from chiralize.body.tensors import parse_spec
from chiralize.commands import progress as module
from chiralize.commands.progress import shown
from chiralize.problem.progress import silent
from tests.support.command import LIFTER, Shell, network, poses, save_program, working_shell


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Seconds that have passed, in place of the clock; no time passes by itself."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    yield now


def in_a_log(verbose: bool = False) -> tuple[io.StringIO, module._Lines]:
    from rich.console import Console

    stream = io.StringIO()
    return stream, module._Lines(Console(file=stream, soft_wrap=True, highlight=False), verbose)


def test_a_log_gets_a_line_for_each_step_and_one_a_minute(clock: list[float]) -> None:
    stream, lines = in_a_log()
    lines.tell("loading")
    assert stream.getvalue() == ""  # shorter work is not worth a line
    lines._release()
    clock[0] = 7
    lines.tell("distilling, loss 3", 0.0)
    for clock[0], done in (20.0, 0.1), (66.9, 0.3), (67.0, 0.5), (90.0, 0.6):
        lines.tell("distilling, loss 2", done)
    clock[0] = 100
    lines.tell("verifying [all]")
    lines.close()
    assert stream.getvalue() == (
        "chiralize: after    0 s  loading\n"
        "chiralize: after    7 s  distilling\n"
        "chiralize: after   67 s  distilling, loss 2, 50%, about 60 s left\n"
        "chiralize: after  100 s  verifying [all]\n"
    )


def test_short_work_leaves_a_log_empty() -> None:
    stream = io.StringIO()
    with shown(True, stream=stream) as tell:
        tell("loading")
        tell("verifying")
    assert stream.getvalue() == ""


def test_long_work_speaks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the first step lasts, and nothing is told meanwhile."""
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    stream = io.StringIO()
    with shown(True, stream=stream) as tell:
        tell("loading")
        for _ in range(1000):
            if stream.getvalue():
                break
            module.threading.Event().wait(0.005)
    assert stream.getvalue() == "chiralize: after    0 s  loading\n"


def test_verbose_lines_have_the_seconds_of_each_step(clock: list[float]) -> None:
    stream, lines = in_a_log(verbose=True)
    lines.tell("loading")
    clock[0] = 2.5
    lines.tell("verifying", 0.5)
    clock[0] = 64.0
    lines.tell("verifying", 0.75)
    clock[0] = 70.0
    lines.close()
    assert stream.getvalue() == (
        "chiralize: took    2.5 s  loading\n"
        "chiralize: took   61.5 s  verifying, 75%, about 20 s left, and goes on\n"
        "chiralize: took   67.5 s  verifying\n"
    )


def test_a_terminal_has_a_bar_with_percent_and_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the Python interface is not asked; brackets of a step are no markup."""
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    stream = io.StringIO()
    with shown(stream=stream) as tell:
        tell("fitting [all], loss 3", 0.25)
    seen = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert "fitting [all], loss 3" in seen and "25%" in seen and "0:00:00" in seen


def test_whom_python_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    heard: list[str] = []

    def listen(step: str, done: float | None = None, /) -> None:
        """Keep the step."""
        heard.append(step)

    stream = io.StringIO()
    for wanted in (None, False):
        with shown(wanted, stream=stream) as tell:
            assert tell is silent
    with shown(listen) as tell:
        tell("loading")
    assert heard == ["loading"] and stream.getvalue() == ""


@pytest.mark.thorough
def test_every_function_of_the_interface_tells_its_steps() -> None:
    steps: list[str] = []

    def listen(step: str, done: float | None = None, /) -> None:
        """Keep the step."""
        steps.append(step)

    net, spec, x = network(hidden=8), parse_spec(LIFTER), poses(2)
    chiral = chiralize(net, spec, (x,), method="average", samples=1, progress=listen)
    assert steps[:2] == ["exporting", "reading the inputs"] and "converting by average" in steps
    for run, step in ((verify, "verifying"), (plan, "planning"), (audit, "looking at every layer")):
        steps.clear()
        run(chiral, spec, (x,), progress=listen)
        assert steps[0] == "exporting" and step in steps


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(tmp_path, capsys, monkeypatch)


@pytest.mark.thorough
def test_quiet_is_one_sentence_and_verbose_a_line_for_each_step(shell: Shell) -> None:
    save_program(network(hidden=8), shell.folder / "net.pt2")
    convert = ("convert", "net.pt2", "--skeleton", "lifter.yaml", "--method", "average", "--samples", "1")
    quiet = shell(*convert, "-o", "a.pt2", "--quiet")
    assert (quiet.status, quiet.err) == (0, "") and len(quiet.out.splitlines()) == 1
    assert quiet.out.startswith("converted with warnings: equivariant")
    verified = shell("verify", "a.pt2", "-q")
    assert (verified.status, verified.err) == (0, "") and len(verified.out.splitlines()) == 1
    loud = shell(*convert, "-o", "b.pt2", "--verbose")
    assert re.search(r"^chiralize: took +[0-9.]+ s  converting by average$", loud.err, re.MULTILINE)
    assert len(loud.out.splitlines()) > 10
    both = shell("verify", "a.pt2", "-q", "-v")
    assert both.status == 2 and "--quiet: --verbose is given as well" in both.err


SIZED = """
from torch import nn

class Sized(nn.Sequential):
    def __init__(self, joints, width):
        layers = nn.Linear(2 * joints, width), nn.ReLU(), nn.Linear(width, 2 * joints)
        super().__init__(nn.Flatten(1), *layers, nn.Unflatten(1, (joints, 2)))
"""


def test_trials_are_steps_of_their_own(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments and sizes that are looked for, each once in a log; Python hears how many were tried."""
    monkeypatch.syspath_prepend(shell.folder)
    (shell.folder / "progress_sized_nets.py").write_text(SIZED)
    space: dict[str, Any] = {"__name__": "progress_sized_nets"}
    exec(SIZED, space)
    net = space["Sized"](5, 12)
    torch.save(net.state_dict(), shell.folder / "sized.pt")
    result = shell("plan", "sized.pt", "--skeleton", "lifter.yaml", "--model", "progress_sized_nets:Sized", "--verbose")
    told = re.findall(r"^chiralize: took +[0-9.]+ s  (.*)$", result.err, re.MULTILINE)
    arguments = "trying arguments of progress_sized_nets:Sized"
    assert told[:5] == ["loading", arguments, "loading", "trying input sizes", "exporting"], result.err
    steps: list[str] = []
    plan(net, parse_spec(LIFTER), progress=lambda step, done=None: steps.append(step))
    trials = [step for step in steps if step.startswith("trying")]
    assert steps[:2] == ["exporting", "trying input sizes"] and steps[-1] == "planning"
    assert all(step == f"trying input sizes, {tried} tried" for tried, step in enumerate(trials[1:], 1))
    exports = [step for step in steps[2:] if step not in trials][:-1]
    assert exports == [
        "exporting",
        "exporting, program 1 of at most 3",
        "exporting, comparing the program with the network",
    ]


def test_the_gap_is_said_before_other_mirrors_are_tried() -> None:
    """They may take minutes, and a gap as of no mirror at all is worth to be known at once."""
    steps: list[str] = []
    real = (poses(40)[:, :, :1] * torch.linspace(0.5, 1.5, 10).view(5, 2)).tanh()
    report = audit(
        network(), parse_spec(LIFTER), poses(2), calibration=real, progress=lambda step, done=None: steps.append(step)
    )
    assert report.evidence.fit is not None
    asked = [step for step in steps if step.startswith("checking the mirror against the network")]
    gap = f"checking the mirror against the network: its gap is {report.evidence.fit.gap:.2g}; looking at other mirrors"
    assert asked[1] == gap and asked[2].startswith(f"{gap}, 1 tried"), asked


@pytest.mark.parametrize(
    ("words", "known"), [("chiralize con", "convert"), ("chiralize convert net.pt2 --skeleton h3", "h36m-17"),
                         ("chiralize convert net.pt2 --method re", "reduce")],
)  # fmt: skip
def test_the_shell_completes(words: str, known: str) -> None:
    environment = {
        **os.environ,
        "_CHIRALIZE_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    done = subprocess.run(
        [sys.executable, "-m", "chiralize"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert known in done.stdout.split() and (done.returncode, done.stderr) == (0, "")
