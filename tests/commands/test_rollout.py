"""`bench --rollout`: files as they are deployed, states carried, the mirror followed along the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

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


def saved(shell: Shell, kind: str) -> tuple[str, str]:
    """The original and its conversion by match, of files of one kind; the specification is body.yaml."""
    torch.manual_seed(0)
    net = Handed().eval()
    (shell.folder / "body.yaml").write_text(BODY + (STATES if kind == "onnx" else INSIDE))
    if kind == "onnx":
        example = (torch.zeros(1, 10), torch.zeros(1, 8))
        names = {"input_names": ["x", "h"], "output_names": ["y", "h_out"]}
        torch.onnx.export(net, example, shell.folder / "net.onnx", dynamo=True, verbose=False, **names)
    else:
        with torch.no_grad():
            torch.jit.script(Kept(net)).save(shell.folder / "net.pt")
    suffix = "onnx" if kind == "onnx" else "pt"
    words = ("--skeleton", "body.yaml", "--method", "match", "--force")
    done = shell("convert", f"net.{suffix}", *words, "-o", f"chiral.{suffix}")
    assert done.status == 0, done.err
    return f"net.{suffix}", f"chiral.{suffix}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["onnx", "script"])
def test_a_policy_with_a_state(shell: Shell, kind: str) -> None:
    """The original is lopsided along the sequence, the result commutes with the mirror to its last step."""
    files = saved(shell, kind)
    words = (
        "bench",
        *files,
        "--skeleton",
        "body.yaml",
        "--batch",
        "1",
        "--threads",
        "1",
        "--rollout",
        "--steps",
        "100",
    )
    report = json.loads(shell(*words, "--format", "json").out)
    original, average, chiral = report["rollout"]
    assert [row["name"] for row in report["rollout"]] == ["original", "flip average (TTA)", "chiral"]
    assert original["residual"] > 0.1 and average["residual"] == 0 and chiral["residual"] < 1e-5
    assert chiral["last"] <= chiral["residual"] and chiral["to_average"] > 1e-3
    assert all(0 < row["seconds"] <= row["slow"] for row in report["rollout"])
    text = shell(*words).out
    assert "A step of a roll-out (1 thread, cpu)" in text and "slowest 1 %" in text
    assert ("onnxruntime" if kind == "onnx" else "torch.jit") in text


@pytest.mark.filterwarnings("ignore")
def test_a_result_that_is_not_symmetric_shows(shell: Shell) -> None:
    """The original in the result's place: its error is that of the original. And what --rollout does not go with."""
    first, _ = saved(shell, "script")
    words = ("bench", first, first, "--skeleton", "body.yaml", "--rollout", "--steps", "100")
    rows = json.loads(shell(*words, "--format", "json").out)["rollout"]
    assert rows[2]["residual"] == pytest.approx(rows[0]["residual"]) and rows[2]["residual"] > 0.1
    for more, what in ((("--batch", "2"), "a robot has one sample"), (("--compile",), "the files as they are")):
        refused = shell(*words, *more)
        assert refused.status == 2 and what in refused.err
