"""ONNX files that are damaged, or made to deceive: a clear refusal, nothing outside the folder read, no wide bounds."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from chiralize.cli.opening import open_network
from chiralize.cli.options import NetworkOptions
from chiralize.commands.verify import verify
from chiralize.errors import ChiralizeError, ModelFileError, NonFiniteError, UnsafeFileError
from chiralize.report import VerifyReport
from chiralize.storage.load import load_model
from chiralize.storage.onnx_call import call_text
from chiralize.storage.sniff import sniff
from chiralize.symmetry.representation import TensorRepresentation
from tests.support.command import LIFTER, Shell, working_shell

Model = onnx.ModelProto


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(tmp_path, capsys, monkeypatch)


def small(nodes: list[Any] | None = None, more: list[Any] | None = None, **kinds: Any) -> Model:
    """out = poses * w, with w the same for left and right: equivariant on `lifter.yaml`."""
    kind = kinds.get("kind", TensorProto.FLOAT)
    w = np.full((1, 5, 2), 1.5, np.float32)
    ports = [helper.make_tensor_value_info(name, kind, ["b", 5, 2]) for name in ("poses", "out")]
    nodes = [helper.make_node("Mul", ["poses", "w"], ["out"])] if nodes is None else nodes
    graph = helper.make_graph(nodes, "net", ports[:1], ports[1:], [numpy_helper.from_array(w, "w"), *(more or [])])
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


def external(model: Model, location: str, **entries: str) -> Model:
    """The model with its weight in another file."""
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return model


def save(model: Model, folder: Path) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def judged(path: Path) -> VerifyReport:
    spec = path.with_name("spec.yaml")
    spec.write_text(LIFTER, encoding="utf-8")
    network, _, passport = open_network(NetworkOptions(path, str(spec)), onnx=True)
    return verify(network, "net", passport)


def test_the_small_file_is_fine(tmp_path: Path) -> None:
    """Else nothing below would mean anything."""
    assert judged(save(small(), tmp_path)).passed


# ---- bytes ----------------------------------------------------------------------------------------------------------
def test_damaged_bytes(tmp_path: Path) -> None:
    """Cut, changed, left out: a refusal with exit status 2, or a file that still runs."""
    data = small().SerializeToString()
    path, draw = tmp_path / "net.onnx", random.Random(0)
    refused = 0
    for place in range(150):
        damaged = bytearray(data)
        start = draw.randrange(1, len(data))
        if place % 3 == 0:
            del damaged[start:]
        elif place % 3 == 1:
            damaged[start] = draw.randrange(256)
        else:
            del damaged[start : start + draw.randrange(1, 30)]
        path.write_bytes(damaged)
        try:
            load_model(path, onnx=True)
        except ChiralizeError as error:
            refused += 1
            assert error.exit_status == 2
    assert refused > 75


@pytest.mark.parametrize("text", [b"\x12\x01b", b"\x0a\x05poses"], ids=["a size", "an input"])
def test_names_that_are_no_text(text: bytes, tmp_path: Path) -> None:
    """Names in protobuf are bytes, which become text only when somebody asks onnxruntime for them."""
    path = save(small(), tmp_path)
    data = path.read_bytes()
    assert text in data
    path.write_bytes(data.replace(text, text[:-1] + b"\xff"))
    with pytest.raises(ModelFileError, match="is no text"):
        load_model(path, onnx=True)


def test_no_traceback_on_the_command_line(shell: Shell) -> None:
    data = small().SerializeToString()
    for name, content in {
        "cut.onnx": data[:60], "tiny.onnx": data[:4], "tail.onnx": data + b"\xff" * 9,
        "text.onnx": b"\x08\x0a\x12\x07pytorch" + b"\x1a\x05" * 20, "empty.onnx": b"",
    }.items():  # fmt: skip
        Path(name).write_bytes(content)
        told = shell("verify", name, "--skeleton", "lifter.yaml")
        assert told.status == 2 and "CH201" in told.err and "Traceback" not in told.err and not told.out, told.err


def test_sniffed_by_content(tmp_path: Path) -> None:
    """Fields in any order, with or without a producer; other protobuf messages and texts are not ONNX."""

    def format_of(data: bytes) -> str:
        (tmp_path / "x").write_bytes(data)
        return sniff(tmp_path / "x")

    model = small()
    assert format_of(model.SerializeToString()) == "onnx"
    model.producer_name = "someone"
    assert format_of(model.SerializeToString()) == "onnx"
    graph = Model(graph=model.graph).SerializeToString()
    rest = Model(ir_version=10, opset_import=model.opset_import).SerializeToString()
    assert format_of(graph + rest) == "onnx"
    assert format_of(rest[2:]) == "unknown"
    assert format_of(model.graph.SerializeToString()) == "unknown"
    for other in (b"hello", b":\x04abcd", b"\x0a\x03abc", bytes(64), b"\xff" * 64):
        assert format_of(other) == "unknown"


# ---- data in other files --------------------------------------------------------------------------------------------
def test_data_beside_the_model(tmp_path: Path) -> None:
    """The ordinary case: read from the model's folder, whatever the working folder is."""
    (tmp_path / "net.data").write_bytes(bytes(8) + np.full((1, 5, 2), 1.5, np.float32).tobytes())
    path = save(external(small(), "net.data", offset="8", length="40"), tmp_path)
    assert judged(path).passed
    (tmp_path / "net.data").write_bytes(bytes(8) + np.arange(10, dtype=np.float32).tobytes())
    assert not judged(path).passed  # it is really read


