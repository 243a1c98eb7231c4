"""Networks whose inputs have no batch axis: a call is one sample, in every way in and in every figure."""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.commands.on_examples import prepared
from chiralize.verification.judge import light_rows
from tests.support import script_nets
from tests.support.cases import mainly
from tests.support.command import Shell, working_shell

BODY = """joints: [l_hip, l_knee, r_hip, r_knee]
pairs: [[l_hip, r_hip], [l_knee, r_knee]]
dims: [q]
negate: []
signs: {l_hip: [-1], r_hip: [-1]}
lateral: y
inputs:
  - {layout: "f", fields: [{joints: q}, {vector: gravity}]}
"""
ACTIONS = '  - {layout: "f", fields: [{joints: action}]}\n'
SPECS = {
    "actions": f"{BODY}outputs:\n{ACTIONS}",
    "value": f"{BODY}outputs:\n  - {{invariant: true}}\n",
    "both": f"{BODY}outputs:\n{ACTIONS}  - {{invariant: true}}\n",
    "memory": f"{BODY}  - {{state: true}}\noutputs:\n{ACTIONS}  - {{state: true}}\n",
}
SIZE, HIDDEN = 7, 6


class Policy(nn.Module):
    """Four actions, behind a normaliser of entries or without."""

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, normalised: bool = False) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(SIZE, 16), nn.ELU(), nn.Linear(16, 4))
        self.register_buffer("mean", torch.linspace(-0.1, 0.1, SIZE))
        self.register_buffer("spread", torch.linspace(0.5, 2.0, SIZE) if normalised else torch.ones(SIZE))

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """The actions."""
        return self.net((obs - self.mean) / self.spread)


class Value(nn.Module):
    """A number without any axis."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(SIZE, 16), nn.ELU(), nn.Linear(16, 1))

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """The value."""
        return self.net(obs).squeeze(-1)


class Both(nn.Module):
    """Actions and a value."""

    def __init__(self) -> None:
        super().__init__()
        self.policy, self.value = Policy(), Value()

    def forward(self, obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Both."""
        return self.policy(obs), self.value(obs)


class Memory(nn.Module):
    """A policy that is handed its state."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.GRUCell(SIZE, HIDDEN), nn.Linear(HIDDEN, 4)

    def forward(self, obs: torch.Tensor, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The actions and the state."""
        hidden = self.cell(obs, hidden)
        return self.out(hidden), hidden


NETS = {"actions": Policy, "value": Value, "both": Both, "memory": Memory}


def net_of(name: str, *args: Any) -> nn.Module:
    torch.manual_seed(3)
    return NETS[name](*args).eval()


def call_of(name: str) -> tuple[torch.Tensor, ...]:
    return (torch.ones(SIZE), torch.zeros(HIDDEN))[: 1 + (name == "memory")]


def samples(count: int = 30) -> np.ndarray:
    return np.random.default_rng(0).standard_exponential((count, SIZE)).astype(np.float32) - 1


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    for name, text in SPECS.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
        no_layout = text.replace('layout: "f", ', "")
        (tmp_path / f"{name}_inferred.yaml").write_text(no_layout, encoding="utf-8")
    np.savez(tmp_path / "obs.npz", obs=samples())
    yield from working_shell(tmp_path, capsys, monkeypatch)


def by_hand(path: Path, size: int | str = SIZE) -> None:
    """An ONNX policy of vectors, node by node."""
    rng = np.random.default_rng(1)
    weights = {"w": rng.normal(size=(SIZE, 9)), "b": rng.normal(size=9), "v": rng.normal(size=(9, 4))}
    nodes = [
        helper.make_node("MatMul", ["obs", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["q"]),
        helper.make_node("Tanh", ["q"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["action"]),
    ]
    ports = [
        [helper.make_tensor_value_info("obs", TensorProto.FLOAT, [size])],
        [helper.make_tensor_value_info("action", TensorProto.FLOAT, [4])],
    ]
    stored = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "policy", ports[0], ports[1], stored), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 9
    onnx.save(model, str(path))


def write(folder: Path, name: str, kind: str) -> str:
    """The network as a file of this kind."""
    net, call, path = net_of(name), call_of(name), folder / f"net.{kind}"
    if kind == "pt2":
        torch.export.save(torch.export.export(net, call), path)
    elif kind == "pt":
        script_nets.save(script_nets.script_of(net, *call), path)
    else:
        names = [f"in_{number}" for number in range(len(call))]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(net, call, str(path), input_names=names, dynamo=False)
    return path.name


_BY_DEFAULT = (("actions", "onnx"), ("value", "pt2"), ("both", "pt"), ("memory", "pt2"))


def sizes(name: str, kind: str) -> Sequence[str]:
    if kind != "pt":
        return ()
    return ("--input-shape", str(SIZE), *(("--input-shape", str(HIDDEN)) if name == "memory" else ()))


@pytest.mark.parametrize(("name", "kind"), mainly(itertools.product(NETS, ("onnx", "pt2", "pt")), _BY_DEFAULT))
def test_every_way_in(shell: Shell, name: str, kind: str) -> None:
    """With calibration and without, with the layout and without; the result takes what the original takes."""
    file = write(shell.folder, name, kind)
    options = ("--skeleton", f"{name}_inferred.yaml", *sizes(name, kind), "--force", "--samples", "1")
    result = shell("convert", file, *options, "--method", "average", "-o", f"average.{kind}")
    assert result.status == 0, result.err
    fit = ("--method", "match", "--calibration", "obs.npz", "--fast")
    result = shell("convert", file, *options, *fit, "-o", f"match.{kind}")
    assert result.status == 0, result.err
    for written in (f"average.{kind}", f"match.{kind}"):
        assert shell("verify", written).status == 0
    if kind == "onnx":
        session = onnxruntime.InferenceSession(str(shell.folder / "match.onnx"), providers=["CPUExecutionProvider"])
        assert [port.shape for port in session.get_inputs()] == [list(each.shape) for each in call_of(name)]


def test_a_row_of_calibration_is_a_call(shell: Shell) -> None:
    """The figures are those of the same network with a batch."""
    by_hand(shell.folder / "hand.onnx")
    options = ("--skeleton", "actions.yaml", "--calibration", "obs.npz", "--force")
    result = shell("convert", "hand.onnx", *options, "--method", "reduce", "-o", "chiral.onnx")
    assert result.status == 0, result.err
    result = shell("verify", "chiral.onnx", "--calibration", "obs.npz")
    assert result.status == 0 and "30 samples of yours" in result.out, result.out


@pytest.mark.parametrize("normalised", [False, True])
def test_the_same_figures_as_with_a_batch(normalised: bool) -> None:
    net, spec = net_of("actions", normalised), parse_spec(SPECS["actions"].replace('layout: "f", ', ""))
    calibration = torch.from_numpy(samples(320))
    reports = []
    for example in (torch.ones(SIZE), torch.ones(2, SIZE)):
        chiral = chiralize.chiralize(net, spec, (example,), method="average", calibration=calibration, force=True)
        reports.append(chiralize.chirality(chiral).report)
    single, batched = reports
    assert single.drift.samples == batched.drift.samples == 64
    for figure in ("gap", "lean"):
        ours, theirs = (getattr(report.drift.outputs[0], figure) for report in reports)
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-6)
    joints = [[(joint.name, round(joint.gap, 4)) for joint in report.drift.outputs[0].joints] for report in reports]
    assert joints[0] == joints[1] and len(joints[0]) == 4


