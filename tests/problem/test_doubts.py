"""Defaults that nobody gave are warned of where answers change with them, and named as the cause of constant ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from chiralize.body.tensors import parse_spec
from chiralize.problem import doubts
from chiralize.problem.doubts import with_assumed
from chiralize.problem.network import Network
from chiralize.problem.partial import prepare
from chiralize.storage.load import load_model
from tests.support.command import Shell
from tests.support.small_body import POSE

CLASS = '''
import numpy as np
import torch
from torch import nn


class Hops(nn.Module):
    """`k` reaches forward by a constant, `shift` by a closure; `noise` matters in training, `gain` nowhere."""

    def __init__(self, k=0, shift=0.5, noise=0.1, gain=1, width=8, fragile=False):
        super().__init__()
        graph = np.eye(6, k=1)
        self.hops = torch.from_numpy(np.eye(6) - np.linalg.matrix_power(graph, k)).float()
        self.noise, self.gain, self.fragile = noise, gain, fragile
        self.prior = gain * torch.randn(4)
        self.first, self.last = nn.Linear(2, width), nn.Linear(width, 2)
        self.move = lambda x: x + shift

    def forward(self, x):
        x = self.first(self.hops.to(x) @ x)
        if self.training:
            x = x + self.noise * torch.randn_like(x)
        if self.fragile:
            raise RuntimeError("not with such inputs")
        return self.last(self.move(x).tanh())
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hops_net.py").write_text(CLASS)
    (tmp_path / "pose.yaml").write_text(POSE)
    space: dict[str, type[nn.Module]] = {}
    exec(CLASS, space)
    torch.manual_seed(0)
    torch.save(space["Hops"]().state_dict(), tmp_path / "w.pt")
    return tmp_path


def opened(folder: Path, **given: str) -> Network:
    loaded = load_model(folder / "w.pt", factory="hops_net:Hops", factory_args=given)
    call = ((torch.randn(3, 6, 2),), {})
    return with_assumed(prepare(loaded.module, parse_spec(POSE), *call), loaded, call)


def test_those_that_change_answers(folder: Path) -> None:
    """Neither what matters in training alone, nor a table that is never read; what could not be run shows by itself."""
    assert opened(folder, k="1", fragile="false").notes[0] == (
        "warning: shift was assumed: the class's own shift=0.5. Weights fit other values as well, and the network "
        "answers otherwise with these. Give what it was trained with, the default too, which ends this warning: "
        "--arg shift=VALUE"
    )
    note = opened(folder, k="1").notes[0]
    assert note.startswith("warning: fragile, shift were assumed: the class's own fragile=False, shift=0.5. ")
    assert "may answer otherwise with these" in note
    given = {"k": "1", "shift": "0.5", "fragile": "false"}
    assert not any("assumed" in note for note in opened(folder, **given).notes)


def test_the_cause_of_constant_answers(folder: Path) -> None:
    """k = 0 makes I - A^0 = 0; with 1 in its place the same weights answer."""
    constant = opened(folder).behaviour.constant
    assert constant.is_all and constant.facts == (
        "its answers do not depend on its inputs: 8 random inputs got the same; with k=1 in the place of its default 0 "
        "they do"
    )
    assert constant.remedy == "give the value that it was trained with: --arg k=VALUE"
    told = opened(folder, k="0").behaviour.constant
    assert told.is_all and told.cause is None


def test_without_time_modules_tell(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubts, "SECONDS", -1.0)
    (note,) = [note for note in opened(folder).notes if "assumed" in note]
    assert note.startswith("warning: k, noise, gain, fragile were assumed") and "may answer otherwise" in note
    assert opened(folder).behaviour.constant.cause is None


@pytest.mark.parametrize("command", ["plan", "convert", "audit", "verify"])
def test_on_the_command_line(folder: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    shell, given = Shell(folder, capsys), ("--skeleton", "pose.yaml", "--input-shape", "1,6,2")
    done = shell(command, "w.pt", "--model", "hops_net:Hops", *given)
    assert done.status == {"plan": 3, "convert": 2, "audit": 2, "verify": 1}[command]
    text = done.out + done.err
    assert "its answers do not depend on its inputs: 8 random inputs got the same; with k=1" in text
    assert "report the model" not in text and "CH502" not in text
