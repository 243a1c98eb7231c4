"""ONNX comes back as ONNX: read op by op and converted as any network, or both views of it in one graph."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import chiralize
from chiralize.storage import onnx_joining
from chiralize.storage.load import load_model
from chiralize.storage.onnx_network import OnnxNetwork
from chiralize.storage.onnx_reading.checking import read_and_compared
from tests.support.cases import mainly
from tests.support.command import BODY, Shell, mirrored, scrambled, working_shell
from tests.support.onnx_nets import NETS, export
from tests.support.script_nets import FLAT
from tests.support.small_body import POSE, Net, converted, normal

STATES = {
    name: BODY + f'inputs: [{{layout: "b (j d)"}}{count * ", {state: true}"}]\n'
    f'outputs: [{{layout: "b (j d)"}}{count * ", {state: true}"}]\n'
    for name, count in (("lstm", 2), ("summed", 1))
}
SPECS = {
    "mlp": FLAT,
    "temporal": FLAT.replace('"b (j d)"', '"b t (j d)"'),
    "transformer": FLAT.replace('"b (j d)"', '"b j d"'),
    **STATES,
}
RUN_ELSEWHERE = """
import sys
for name in ("chiralize", "torch", "onnx"):
    sys.modules[name] = None  # an import of it fails
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
(answer,) = session.run(["actions"], {"obs": numpy.linspace(-1, 1, 20, dtype="float32").reshape(2, 10)})
print(answer.shape, session.get_modelmeta().custom_metadata_map["joint_names"])
"""
Exported = Callable[..., Path]


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    for name, spec in SPECS.items():
        (tmp_path / f"{name}.yaml").write_text(spec, encoding="utf-8")
    yield from working_shell(tmp_path, capsys, monkeypatch)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Files by name and exporter, each made once."""
    folder = tmp_path_factory.mktemp("exported")

    def get(name: str, dynamo: bool, is_open: bool = False) -> Path:
        path = folder / f"{name}_{'dynamo' if dynamo else 'old'}_{'open' if is_open else 'fixed'}.onnx"
        if not path.exists():
            names = ("obs", "actions") if name == "mlp" else ()
            export(name, path, dynamo, names, is_open)
        return path

    return get