ARRAYS = {
    "numbers in a row": (samples().ravel(), r"store a sample a row: \(sample, 7\)"),
    "another width": (samples()[:, :6], r"store a sample a row: \(sample, 7\)"),
    "sequences": (samples().reshape(5, 6, SIZE), r"store a sample a row: \(sample, 7\)"),
    "one number": (np.float32(3), r"store a sample a row: \(sample, 7\)"),
    "one sample": (samples()[0], "some 2,000 that differ"),
    "one sample, often": (samples()[[0] * 50], "every sample is the same"),
    "none": (samples()[:0], "give at least one sample"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_that_do_not_fit(shell: Shell, case: str) -> None:
    array, message = ARRAYS[case]
    by_hand(shell.folder / "hand.onnx")
    np.savez(shell.folder / "other.npz", obs=array)
    result = shell("convert", "hand.onnx", "--skeleton", "actions.yaml", "--calibration", "other.npz", "-o", "x.onnx")
    assert result.status == 2 and re.search(message, result.err), result.err


@pytest.mark.parametrize("command", ["convert", "audit", "plan", "verify"])
def test_another_rank_is_told_the_sizes_of_the_file(shell: Shell, command: str) -> None:
    by_hand(shell.folder / "hand.onnx")
    result = shell(command, "hand.onnx", "--skeleton", "actions_inferred.yaml", "--input-shape", "1,7")
    assert result.status == 2
    assert "input 'obs' takes shape (7,), (1, 7) is given: one call is one sample, without a batch axis" in result.err
    assert "Fix: give these sizes: --input-shape 7" in result.err


def test_another_number_of_inputs(shell: Shell) -> None:
    write(shell.folder, "memory", "onnx")
    result = shell("convert", "net.onnx", "--skeleton", "memory.yaml", "--input-shape", "7")
    assert result.status == 2 and "give all of them, and no other: --input-shape 7 --input-shape 6" in result.err


def test_an_open_size_that_is_no_batch(shell: Shell) -> None:
    by_hand(shell.folder / "open.onnx", "n")
    result = shell("convert", "open.onnx", "--skeleton", "actions.yaml")
    assert result.status == 2 and "onnxruntime cannot run it on inputs of shape (2,)" in result.err
    result = shell("plan", "open.onnx", "--skeleton", "actions.yaml", "--input-shape", "7")
    assert result.status == 0, result.err


def test_batches_of_samples_in_python() -> None:
    spec = parse_spec(SPECS["actions"])
    batches = list(torch.from_numpy(samples()).split(20))
    with pytest.raises(chiralize.errors.DataFileError, match="give all samples as one array, or a list of single ones"):
        chiralize.chiralize(net_of("actions"), spec, (torch.ones(SIZE),), method="match", calibration=batches)


def test_nothing_is_cut_from_an_axis_of_the_body() -> None:
    """Costly networks are run on fewer samples; a call of one sample has none to leave out, whatever its first axis."""
    net, spec = Policy().eval(), parse_spec(SPECS["actions"])
    assert light_rows(prepared(net, spec, (torch.zeros(SIZE),), None, "forward")) is None
    batched = parse_spec(SPECS["actions"].replace('"f"', '"b f"'))
    assert light_rows(prepared(net, batched, (torch.zeros(5, SIZE),), None, "forward")) == 5
