"""`bench --rollout`: files as they are deployed, states carried, the mirror followed along the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import isnan
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from chiralize.commands.stepping import _Gap
from tests.support.command import BODY, Shell, working_shell

STATES = """
inputs: [{layout: "b (j d)"}, {state: true}]
outputs: [{layout: "b (j d)"}, {state: true}]
"""
INSIDE = """
inputs: [{layout: "b (j d)"}]
outputs: [{layout: "b (j d)"}]
"""


class Handed(nn.Module):
    """A policy that takes its state and returns it."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(10, 8), nn.Linear(8, 10)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Actions, and the next state."""
        h = self.cell(x, h)
        return self.head(h), h


class Kept(nn.Module):
    """The same with the state in a buffer."""

    state: Tensor

    def __init__(self, inner: Handed) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("state", torch.zeros(1, 8))

    def forward(self, x: Tensor) -> Tensor:
        """Actions."""
        answer, state = self.inner(x, self.state)
        self.state[:] = state
        return answer


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(tmp_path, capsys, monkeypatch)


def save(folder: Path, kind: str) -> str:
    """The original in a file of one kind; the specification is body.yaml."""
    torch.manual_seed(0)
    net = Handed().eval()
    (folder / "body.yaml").write_text(BODY + (STATES if kind == "onnx" else INSIDE))
    if kind == "onnx":
        example = (torch.zeros(1, 10), torch.zeros(1, 8))
        names = {"input_names": ["x", "h"], "output_names": ["y", "h_out"]}
        torch.onnx.export(net, example, folder / "net.onnx", dynamo=False, **names)
        return "net.onnx"
    kept = Kept(net)
    with torch.no_grad():
        script = torch.jit.trace(kept, torch.zeros(1, 10), check_trace=False)
        script.state.zero_()
    script.save(folder / "net.pt")
    return "net.pt"


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
def test_a_policy_with_a_state(shell: Shell) -> None:
    """The original is lopsided along the sequence, the result commutes with the mirror to its last step."""
    source = save(shell.folder, "script")
    done = shell("convert", source, "--skeleton", "body.yaml", "--method", "match", "--force", "-o", "chiral.pt")
    assert done.status == 0, done.err
    words = ("bench", source, "chiral.pt", "--skeleton", "body.yaml", "--rollout", "--steps", "100")
    report = json.loads(shell(*words, "--batch", "1", "--threads", "1", "--format", "json").out)
    original, average, chiral = report["rollout"]
    assert [row["name"] for row in report["rollout"]] == ["original", "flip average (TTA)", "chiral"]
    assert original["residual"] > 0.1 and average["residual"] == 0 and chiral["residual"] < 1e-5
    assert chiral["last"] <= chiral["residual"] and chiral["to_average"] > 1e-3
    assert all(0 < row["seconds"] <= row["slow"] for row in report["rollout"])
    for more, what in ((("--batch", "2"), "a robot has one sample"), (("--compile",), "the files as they are")):
        refused = shell(*words, *more)
        assert refused.status == 2 and what in refused.err


@pytest.mark.one_in(2)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["onnx", "script"])
def test_a_result_that_is_not_symmetric_shows(shell: Shell, kind: str) -> None:
    """The original in the result's place, in both kinds of files: its error is that of the original."""
    source = save(shell.folder, kind)
    words = ("bench", source, source, "--skeleton", "body.yaml", "--rollout", "--steps", "100")
    done = shell(*words)
    assert "A step of a roll-out (1 thread, cpu)" in done.out and "slowest 1 %" in done.out, done.err
    assert ("onnxruntime" if kind == "onnx" else "torch.jit") in done.out
    rows = json.loads(shell(*words, "--format", "json").out)["rollout"]
    assert rows[2]["residual"] == pytest.approx(rows[0]["residual"]) and rows[2]["residual"] > 0.1
    assert rows[2]["to_average"] > 0.1


def test_an_answer_that_is_no_number_is_no_small_gap() -> None:
    """Whenever along the sequence it comes."""
    gap, expected = _Gap(), [torch.ones(1)]
    for answer in (0.5, float("nan"), 0.9):
        gap.add([torch.tensor([answer])], expected)
    assert isnan(gap.relative) and gap.last == pytest.approx(0.1)
