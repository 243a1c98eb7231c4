"""An average in an ONNX file that can be run and not read, converted once more: it stays as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.command import Shell, working_shell

pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")

SPEC = "joints: [hip, left_knee, right_knee, nose]\npairs: [[1, 2]]\ndims: [x, y]\n"
OTHER = "joints: [a, b, c, d]\npairs: [[0, 3]]\ndims: [x, y]\n"


def save(path: Path) -> None:
    """A perceptron around an operator that is not read."""
    random = np.random.default_rng(0)
    weights = {
        "first": random.normal(size=(8, 16)).astype(np.float32),
        "second": random.normal(size=(16, 8)).astype(np.float32),
        "flat": np.array([-1, 8]),
        "poses": np.array([-1, 4, 2]),
    }
    nodes = [
        onnx.helper.make_node("Reshape", ["x", "flat"], ["a"]),
        onnx.helper.make_node("MatMul", ["a", "first"], ["b"]),
        onnx.helper.make_node("LpNormalization", ["b"], ["c"], axis=1, p=2),
        onnx.helper.make_node("MatMul", ["c", "second"], ["d"]),
        onnx.helper.make_node("Reshape", ["d", "poses"], ["y"]),
    ]
    of_floats = onnx.TensorProto.FLOAT
    tensors = [onnx.helper.make_tensor_value_info(name, of_floats, ["b", 4, 2]) for name in ("x", "y")]
    held = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = onnx.helper.make_graph(nodes, "net", tensors[:1], tensors[1:], held)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), path)


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(tmp_path, capsys, monkeypatch)


def test_an_average_that_cannot_be_proved_is_not_averaged_again(shell: Shell) -> None:
    save(shell.folder / "net.onnx")
    (shell.folder / "four.yaml").write_text(SPEC)
    (shell.folder / "other.yaml").write_text(OTHER)
    average = ("--method", "average", "--force", "--format", "json")
    first = json.loads(shell("convert", "net.onnx", "--skeleton", "four.yaml", *average, "-o", "a.onnx").out)
    assert first["method"] == "average"
    for source, target in (("a.onnx", "b.onnx"), ("b.onnx", "c.onnx")):
        again = json.loads(shell("convert", source, *average, "-o", target).out)
        assert again["method"] == "unchanged"
        assert again["verdict"] == "already equivariant by running alone, without a proof, unchanged"
        nodes = [len(onnx.load(str(shell.folder / name)).graph.node) for name in ("a.onnx", target)]
        assert nodes[0] == nodes[1]
    under_another = json.loads(shell("convert", "a.onnx", "--skeleton", "other.yaml", *average, "-o", "d.onnx").out)
    assert under_another["method"] == "average"


def test_what_is_no_average_by_its_file_is_averaged(shell: Shell) -> None:
    """Its answers to a few inputs prove nothing."""
    save(shell.folder / "net.onnx")
    (shell.folder / "four.yaml").write_text(SPEC)
    average = ("--skeleton", "four.yaml", "--method", "average", "--force", "--format", "json")
    shell("convert", "net.onnx", *average, "-o", "a.onnx")
    model = onnx.load(str(shell.folder / "a.onnx"))
    del model.metadata_props[:]
    onnx.save(model, str(shell.folder / "bare.onnx"))
    assert json.loads(shell("convert", "bare.onnx", *average, "-o", "b.onnx").out)["method"] == "average"