def run(path: Path, *inputs: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    feeds = {port.name: array for port, array in zip(session.get_inputs(), inputs, strict=True)}
    return session.run(None, feeds)


def flat(array: np.ndarray) -> np.ndarray:
    """T on "... (joint coord)", written out."""
    return mirrored(torch.from_numpy(array).unflatten(-1, (5, 2))).flatten(-2).numpy()


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# ---- reading back -----------------------------------------------------------------------------------------------
_WRITTEN = itertools.product(("mlp", "temporal", "lstm", "transformer"), (True, False), (False, True))
_BY_DEFAULT = (("mlp", True, True), ("lstm", False, False), ("transformer", False, True))


@pytest.mark.parametrize(
    ("name", "dynamo", "is_open"),
    mainly(_WRITTEN, _BY_DEFAULT),
)
def test_reads_what_both_exporters_write(name: str, dynamo: bool, is_open: bool, exported: Exported) -> None:
    loaded = load_model(exported(name, dynamo, is_open), onnx=True)
    assert isinstance(loaded.module, OnnxNetwork)
    args = tuple(torch.randn(shape) for shape in NETS[name][1])
    module, note = read_and_compared(loaded.module, args, {})
    assert note.startswith("ONNX: read op by op, ")
    program = torch.export.export(module, args, strict=False)
    for ours, theirs in zip(program.module()(*args).values(), loaded.module(*args), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    if is_open:
        larger = tuple(torch.cat([arg] * 2, arg.shape.index(2)) for arg in args)
        for ours, theirs in zip(module(*larger).values(), loaded.module(*larger), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_reading_that_differs_goes_no_further(
    exported: Exported, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chiralize.storage.onnx_reading import module, pointwise

    operators = {**module.OPERATORS, "Tanh": pointwise.OPERATORS["Sigmoid"]}
    monkeypatch.setattr(module, "OPERATORS", operators)
    path = exported("mlp", True)
    result = shell("plan", path, "--skeleton", "mlp.yaml")
    assert result.status == 3
    assert "CaptureError CH306" in result.err
    assert "read op by op, output 'actions' is " in result.err
    assert ", or use --method average, which runs the file as it is" in result.err
    result = shell("audit", path, "--skeleton", "mlp.yaml")  # which has no --method
    assert result.status == 3
    assert ", or use chiralize convert --method average, which runs the file as it is" in result.err
    result = shell("convert", path, "--skeleton", "mlp.yaml", "-o", "chiral.onnx")
    assert result.status == 0, result.err
    assert "ONNX: not read op by op, so that only the flip average is possible" in result.out
    assert shell("verify", "chiral.onnx").status == 0


# ---- converting -------------------------------------------------------------------------------------------------
@pytest.mark.one_in(4)
@pytest.mark.parametrize(
    ("name", "method"), [("mlp", "match"), ("temporal", "project"), ("transformer", "match"), ("lstm", "average")]
)
def test_converted_as_any_network(name: str, method: str, exported: Exported, shell: Shell) -> None:
    options = ("--skeleton", f"{name}.yaml", "--method", method, "--force")
    result = shell("convert", exported(name, True), *options, "-o", "chiral.onnx")
    assert result.status == 0, result.err
    assert "ONNX: read op by op, " in result.out
    assert "ONNX: onnxruntime is at most" in result.out
    assert shell("verify", "chiral.onnx").status == 0


@pytest.mark.thorough
def test_names_sizes_and_texts_stay(exported: Exported, shell: Shell) -> None:
    model = onnx.load(exported("mlp", False))
    model.metadata_props.add(key="joint_names", value="head,left_hand")
    onnx.save(model, "mlp.onnx")
    for method in ("average", "match"):
        result = shell("convert", "mlp.onnx", "--skeleton", "mlp.yaml", "--method", method, "-o", f"{method}.onnx")
        assert result.status == 0, result.err
        chiral = onnx.load(f"{method}.onnx")
        ports = [(port.name, [dim.dim_value for dim in port.type.tensor_type.shape.dim]) for port in chiral.graph.input]
        assert ports == [("obs", [2, 10])]
        assert [port.name for port in chiral.graph.output] == ["actions"]
        x = draw(2, 10)
        (plain,), (turned,) = run(Path(f"{method}.onnx"), x), run(Path(f"{method}.onnx"), flat(x))
        np.testing.assert_allclose(flat(plain), turned, atol=2e-6)
        command = [sys.executable, "-c", RUN_ELSEWHERE, f"{method}.onnx"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ran.stdout.strip() == "(2, 10) head,left_hand", ran.stderr


@pytest.mark.thorough
def test_written_beside_where_no_file_is_named(exported: Exported, shell: Shell) -> None:
    (shell.folder / "policy.onnx").write_bytes(exported("mlp", True).read_bytes())
    assert shell("convert", "policy.onnx", "--skeleton", "mlp.yaml").status == 0
    assert (shell.folder / "policy.chiral.onnx").exists()


@pytest.mark.thorough
def test_plan_and_audit(exported: Exported, shell: Shell) -> None:
    plan = shell("plan", exported("mlp", True), "--skeleton", "mlp.yaml")
    assert plan.status == 0, plan.err
    assert "7 ops" in plan.out or "6 ops" in plan.out
    assert "nodes.node_" in plan.out
    audit = shell("audit", exported("mlp", True), "--skeleton", "mlp.yaml")
    assert audit.status == 0, audit.err


@pytest.mark.one_in(2)
# ---- both views in one graph ------------------------------------------------------------------------------------
@pytest.mark.parametrize("dynamo", [True, False], ids=["dynamo", "old exporter"])
def test_average_of_what_is_not_read(dynamo: bool, exported: Exported, shell: Shell) -> None:
    path = exported("summed", dynamo)
    result = shell("convert", path, "--skeleton", "summed.yaml", "-o", "chiral.onnx")
    assert result.status == 0, result.err
    assert "(CumSum): this operator is not in the table of those that are read" in result.out
    assert "both views in one ONNX graph: ONNX: onnxruntime is at most" in result.out
    chiral = onnx.load("chiral.onnx")
    onnx.checker.check_model(chiral)
    assert len(chiral.graph.input[1].type.tensor_type.shape.dim) == 2
    assert chiral.graph.input[1].type.tensor_type.shape.dim[1].dim_value == 12
    original = onnx.load(path)
    stored = {tensor.name for tensor in chiral.graph.initializer}
    assert {tensor.name for tensor in original.graph.initializer} <= stored
    assert sum(node.op_type == "CumSum" for node in chiral.graph.node) == 2
    both, ours, theirs = draw(2, 12) * 0, draw(2, 6) * 0, draw(2, 6) * 0
    for seed in range(4):
        x = draw(2, 10, seed=seed)
        answer, both = run(Path("chiral.onnx"), x, both)
        one, ours = run(path, x, ours)
        other, theirs = run(path, flat(x), theirs)
        np.testing.assert_allclose(answer, 0.5 * (one + flat(other)), atol=2e-6)
        np.testing.assert_allclose(both, np.concatenate([ours, theirs], -1), atol=2e-6)
    assert json.loads({entry.key: entry.value for entry in chiral.metadata_props}["chirality"])["form"] == "two-view"
    verified = shell("verify", "chiral.onnx")
    assert verified.status == 0, verified.err
    result = shell("verify", path, "--skeleton", "summed.yaml")
    assert result.status != 0


def test_average_along_sequences(exported: Exported, shell: Shell) -> None:
    """The states of the user's calls have other sizes than those of both views."""
    np.save("walks.npy", draw(12, 20, 10))
    options = ("--skeleton", "summed.yaml", "--calibration", "walks.npy", "--force")
    result = shell("convert", exported("summed", True), *options, "-o", "chiral.onnx")
    assert result.status == 0, result.err
    assert "Against the original" in result.out
    assert "Cost" not in result.out  # nothing is known of it: weights are inside, calls are not timed
    assert shell("verify", "chiral.onnx").status == 0


def test_other_methods_need_a_file_that_is_read(exported: Exported, shell: Shell) -> None:
    options = ("--skeleton", "summed.yaml", "--method", "match")
    result = shell("convert", exported("summed", True), *options, "-o", "chiral.onnx")
    assert result.status == 3
    assert "Traceback" not in result.err
    result = shell("convert", exported("summed", True), "--skeleton", "summed.yaml", "-o", "chiral.pt2")
    assert result.status == 2
    assert "chiral.pt2 is no ONNX file, and the model is one that is run, not read op by op" in result.err
    result = shell("plan", exported("summed", True), "--skeleton", "summed.yaml")
    assert result.status == 3
    assert "(CumSum): this operator is not in the table" in result.err


def test_branches_are_taken_in_both_views(shell: Shell) -> None:
    """Graphs inside of nodes read values from outside, under the names of their view."""
    from onnx import TensorProto, helper

    def branch(kind: str) -> onnx.GraphProto:
        inner = helper.make_node(kind, ["hidden"], ["inner"])
        return helper.make_graph(
            [inner], kind, [], [helper.make_tensor_value_info("inner", TensorProto.FLOAT, [1, 10])]
        )

    scale = onnx.numpy_helper.from_array(np.linspace(0.5, 2.0, 10, dtype=np.float32), "scale")
    zero = onnx.numpy_helper.from_array(np.zeros((), np.float32), "zero")
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["hidden"]),
        helper.make_node("ReduceSum", ["hidden"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "zero"], ["is_positive"]),
        helper.make_node("If", ["is_positive"], ["y"], then_branch=branch("Exp"), else_branch=branch("Sin")),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 10]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "branches", ports[:1], ports[1:], [scale, zero])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "branches.onnx")
    result = shell("convert", "branches.onnx", "--skeleton", "mlp.yaml", "-o", "chiral.onnx")
    assert result.status == 0, result.err
    taken = set()
    for seed in range(8):
        x = draw(1, 10, seed=seed)
        (one,), (other,) = run(Path("branches.onnx"), x), run(Path("branches.onnx"), flat(x))
        (answer,) = run(Path("chiral.onnx"), x)
        np.testing.assert_allclose(answer, 0.5 * (one + flat(other)), atol=2e-6)
        taken.add(
            (bool((x * np.linspace(0.5, 2.0, 10)).sum() > 0), bool((flat(x) * np.linspace(0.5, 2.0, 10)).sum() > 0))
        )
    assert len(taken) > 2


def test_nothing_is_written_that_computes_something_else(
    exported: Exported, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_average = onnx_joining._Joining._average

    def one_view_twice(self: onnx_joining._Joining, value: object, turn: object, ours: str, theirs: str) -> None:
        true_average(self, value, turn, ours, ours)

    monkeypatch.setattr(onnx_joining._Joining, "_average", one_view_twice)
    result = shell("convert", exported("summed", True), "--skeleton", "summed.yaml", "-o", "chiral.onnx", "--force")
    assert result.status == 1
    assert "CH5" in result.err or "CH403" in result.err
    assert not (shell.folder / "chiral.onnx").exists()


@pytest.mark.parametrize("method", [pytest.param("match", marks=pytest.mark.thorough), "reduce"])
def test_a_file_of_one_sample_stays_one_of_one_sample(shell: Shell, method: str) -> None:
    """Robots run it, at batch 1. Calibration samples are put together for the fit, and must not be for the file."""
    from torch.export import export as exported_program

    net = scrambled(NETS["mlp"][0]())
    program = exported_program(net, (torch.zeros(1, 10),))
    torch.onnx.export(program, input_names=["obs"], f=str(shell.folder / "one.onnx"), dynamo=True, verbose=False)
    np.save(shell.folder / "walks.npy", draw(200, 10))
    options = ("--skeleton", "mlp.yaml", "--calibration", "walks.npy", "--force", "--fast", "--method", method)
    done = shell("convert", "one.onnx", *options, "-o", "chiral.onnx")
    assert done.status == 0, done.err
    x = draw(1, 10, seed=3)
    (answer,), (turned,) = run(Path("chiral.onnx"), x), run(Path("chiral.onnx"), flat(x))
    assert answer.shape == (1, 10)
    np.testing.assert_allclose(turned, flat(answer), atol=1e-5)
    assert shell("verify", "chiral.onnx").status == 0


def test_whole_numbers_have_no_average(shell: Shell) -> None:
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Hardmax", ["x"], ["y"]),
        helper.make_node("ArgMax", ["x"], ["best"], axis=1),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 10]) for name in ("x", "y")]
    best = helper.make_tensor_value_info("best", TensorProto.INT64, [1, 1])
    graph = helper.make_graph(nodes, "best", ports[:1], [ports[1], best])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "best.onnx")
    (shell.folder / "best.yaml").write_text(
        BODY + 'inputs: [{layout: "b (j d)"}]\noutputs: [{layout: "b (j d)"}, {free: true}]\n', encoding="utf-8"
    )
    result = shell("convert", "best.onnx", "--skeleton", "best.yaml", "-o", "chiral.onnx")
    assert result.status == 3
    assert "output 'best' holds int64, of which there is no average" in result.err
    assert "onnx.utils.extract_model('best.onnx', 'scores.onnx', ['x'], ['x'])" in result.err


