"""`lift` became `average`, --calibrate and --data became --calibration: the former names work, and say so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from chiralize import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.commands.plan import plan
from chiralize.methods.registry import method_of
from chiralize.problem.preparation import prepare
from chiralize.problem.request import Request
from chiralize.storage.passport import Passport
from tests.support.command import Shell, network, poses, save_program, working_shell
from tests.support.small_body import POSE, Net, normal, trained

METHOD = "--method lift is called average now: the former name still works"
BLOCKED = "--on-blocked lift is called average-all now: the former name still works"


def lifter() -> nn.Module:
    return trained(Net(lambda s, x: s.last(torch.tanh(s.first(x.flatten(1)))).unflatten(1, (6, 2)),
                       first=nn.Linear(12, 24), last=nn.Linear(24, 12)))  # fmt: skip


def test_a_request_has_the_current_name_and_a_remark() -> None:
    request = Request("lift", on_blocked="lift", remarks=("as given",))
    assert (request.method, request.on_blocked) == ("average", "average-all")
    assert request.remarks == ("as given", METHOD, BLOCKED)
    assert replace(request, samples=3).remarks == request.remarks
    assert Request("average").remarks == ()


def test_python_takes_the_former_name() -> None:
    report = chiralize(lifter(), parse_spec(POSE), (normal(3, 6, 2),), method="lift", samples=1).chirality.report
    assert report.method == "average" and METHOD in report.notes


def test_plans_and_files_take_the_former_name() -> None:
    assert method_of("lift") is method_of("average")
    network = prepare(lifter(), parse_spec(POSE), (normal(3, 6, 2),))
    assert plan(network, "net", "lift") == plan(network, "net", "average")
    written = Passport(parse_spec(POSE), "lift", "two-view").to_json()
    assert Passport.from_json(written, "old.pt2").method == "average"


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(tmp_path, capsys, monkeypatch)


def test_the_command_line_takes_the_former_name(shell: Shell) -> None:
    save_program(network(hidden=8), shell.folder / "net.pt2")
    words = ("convert", "net.pt2", "--skeleton", "lifter.yaml", "--samples", "1", "-o", "out.pt2")
    made = shell(*words, "--method", "lift")
    assert made.status == 0 and METHOD in " ".join(made.out.split())
    made = shell(*words[:-1], "weights.pt", "--method", "lift")
    assert made.status == 2 and "an averaged network is a graph" in made.err


@pytest.mark.one_in(2)
@pytest.mark.parametrize(("command", "former"), [("convert", "--calibrate"), ("audit", "--data")])
def test_inputs_have_one_name(command: str, former: str, shell: Shell) -> None:
    """The former option does what the current one does, with a remark; both at once contradict each other."""
    save_program(network(hidden=8), shell.folder / "net.pt2")
    np.save("poses.npy", poses(64).numpy())
    words = (command, "net.pt2", "--skeleton", "lifter.yaml", "--samples", "2")
    words += ("--method", "project", "--rounds", "0", "-o", "out.pt2", "--force") if command == "convert" else ()
    remark = f"{former} is called --calibration now: the former name still works"
    renamed, current = (shell(*words, option, "poses.npy").out for option in (former, "--calibration"))
    assert remark in " ".join(renamed.split()) and remark not in " ".join(current.split())
    assert renamed.partition(" of the time")[0][:60] == current.partition(" of the time")[0][:60]
    both = shell(*words, former, "poses.npy", "--calibration", "poses.npy")
    assert both.status == 2 and f"{former}: is the former name of --calibration, and both are given" in both.err
    assert former not in shell(command, "--help").out