@pytest.mark.parametrize(
    "location", ["../secret", "sub/../../secret", "/etc/hostname", "C:/secret", "link", "", "..\\secret", "a\0b"]
)
def test_data_outside_the_folder(location: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(40))
    folder = tmp_path / "models"
    (folder / "sub").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafeFileError, match="outside"):
        load_model(save(external(small(), location, length="40"), folder), onnx=True)


@pytest.mark.parametrize(
    ("location", "entries", "words"),
    [
        ("*/_ORT_MEM_ADDR_/*", {"offset": "4096", "length": "40"}, "is not there"),
        ("missing.data", {}, "is not there"),
        ("sub", {}, "is not there"),
        ("short.data", {"offset": "0", "length": "4000"}, "are asked for"),
        ("short.data", {"offset": "4000"}, "are asked for"),
        ("short.data", {"offset": "-8", "length": "40"}, "no plain number"),
        ("short.data", {"length": "9" * 40}, "no plain number"),
        ("short.data", {"length": "16"}, "ONNX model"),
    ],
)  # fmt: skip
def test_data_that_do_not_fit(location: str, entries: dict[str, str], words: str, tmp_path: Path) -> None:
    (tmp_path / "short.data").write_bytes(bytes(40))
    (tmp_path / "sub").mkdir()
    with pytest.raises(ModelFileError, match=words):
        load_model(save(external(small(), location, **entries), tmp_path), onnx=True)


# ---- what a graph may hold ------------------------------------------------------------------------------------------
def _branch(op: str, domain: str) -> list[Any]:
    """An operator hidden in a branch."""
    inner = helper.make_graph(
        [helper.make_node(op, ["poses"], ["inner"], domain=domain)], "inner", [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )  # fmt: skip
    yes = helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True)))
    return [yes, helper.make_node("If", ["yes"], ["out"], then_branch=inner, else_branch=inner)]


