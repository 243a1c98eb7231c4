"""Every kind of file in and out, every command: scripts, ONNX, checkpoints of trainers, data files, skeletons."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from cases import BY_NAME, COCO, H36M, NTU, SMPL
from conftest import Shell
from judge import residual
from kitchen import CASE, network, poses
from torch import Tensor

import chiralize

pytestmark = pytest.mark.doors
LIFTER = "--skeleton lifter.yaml"
TURN = CASE.turns_in[0]
assert TURN is not None


def commutes(answer: Any) -> bool:
    """Whether a function of poses, of tensors or of arrays, commutes with T at float32's rounding."""
    x = poses(3, 9)
    y, image = torch.as_tensor(answer(x)), torch.as_tensor(answer(TURN(x)))
    return bool((TURN(y) - image).abs().max() <= 1e-5 * y.abs().max())


# ---- scripts and ONNX -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("way", ["traced", "scripted"])
@pytest.mark.parametrize("method", ["match", "average"])
def test_torchscript_in_and_out(shell: Shell, way: str, method: str) -> None:
    nets = importlib.import_module("nets")
    net = nets.Lifter().eval()
    net.load_state_dict(network().state_dict())
    script = torch.jit.trace(net, (poses(),)) if way == "traced" else torch.jit.script(net)
    torch.jit.save(script, "net.pt")
    line = f"convert net.pt {LIFTER} --input-shape 3,5,2 --method {method}"
    shell.works(f"{line} -o out.pt")
    assert commutes(torch.jit.load("out.pt"))
    assert shell("verify out.pt").status == 0
    shell.works(f"{line} -o out.pt2")
    assert commutes(torch.export.load("out.pt2").module())