def test_hostile_files_stay_refused(exported: Exported, shell: Shell) -> None:
    model = onnx.load(exported("mlp", True))
    model.graph.node[0].op_type, model.graph.node[0].domain = "PyOp", "ai.onnx.contrib"
    onnx.save(model, "hostile.onnx")
    for command in ("convert", "plan", "audit"):
        result = shell(command, "hostile.onnx", "--skeleton", "mlp.yaml")
        assert result.status == 2
        assert "UnsafeFileError CH202" in result.err
    model = onnx.load(exported("mlp", True))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    Path("outside.onnx").write_bytes(model.SerializeToString())
    result = shell("convert", "outside.onnx", "--skeleton", "mlp.yaml")
    assert result.status == 2
    assert "outside the model's folder" in result.err


@pytest.mark.parametrize(
    ("names", "ports"),
    [(("seen", "moves"), ("seen", "moves")), (("seen", "seen"), ("x", "output")), (("no word", ""), ("x", "output"))],
)
def test_inputs_and_outputs_are_called_as_in_the_specification(
    names: tuple[str, str], ports: tuple[str, str], tmp_path: Path
) -> None:
    """Where the names are words and differ; else as forward does. The file then computes what the network does."""
    spec = POSE
    for line, name in zip(("inputs", "outputs"), names, strict=True):
        if name:
            spec = spec.replace(f"{line}: [{{", f'{line}: [{{name: "{name}", ')
    net = Net(lambda net, x: net.layer(x.flatten(1)).view_as(x), layer=torch.nn.Linear(12, 12).double())
    result = converted(net, spec)
    chiralize.save(result, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    assert (session.get_inputs()[0].name, session.get_outputs()[0].name) == ports
    x = normal(3, 6, 2)
    (answer,) = session.run([ports[1]], {ports[0]: x.numpy()})
    np.testing.assert_allclose(answer, result(x).detach().numpy(), rtol=1e-5, atol=1e-5)