BAD: dict[str, tuple[Callable[[], Model], type[ChiralizeError], str]] = {
    "python operator": (
        lambda: small([helper.make_node("PythonOp", ["poses"], ["out"], domain="com.microsoft")]),
        UnsafeFileError, "PythonOp",
    ),
    "compiled blob in a branch": (lambda: small(_branch("EPContext", "com.microsoft")), UnsafeFileError, "EPContext"),
    "foreign library": (
        lambda: small([helper.make_node("Anything", ["poses"], ["out"], domain="evil.ops")]),
        ModelFileError, "evil.ops::Anything",
    ),
    "foreign library in a branch": (lambda: small(_branch("Anything", "evil.ops")), ModelFileError, "evil.ops"),
    "unknown operator": (lambda: small([helper.make_node("Nonsense", ["poses"], ["out"])]), ModelFileError, "Nonsense"),
    "NaN": (
        lambda: small(more=[numpy_helper.from_array(np.array([np.nan, 1], np.float32), "bad")]),
        NonFiniteError, "'bad' (1 of 2)",
    ),
    "no nodes": (lambda: small([]), ModelFileError, "onnxruntime"),
    "no graph": (lambda: Model(ir_version=10, producer_name="x"), ModelFileError, "without a graph"),
    "text as input": (lambda: small(kind=TensorProto.STRING), ModelFileError, "'poses'|onnxruntime"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_graphs(name: str, tmp_path: Path) -> None:
    make, error, words = BAD[name]
    with pytest.raises(error) as caught:
        load_model(save(make(), tmp_path), onnx=True)
    assert any(word in str(caught.value) for word in words.split("|")), caught.value


def record(shapes: Any = ((2, 5, 2),), values: Any = None, states: Any = None) -> str:
    return json.dumps({"shapes": shapes, "values": values or {}, "states": states or {}})


@pytest.mark.parametrize(
    "text",
    [
        "{broken", "[]", '{"shapes": [[2, 5, 2]], "values": {}}', record([[2, 4, 2]]), record([]), record([[-1, 5, 2]]),
        record([[99999999999, 5, 2]]), record(values={"0": "x"}), record(values={"0": [1]}),
        record(states={"input 0": [1, 7]}),
    ],
)  # fmt: skip
def test_broken_records(text: str, tmp_path: Path) -> None:
    model = small()
    model.metadata_props.add(key="chirality.call", value=text)
    with pytest.raises(ModelFileError, match="chirality.call"):
        load_model(save(model, tmp_path), onnx=True)


def test_broken_passport(tmp_path: Path) -> None:
    model = small()
    model.metadata_props.add(key="chirality", value='{"chirality": 99}')
    with pytest.raises(ModelFileError, match="99"):
        open_network(NetworkOptions(save(model, tmp_path)), onnx=True)


def test_recorded_states_of_another_size(tmp_path: Path) -> None:
    """A record that speaks of other sizes than the tensor has is refused, not applied."""
    (tmp_path / "spec.yaml").write_text(LIFTER.replace('inputs: [{layout: "b j d"}]', "inputs: [{state: true}]"))
    model = small()
    text = call_text([torch.ones(2, 5, 2)], {"input 0": TensorRepresentation.trivial((2, 6, 2))})
    model.metadata_props.add(key="chirality.call", value=text)
    with pytest.raises(ModelFileError, match="input 0 has the sizes"):
        open_network(NetworkOptions(save(model, tmp_path), str(tmp_path / "spec.yaml")), onnx=True)


# ---- bounds that cannot be talked up --------------------------------------------------------------------------------
def lopsided(share: float) -> np.ndarray:
    w = np.full((1, 5, 2), 1.5, np.float32)
    w[0, 1] *= 1 + share
    return w


def test_ops_that_do_nothing_do_not_widen_the_bound(tmp_path: Path) -> None:
    """Thousands of idle products, and a weight in half precision that nothing uses."""
    square = numpy_helper.from_array(np.eye(2, dtype=np.float32), "square")
    idle = [helper.make_node("MatMul", ["square", "square"], [f"idle{place}"]) for place in range(3000)]
    model = small([helper.make_node("Mul", ["poses", "w"], ["out"]), *idle], [square])
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(lopsided(3e-3), "w"))
    report = judged(save(model, tmp_path))
    assert not report.passed and all(own.bound <= 1e-3 * own.scale for own in report.judgement.numeric.outputs)
    half = numpy_helper.from_array(np.ones(2, np.float16), "half")
    model = small(more=[half])
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(lopsided(3e-2), "w"))
    report = judged(save(model, tmp_path))
    assert not report.passed and report.judgement.numeric.dtype == "float16"


def test_double_inside_single(tmp_path: Path) -> None:
    """float64 at the door, float32 inside: judged in what it computes in."""
    nodes = [
        helper.make_node("Cast", ["poses"], ["narrow"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["narrow", "w"], ["single"]),
        helper.make_node("Cast", ["single"], ["out"], to=TensorProto.DOUBLE),
    ]
    report = judged(save(small(nodes, kind=TensorProto.DOUBLE), tmp_path))
    assert report.passed and report.judgement.numeric.dtype == "float32"
    double = helper.make_node("Add", ["poses", "poses"], ["out"])
    report = judged(save(_without_weights(small([double], kind=TensorProto.DOUBLE)), tmp_path))
    assert report.passed and report.judgement.numeric.dtype == "float64"


def _without_weights(model: Model) -> Model:
    del model.graph.initializer[:]
    return model


def test_only_run_never_traced(tmp_path: Path) -> None:
    """A trace of another library's answers would hold them as constants, and pass on anything."""
    loaded = load_model(save(small(), tmp_path), onnx=True)
    assert loaded.module(torch.ones(3, 5, 2))[0].shape == (3, 5, 2)
    from chiralize.body.tensors import parse_spec
    from chiralize.problem.preparation import prepare

    network = prepare(loaded.module, parse_spec(LIFTER), (torch.ones(3, 5, 2),))
    assert network.captured is None and network.program is None and not network.origin.traced