@pytest.mark.parametrize("method", ["match", "average"])
def test_onnx_in_and_out(shell: Shell, method: str) -> None:
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    batch = torch.export.Dim("batch")
    torch.onnx.export(network(), (poses(),), "net.onnx", dynamo=True, dynamic_shapes=({0: batch},), verbose=False)
    shell.works(f"convert net.onnx {LIFTER} --method {method} -o out.onnx")
    session = onnxruntime.InferenceSession("out.onnx", providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    assert commutes(lambda x: session.run(None, {name: x.numpy()})[0])
    assert shell("verify out.onnx").status == 0
    assert shell(f"verify net.onnx {LIFTER}").status == 1


# ---- checkpoints ------------------------------------------------------------------------------------------------
def _lightning(state: dict[str, Tensor]) -> dict[str, Any]:
    names = {f"model.{name}": tensor for name, tensor in state.items()}
    kept = {"epoch": 7, "global_step": 99, "optimizer_states": [{"state": {0: {"step": torch.tensor(4.0)}}}]}
    return {"pytorch-lightning_version": "2.6.0", "state_dict": names, "hyper_parameters": {"hidden": 8}, **kept}


def _mmengine(state: dict[str, Tensor]) -> dict[str, Any]:
    names = {f"backbone.{name}": tensor for name, tensor in state.items()}
    return {"meta": {"epoch": 3, "mmengine_version": "0.10.0"}, "state_dict": names, "message_hub": {"log": 1}}


def _parallel(state: dict[str, Tensor]) -> dict[str, Any]:
    return {"model": {f"module.{name}": tensor for name, tensor in state.items()}, "epoch": 12}


CHECKPOINTS = {"last.ckpt": _lightning, "epoch_3.pth": _mmengine, "parallel.pth": _parallel}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoint_is_put_back(shell: Shell, name: str) -> None:
    """The same file with other weights: all else in it is as it was, and the source is not touched."""
    stored = CHECKPOINTS[name](dict(network().state_dict()))
    torch.save(stored, name)
    before, out = Path(name).read_bytes(), f"sym{Path(name).suffix}"
    shell.works(f"convert {name} --model nets:Lifter {LIFTER} --method match -o {out}")
    assert Path(name).read_bytes() == before
    written = torch.load(out, weights_only=False)
    table = "model" if "parallel" in name else "state_dict"
    assert written[table].keys() == stored[table].keys()
    rest = [key for key in stored if key != table]
    assert str({key: written[key] for key in rest}) == str({key: stored[key] for key in rest})
    net = network()
    net.load_state_dict({key.partition(".")[2]: tensor for key, tensor in written[table].items()})
    assert commutes(net)
    assert shell(f"verify {out} --model nets:Lifter").status == 0


def test_result_is_saved_and_loaded(tmp_path: Path) -> None:
    """`chiralize.save` and `load`: the network knows its mirror again."""
    case = BY_NAME["perceptron"]
    result = chiralize.chiralize(case.model(), case.spec, case.inputs(), method="match")
    chiralize.save(result, tmp_path / "net.safetensors")
    again = chiralize.load(tmp_path / "net.safetensors", case.build().double())
    assert residual(again, case) <= 1e-9 and chiralize.verify(again).passed


# ---- data -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["npy", "npz", "csv", "pt", "safetensors"])
def test_calibration_files(shell: Shell, kind: str) -> None:
    import safetensors.torch

    x = _seen()
    write: dict[str, Any] = {
        "npy": lambda path: np.save(path, x.numpy()),
        "npz": lambda path: np.savez(path, poses=x.numpy()),
        "csv": lambda path: np.savetxt(path, x.flatten(1).numpy(), delimiter=","),
        "pt": lambda path: torch.save(x, path),
        "safetensors": lambda path: safetensors.torch.save_file({"poses": x}, path),
    }
    write[kind](f"seen.{kind}")
    line = f"convert good.pt2 {LIFTER} --method match --calibration seen.{kind} --force"
    shell.works(f"{line} --report report.json -o out.pt2")
    assert commutes(torch.export.load("out.pt2").module())
    assert isinstance(json.loads(Path("report.json").read_text()), dict)


def _seen() -> Tensor:
    """Inputs with the statistics that the network's batch norm remembers, nearly."""
    return poses(200, 5)


# ---- commands ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("command", ["plan", "audit", "bench", "demo"])
def test_help(shell: Shell, command: str) -> None:
    assert shell.works(f"{command} --help").out.count("chiralize ") >= 3


def test_plan(shell: Shell) -> None:
    before = shell.files()
    assert isinstance(json.loads(shell.works(f"plan good.pt2 {LIFTER} --format json").out), dict)
    blocked = shell(f"plan Lopsided.pt --model nets:Lopsided {LIFTER}")
    assert blocked.status == 3 and shell.files() == before


def test_audit(shell: Shell) -> None:
    """The gap by its definition stands in the report, in words, as JSON and as a page."""
    result = shell.works(f"audit good.pt2 {LIFTER} --calibration poses.npy --format json --report page.html")
    assert isinstance(json.loads(result.out), dict)
    page = Path("page.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html") and "left_hand" in page
    report = chiralize.audit(network(), "lifter.yaml", (poses(),), calibration=poses(64))
    x = poses(64)
    with torch.no_grad():
        ours, image = network()(x), TURN(network()(TURN(x)))
    assert report.network.gap > 0.1 and (ours - image).abs().max() > 0.1


def test_bench(shell: Shell) -> None:
    shell.works(f"convert good.pt2 {LIFTER} --method match -o out.pt2")
    result = shell.works("bench good.pt2 out.pt2 --batch 4 --threads 1 --rounds 2 --format json")
    assert isinstance(json.loads(result.out), dict)


def test_reports_of_a_conversion(shell: Shell) -> None:
    line = f"convert good.pt2 {LIFTER} --method average"
    shell.works(f"{line} -o out.pt2 --report report.html")
    assert "<html" in Path("report.html").read_text()
    assert isinstance(json.loads(shell.works(f"{line} -o again.pt2 --format json").out), dict)
    suite = shell.works("verify out.pt2 --format junit --report verdict.html").out
    assert ElementTree.fromstring(suite).iter("testcase")
    assert "<html" in Path("verdict.html").read_text()


@pytest.mark.timeout(900)
def test_demo(tmp_path: Path) -> None:
    """The shipped lifter converts by itself, in a folder that holds nothing."""
    command = [sys.executable, "-m", "chiralize", "demo", "-o", "out.pt2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    net = torch.export.load(tmp_path / "out.pt2").module()
    turn = BY_NAME["linear"].turns_in[0]
    assert turn is not None
    x = torch.randn(2, 27, 17, 2)
    y, image = net(x), net(turn(x))
    assert (turn(y) - image).abs().max() <= 1e-5 * y.abs().max()


PROJECT = """\
import torch
from chiralize import chiralize

BODY = {"joints": ["head", "l_hand", "r_hand"], "pairs": [["l_hand", "r_hand"]], "dims": ["x", "y"],
        "inputs": [{"layout": "b (j d)"}], "outputs": [{"layout": "b (j d)"}]}
X = (torch.zeros(2, 6),)


def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Tanh(), torch.nn.Linear(4, 6))


def test_converted(assert_equivariant):
    assert assert_equivariant(chiralize(net(), BODY, X, method="project")).passed


def test_original(assert_equivariant):
    assert_equivariant(net(), BODY, example_inputs=X)
"""


def test_pytest_plugin(tmp_path: Path) -> None:
    """`assert_equivariant` passes a result and fails the original."""
    (tmp_path / "test_nets.py").write_text(PROJECT)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "chiralize.cli.pytest_plugin", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, "--rootdir=."], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "1 failed, 1 passed" in done.stdout, done.stdout


# ---- skeletons --------------------------------------------------------------------------------------------------
def test_skeleton_list(shell: Shell) -> None:
    text = shell.works("skeleton list").out
    assert all(name in text for name in ("h36m", "coco", "ntu", "smpl", "ant-v5"))


@pytest.mark.parametrize(
    ("name", "joints", "pairs"), [("h36m", 17, H36M), ("coco", 17, COCO), ("ntu", 25, NTU), ("smpl", 24, SMPL)]
)
def test_skeleton_show_and_lint(shell: Shell, name: str, joints: int, pairs: list[tuple[int, int]]) -> None:
    """What `show` prints as JSON is a skeleton file with the pairs of the data set."""
    text = shell.works(f"skeleton show {name} --format json").out
    shown = json.loads(text)
    order = {joint: index for index, joint in enumerate(shown["joints"])}
    found = {frozenset(order.get(joint, joint) for joint in pair) for pair in shown["pairs"]}
    assert len(order) == joints and found == set(map(frozenset, pairs))
    Path("mine.yaml").write_text(text)
    shell.works("skeleton lint mine.yaml")
    assert shell.works(f"skeleton show {name}").out.count("\n") >= joints
    assert shell("skeleton lint chain.yaml").status == 2


def test_skeleton_infer(shell: Shell) -> None:
    """Pairs from names: a proposal ends with 2 until it is accepted."""
    names = "skeleton infer nose left_eye right_eye l_ear r_ear tail"
    assert shell(names).status == 2
    written = yaml.safe_load(shell.works(f"{names} --accept").out)
    assert {frozenset(pair) for pair in written["pairs"]} == {
        frozenset(("left_eye", "right_eye")), frozenset(("l_ear", "r_ear")),
    }  # fmt: skip


IMPORTED: dict[str, tuple[str, str]] = {
    "mmpose": (
        "body.py",
        "dataset_info = dict(dataset_name='b', keypoint_info={"
        "0: dict(name='nose', id=0, swap=''), 1: dict(name='left_hand', id=1, swap='right_hand'),"
        "2: dict(name='right_hand', id=2, swap='left_hand')}, skeleton_info={})\n",
    ),
    "coco": (
        "people.json",
        '{"categories": [{"name": "person", "keypoints": ["nose", "left_hand", "right_hand"], "skeleton": [[1, 2]]}]}',
    ),
    "ultralytics": ("data.yaml", "kpt_shape: [3, 2]\nflip_idx: [0, 2, 1]\nkpt_names: {0: [nose, l_hand, r_hand]}\n"),
    "deeplabcut": (
        "config.yaml",
        "bodyparts: [nose, left_hand, right_hand]\nskeleton: []\nsymmetric_pairs: [[1, 2]]\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("tool", IMPORTED)
def test_skeleton_import(shell: Shell, tool: str) -> None:
    """The other tool's file is read, not run, and becomes a clean skeleton."""
    name, text = IMPORTED[tool]
    Path(name).write_text(text + ("import os\nos.mkdir('was_run')\n" if name.endswith(".py") else ""))
    shell.works(f"skeleton import --from {tool} {name} -o out.yaml")
    written = yaml.safe_load(Path("out.yaml").read_text())
    order = {joint: index for index, joint in enumerate(written["joints"])}
    assert [sorted(order.get(joint, joint) for joint in pair) for pair in written["pairs"]] == [[1, 2]]
    assert not Path("was_run").exists()
    shell.works("skeleton lint out.yaml")


ROBOT_FILE = """\
<mujoco><worldbody><body name="trunk" pos="0 0 1"><freejoint/><geom size=".1" mass="1"/>
  <body name="l" pos="0 .2 0"><joint name="left_hip" axis="1 0 0"/><joint name="left_knee" axis="0 1 0"/>
    <geom size=".05" pos="0 0 -.3" mass=".3"/></body>
  <body name="r" pos="0 -.2 0"><joint name="right_hip" axis="1 0 0"/><joint name="right_knee" axis="0 1 0"/>
    <geom size=".05" pos="0 0 -.3" mass=".3"/></body>
</body></worldbody></mujoco>
"""


def test_robot_file_to_mirror(shell: Shell) -> None:
    """Hips roll about x, so partners have the other sign; knees pitch about y and keep it; `check` agrees."""
    pytest.importorskip("mujoco")
    Path("robot.xml").write_text(ROBOT_FILE)
    shell.works("skeleton import --from mujoco robot.xml -o robot.yaml")
    mirror = chiralize.Mirror.of(
        {"skeleton": "robot.yaml", "inputs": [{"fields": [{"joints": "q"}]}]}, input_shapes=[(1, 4)]
    )
    joints = yaml.safe_load(Path("robot.yaml").read_text())["joints"]
    assert joints == ["left_hip", "left_knee", "right_hip", "right_knee"]
    assert mirror(torch.tensor([[1.0, 2.0, 3.0, 4.0]])).tolist() == [[-3.0, 4.0, -1.0, 2.0]]
    shell.works("skeleton check --robot robot.xml robot.yaml")
