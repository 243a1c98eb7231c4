"""The line that a user types first: a model, a skeleton, and nothing about sizes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.command import (
    MODULE,
    Shell,
    network,
    save_script,
    save_weights,
    scrambled,
    working_shell,
)

TAKEN = "taken as b j d = 1,5,2; --input-shape says otherwise"
SCORES = """

class Turns(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.root, self.body = nn.Linear(8, 8), nn.Linear(8, 6), nn.Linear(8, 18)

    def forward(self, x):
        h = self.first(x).relu()
        return self.root(h), self.body(h)


class Scores(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(10, 4)

    def forward(self, poses):
        return self.fc(poses.flatten(1))


class Observing(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(10, 10)

    def forward(self, obs: dict):
        return self.fc(obs["policy"].flatten(1)).unflatten(1, (5, 2))
"""


def made(name: str) -> nn.Module:
    """A scrambled instance of one of these networks."""
    space: dict[str, object] = {"__name__": MODULE, "nn": nn}
    exec(SCORES, space)
    return scrambled(space[name]())  # type: ignore[operator]


@pytest.fixture
def shell(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    for one in working_shell(tmp_path, capfd, monkeypatch):
        with (tmp_path / f"{MODULE}.py").open("a") as module:
            module.write(SCORES)
        yield one


def test_convert_torchscript(shell: Shell) -> None:
    """Nothing but the model and the skeleton; what was taken leads the report in every format."""
    save_script(network(), shell.folder / "ts.pt", traced=True)
    done = shell("convert", "ts.pt", "--skeleton", "body.yaml", "--method", "match", "--report", "report.html")
    assert done.status == 0, done.err
    assert done.out.splitlines()[1].strip() == TAKEN
    page = (shell.folder / "report.html").read_text()
    assert page.index(TAKEN) < page.index("Cost")
    assert shell("verify", "ts.chiral.pt2").status == 0
    text = shell("plan", "ts.pt", "--skeleton", "body.yaml", "--format", "json").out
    assert json.loads(text)["notes"][0] == TAKEN


@pytest.mark.thorough
def test_weights_know_their_sizes_afterwards(shell: Shell) -> None:
    """A file of ours needs no sizes either: they are in its record, and nothing is tried."""
    save_weights(network(), shell.folder / "net.pt")
    factory = ("--model", f"{MODULE}:Lifter")
    sizes = ("--input-shape", "4,5,2")
    words = ("convert", "net.pt", *factory, *sizes, "--skeleton", "body.yaml", "--method", "match", "-o")
    for target in ("out.safetensors", "out.pt"):
        done = shell(*words, target)
        assert done.status == 0 and "taken as" not in done.out, done.err
        verified = shell("verify", target, *factory)
        assert verified.status == 0 and "taken as" not in verified.out, verified.err


def test_older_files_without_sizes_stay_readable(shell: Shell) -> None:
    save_weights(network(), shell.folder / "net.pt")
    factory = ("--model", f"{MODULE}:Lifter")
    assert (
        shell("convert", "net.pt", *factory, "--skeleton", "body.yaml", "--method", "match", "-o", "out.pt").status == 0
    )
    record = shell.folder / "out.pt.chirality.json"
    table = json.loads(record.read_text())
    assert table.pop("inputs") == [{"tuple": [{"sizes": [1, 5, 2], "kind": "float32"}]}, {"dict": {}}]
    record.write_text(json.dumps(table))
    verified = shell("verify", "out.pt", *factory)
    assert verified.status == 0 and TAKEN in verified.out
    record.write_text(json.dumps({**table, "inputs": [{"tuple": [{"sizes": [2**40], "kind": "int64"}]}, {"dict": {}}]}))
    refused = shell("verify", "out.pt", *factory)
    assert refused.status == 2 and "CH201" in refused.err and "1,099,511,627,776 entries" in refused.err


@pytest.mark.thorough
@pytest.mark.parametrize("command", ["audit", "plan"])
def test_other_commands(shell: Shell, command: str) -> None:
    save_script(network(), shell.folder / "ts.pt", traced=False)
    done = shell(command, "ts.pt", "--skeleton", "body.yaml")
    assert done.status == 0 and done.out.splitlines()[1].strip() == TAKEN


@pytest.mark.thorough
def test_a_message_whose_command_works(shell: Shell) -> None:
    """Scores have no joints: the message names --invariant, and with it the line goes through."""
    net = made("Scores")
    save_weights(net, shell.folder / "scores.pt")
    words = ("convert", "scores.pt", "--model", f"{MODULE}:Scores", "--skeleton", "body.yaml")
    refused = shell(*words)
    assert refused.status == 2 and "with 1,5,2 it runs and answers (1, 4)" in refused.err
    assert "Fix: if it answers class scores, which the mirror leaves alone:\n" in refused.err
    line = next(line for line in refused.err.splitlines() if line.endswith("--invariant")).split()
    assert line == ["chiralize", *words, "--invariant"]
    done = shell(*line[1:])
    assert done.status == 0 and TAKEN in done.out, done.err


def test_heads_of_rotations_are_no_scores(shell: Shell) -> None:
    """Six numbers for each joint but the root, which has a head of its own."""
    save_weights(made("Turns"), shell.folder / "turns.pt")
    (shell.folder / "turned.yaml").write_text(
        "joints: [left, right, top, root]\npairs: [[left, right]]\ndims: [x, y]\nnegate: x\n"
    )
    refused = shell("plan", "turns.pt", "--model", f"{MODULE}:Turns", "--skeleton", "turned.yaml")
    assert refused.status == 2 and "answers (1, 6), (1, 18)" in refused.err
    assert "Fix: rotations of joints are `kind: rotation` in a file" in refused.err


@pytest.mark.thorough
def test_another_skeleton(shell: Shell) -> None:
    save_script(network(), shell.folder / "ts.pt", traced=True)
    refused = shell("convert", "ts.pt", "--skeleton", "h36m")
    assert refused.status == 2 and "'first.weight' reads 10 numbers" in refused.err
    assert not list(shell.folder.glob("*.pt2"))


# ---- sizes by name --------------------------------------------------------------------------------------------------
def test_arguments_by_name(shell: Shell) -> None:
    save_weights(network("Policy"), shell.folder / "policy.pt")
    layouts = ("--input-layout", "b j d", "--input-layout", "free", "--input-layout", "state")
    words = ("plan", "policy.pt", "--model", f"{MODULE}:Policy", "--skeleton", "body.yaml", *layouts)
    words = (*words, "--output-layout", "b j d", "--output-layout", "state")
    sizes = ("--input-shape", "h=2,6", "--input-shape", "pose=2,5,2", "--input-shape", "speed=2,1")
    assert shell(*words, *sizes).status == 0
    derived = shell(*words)
    assert derived.status == 0
    assert "pose: b j d = 1,5,2; speed: free = 1,1; h: state = 1,6; --input-shape says otherwise" in derived.out
    for bad, says in (
        (("--input-shape", "pose=2,5,2", "--input-shape", "pose=2,5,2"), "given twice"),
        (("--input-shape", "2,5,2", "--input-shape", "pose=2,5,2"), "by its place before"),
        (
            ("--input-shape", "2,5,2", "--input-shape", "hh=2,6"),
            "'hh' is no argument: the network takes pose, speed, h",
        ),
        (("--input-shape", "pose=2,x"), "'2,x' is no shape"),
    ):
        refused = shell(*words, *bad)
        assert refused.status == 2 and "CH207" in refused.err and says in refused.err, refused.err


def test_a_network_that_takes_a_table(shell: Shell) -> None:
    save_weights(made("Observing"), shell.folder / "net.pt")
    words = ("net.pt", "--model", f"{MODULE}:Observing", "--skeleton", "body.yaml")
    for more in ((), ("--input-shape", "policy=1,5,2")):
        done = shell("convert", *words, *more, "--method", "match", "-o", "out.pt2")
        assert done.status == 0, done.err
        assert shell("verify", "out.pt2").status == 0


def test_many_inputs_take_no_second_export(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes that are found out have one sample, and calibration inputs come in batches: one program takes both."""
    exported, export = list[int](), torch.export.export

    def counted(module: nn.Module, args: tuple[Tensor, ...], *others: object, **named: object) -> object:
        exported.append(len(args[0]))
        return export(module, args, *others, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.export, "export", counted)
    save_weights(network(), shell.folder / "net.pt")
    np.save(shell.folder / "poses.npy", torch.randn(64, 5, 2).numpy())
    words = ("net.pt", "--model", f"{MODULE}:Lifter", "--skeleton", "body.yaml", "--calibration", "poses.npy")
    done = shell("convert", *words, "--method", "match", "--force", "-o", "out.pt2")
    assert done.status == 0, done.err
    assert exported == [2]
    arguments = torch.export.load(shell.folder / "out.pt2").example_inputs
    assert arguments is not None and len(arguments[0][0]) == 32
    assert shell("verify", "out.pt2").status == 0
