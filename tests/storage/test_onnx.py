"""ONNX: what is written computes what torch computes, knows its mirror, and is judged again by running it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.cli.opening import open_network
from chiralize.cli.options import NetworkOptions
from chiralize.commands.convert import Conversion, Request, convert
from chiralize.commands.onnx import write_onnx
from chiralize.commands.verify import verify
from chiralize.errors import ExportError, MissingPackageError, ParityError, UnsupportedError
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.report import VerifyReport
from chiralize.storage import onnx_comparing, onnx_export, packages
from chiralize.storage.load import load_model
from chiralize.storage.passport import Passport
from tests.support.cases import mainly
from tests.support.command import LIFTER, Shell, network, save_program, working_shell
from tests.support.zoo import CASES
from tests.support.zoo.judging import answers, apart, residual, scale


@cache
def prepared(name: str) -> Network:
    case = CASES[name]
    args, kwargs = case.example(torch.float32)
    return prepare(case.model(torch.float32), parse_spec(case.spec), args, kwargs, case.entry)


def judged(path: Path, skeleton: str | None = None, shapes: Sequence[str] = (), **options: Any) -> VerifyReport:
    original, loaded, passport = open_network(NetworkOptions(path, skeleton, shapes), onnx=True)
    return verify(original, loaded.source.name, passport, **options)


class Written:
    """A conversion and its file, made once."""

    def __init__(self, name: str, method: str, folder: Path) -> None:
        self.original = prepared(name)
        self.path = folder / f"{name} {method}.onnx"
        found = convert(self.original, name, Request(method, samples=1))
        self.conversion: Conversion = write_onnx(found, self.original, self.path)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Written]:
    folder, made = tmp_path_factory.mktemp("onnx"), {}

    def get(name: str, method: str) -> Written:
        if (name, method) not in made:
            made[name, method] = Written(name, method, folder)
        return made[name, method]

    return get


class InRuntime(nn.Module):
    """A file in plain onnxruntime, called as the network was called."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])

    def __deepcopy__(self, memo: Any) -> InRuntime:
        return self

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        tensors = [x for x in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        names = [own.name for own in self.session.get_inputs()]
        feeds = {name: own.numpy() for name, own in zip(names, tensors, strict=True)}
        return tuple(torch.from_numpy(np.array(own)) for own in self.session.run(None, feeds))

    act = forward


# ---- written, and verified again ------------------------------------------------------------------------------------
_VERIFIED = [("policy, act", "match"), ("trees", "match"), ("states passed along", "match"),
             ("states passed along", "average"), ("policy, relu", "average")]  # fmt: skip


@pytest.mark.parametrize(("name", "method"), mainly(_VERIFIED, [("policy, act", "match"), ("policy, relu", "average")]))
def test_the_file_stands_for_the_network(name: str, method: str, written: Callable[[str, str], Written]) -> None:
    """Equivariant by the T of the zoo, in plain onnxruntime; the same answers; verified without a skeleton."""
    own, case = written(name, method), CASES[name]
    runtime, lifted = InRuntime(own.path), method == "average"
    assert residual(runtime, case, torch.float32, lifted) <= 1e-5
    expected = answers(own.conversion.module, case, torch.float32, lifted)
    assert apart(answers(runtime, case, torch.float32, lifted), expected) <= 1e-5 * scale(expected)
    report = judged(own.path)
    assert report.passed and report.judgement.certificate is None and report.judgement.numeric.dtype == "float32"
    assert any("numeric verdict stands alone" in note for note in report.notes)
    assert all(0 < output.bound <= 1e-3 * output.scale for output in report.judgement.numeric.outputs)
    assert any(note.startswith("ONNX: onnxruntime is at most") for note in own.conversion.report.notes)


def test_names_sizes_and_metadata(written: Callable[[str, str], Written]) -> None:
    """Inputs by name, results by their keys, an open batch under the word of the layout, no paths of this machine."""
    own = written("trees", "match")
    model = onnx.load(own.path)
    sizes = {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert [own.name for own in model.graph.input] == ["batch_pose", "batch_time", "prior"]
    assert all(size[0] == "b" for size in sizes.values()) and sizes["prior"] == ["b", 17, 3]
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert set(metadata) == {"chirality", "chirality.call", "weights_sha256"}
    found = Passport.from_json(metadata["chirality"], "test")
    assert found.spec == own.conversion.passport.spec and found.method == "match"
    assert found.hidden == own.conversion.passport.hidden
    data = own.path.read_bytes()
    assert str(Path(__file__).parents[2]).encode() not in data and b"site-packages" not in data
    onnx.checker.check_model(model)


def test_states_are_remembered(written: Callable[[str, str], Written]) -> None:
    """No graph tells how T acts on h and c: the file does, and forgetting it is an error."""
    own = written("states passed along", "match")
    model = onnx.load(own.path)
    record = next(entry for entry in model.metadata_props if entry.key == "chirality.call")
    assert sorted(json.loads(record.value)["states"]) == ["input 1", "input 2", "output 1", "output 2"]
    model.metadata_props.remove(record)
    alone = own.path.with_name("forgetful.onnx")
    onnx.save(model, alone)
    clip, states = CASES["states passed along"].example()[0]
    sizes = [",".join(map(str, own.shape)) for own in (clip, *states)]
    with pytest.raises(UnsupportedError, match="input 1"):
        judged(alone, shapes=sizes)


def test_a_state_in_buffers_is_refused(tmp_path: Path) -> None:
    original = prepared("policy, gru in buffers")
    found = convert(original, "policy", Request("match", samples=1))
    with pytest.raises(ExportError, match="hidden"):
        write_onnx(found, original, tmp_path / "out.onnx")
    assert not list(tmp_path.iterdir())


# ---- faults ---------------------------------------------------------------------------------------------------------
def without_digest(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model as files of older versions are, which do not say what network their certificate is of."""
    entry = next(entry for entry in model.metadata_props if entry.key == "weights_sha256")
    model.metadata_props.remove(entry)
    return model


def weights(model: onnx.ModelProto) -> list[Any]:
    return [own for own in model.graph.initializer if own.data_type == onnx.TensorProto.FLOAT and own.dims]


@pytest.mark.parametrize("name", ["policy, act", "trees", "states passed along"])
def test_planted_faults_fail(name: str, written: Callable[[str, str], Written]) -> None:
    """Any one weight off by 1e-3, up or down entry by entry; in the last layer a single entry of a left joint."""
    own = written(name, "match")
    draw = np.random.default_rng(0)
    clean = onnx.load(own.path)
    faults = 0
    for place, tensor in enumerate(weights(clean)):
        values = numpy_helper.to_array(tensor)
        signs = np.where(draw.random(values.shape) < 0.5, 1, -1)
        alone = np.zeros_like(values)
        alone[0] = np.abs(values[0]) == np.abs(values[0]).max()
        for fault in [signs] + [alone] * (tensor.name == "actor.4.weight"):
            model = onnx.load(own.path)
            changed = values * (1 + 1e-3 * fault).astype(values.dtype)
            weights(model)[place].CopyFrom(numpy_helper.from_array(changed, tensor.name))
            bad = own.path.with_name("bad.onnx")
            onnx.save(without_digest(model), bad)
            report = judged(bad)
            assert not report.passed, (tensor.name, values.shape, report.judgement.numeric.worst)
            faults += 1
    assert faults >= 6


def last_weight_times(factor: float, made: onnx.ModelProto) -> Callable[..., onnx.ModelProto]:
    """An exporter that changes the last weight of what was made."""

    def changed(*_: Any) -> onnx.ModelProto:
        model = onnx.ModelProto()
        model.CopyFrom(made)
        tensor = weights(model)[-1]
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), tensor.name))
        return model

    return changed


def test_parity_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Callable[[str, str], Written]
) -> None:
    """An exporter that changes a weight by 1e-3, or pins the batch, is found out; nothing is written."""
    own = written("policy, act", "match")
    found, original = own.conversion, own.original
    made = onnx.load(own.path)
    del made.metadata_props[:]

    def pinned(*_: Any) -> onnx.ModelProto:
        model = onnx.ModelProto()
        model.CopyFrom(made)
        shape = onnx.helper.make_node("Constant", [], ["fixed"], value_ints=[4, 12])
        model.graph.node.append(shape)
        model.graph.node.append(onnx.helper.make_node("Reshape", ["output", "fixed"], ["pinned"]))
        model.graph.output[0].name = "pinned"
        return model

    for fault, words in ((last_weight_times(1.001, made), "away from torch"), (pinned, "b = 1")):
        monkeypatch.setattr(onnx_export, "exported_model", fault)
        with pytest.raises(ParityError, match=words):
            write_onnx(found, original, tmp_path / "out.onnx")
    assert not list(tmp_path.iterdir())


def test_what_a_network_enlarges_of_rounding_is_allowed_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Callable[[str, str], Written]
) -> None:
    """Of a network whose answers move by 3e-5 when its inputs are rounded, no runtime computes the last five digits."""
    own = written("policy, act", "match")
    found, original = own.conversion, own.original
    made = onnx.load(own.path)
    del made.metadata_props[:]

    monkeypatch.setattr(onnx_export, "exported_model", last_weight_times(1.0001, made))
    target = tmp_path / "out.onnx"
    for moved, is_written in ((0.0, False), (1e-6, False), (3e-5, True)):
        monkeypatch.setattr(onnx_comparing, "moved_by_rounding", lambda *_, moved=moved: [moved])
        if not is_written:
            with pytest.raises(ParityError, match="away from torch"):
                write_onnx(found, original, target)
            continue
        assert "(bound 5e-04, " in write_onnx(found, original, target).report.notes[-1]


@pytest.mark.thorough
def test_an_optimizer_that_goes_wrong_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Callable[[str, str], Written]
) -> None:
    """Some graph networks come out of the exporter's optimizer as others."""
    own = written("policy, act", "match")
    found, original, export = own.conversion, own.original, onnx_export.exported_model
    asked: list[bool] = []

    def wrong_if_optimized(program: Any, path: Path, optimize: bool = True) -> onnx.ModelProto:
        asked.append(optimize)
        model = export(program, path, optimize)
        if optimize:
            tensor = weights(model)[-1]
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(2), tensor.name))
        return model

    monkeypatch.setattr(onnx_export, "exported_model", wrong_if_optimized)
    write_onnx(found, original, tmp_path / "out.onnx")
    assert asked == [True, False]
    assert judged(tmp_path / "out.onnx").passed


def test_the_exporter_may_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Callable[[str, str], Written]
) -> None:
    own = written("policy, act", "match")
    found, original = own.conversion, own.original

    def refuse(*_: Any, **__: Any) -> None:
        print("advice")
        raise RuntimeError("No ONNX function found for aten.special")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(ExportError, match="aten.special"):
        write_onnx(found, original, tmp_path / "out.onnx")
    assert not list(tmp_path.iterdir())


# ---- the command line -----------------------------------------------------------------------------------------------
@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(tmp_path, capsys, monkeypatch)


def plain_lifter() -> onnx.ModelProto:
    """A foreign file: two dense layers on poses, of no symmetry, with an open batch."""
    make, draw = onnx.helper, np.random.default_rng(1)
    nodes = [
        make.make_node("Flatten", ["poses"], ["flat"]),
        make.make_node("Gemm", ["flat", "w1", "b1"], ["hidden"]),
        make.make_node("Relu", ["hidden"], ["active"]),
        make.make_node("Gemm", ["active", "w2"], ["wide"]),
        make.make_node("Reshape", ["wide", "shape"], ["out"]),
    ]
    values = {"w1": draw.normal(size=(10, 8)), "b1": draw.normal(size=8), "w2": draw.normal(size=(8, 10))}
    stored = [numpy_helper.from_array(own.astype(np.float32), name) for name, own in values.items()]
    stored.append(numpy_helper.from_array(np.array([-1, 5, 2]), "shape"))
    ports = [make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 5, 2]) for name in ("poses", "out")]
    graph = make.make_graph(nodes, "lifter", ports[:1], ports[1:], stored)
    return make.make_model(graph, ir_version=10, opset_imports=[make.make_opsetid("", 20)])


@pytest.mark.thorough
def test_from_the_command_line(shell: Shell) -> None:
    """convert, verify, verify of an unconverted file, and what is refused."""
    save_program(network(), Path("net.pt2"))
    made = shell("convert", "net.pt2", "--skeleton", "lifter.yaml", "--method", "match", "-o", "out.onnx")
    assert made.status == 0 and made.err == "" and "ONNX: onnxruntime" in made.out, made.err
    told = shell("verify", "out.onnx")
    assert told.status == 0 and told.err == "" and "no proof: an ONNX file" in told.out and "float32" in told.out
    assert shell("verify", "out.onnx", "--format", "junit").out.count("<failure") == 0
    onnx.save(plain_lifter(), "plain.onnx")
    for words in (
        ("--skeleton", "lifter.yaml"),
        ("--skeleton", "body.yaml", "--input-layout", "b j d", "--output-layout", "b j d"),
    ):
        told = shell("verify", "plain.onnx", *words)
        assert told.status == 1 and "CH501" in told.err and "NOT equivariant" in told.out
    assert shell("verify", "out.onnx", "--skeleton", "lifter.yaml").status == 0
    told = shell("verify", "plain.onnx")
    assert told.status == 2 and "--skeleton" in told.err
    told = shell("convert", "out.onnx")  # it is read op by op, and is equivariant already
    assert told.status == 0 and "unchanged" in told.out and "written to out.chiral.onnx" in told.out, told.err
    for command in ("plan", "audit"):
        told = shell(command, "out.onnx", "--skeleton", "lifter.yaml")
        assert told.status == 0 and "ONNX: read op by op" in told.out, told.err
    told = shell("verify", "out.onnx", "--input-shape", "4,5,2")
    assert told.status == 0, told.err
    assert shell("verify", "out.onnx", "--model", "a:b").status == 2
    changed = onnx.load("out.onnx")
    weight = weights(changed)[0]
    weight.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(weight), weight.name))
    onnx.save(changed, "changed.onnx")  # still equivariant in part, and another network
    told = shell("verify", "changed.onnx")
    assert told.status == 2 and "its weights or operators were changed since the conversion" in told.err
    assert "changed since the conversion" in shell("verify", "changed.onnx", "--skeleton", "lifter.yaml").out
    assert set(shell.listing()) >= {"out.onnx", "plain.onnx"} and not list(Path().glob(".*tmp"))


def damaged(rows: int | str) -> Any:
    """x w + relu(x - 6) [1, 0]: the swap of its two numbers is its mirror where no number is above 6."""
    make = onnx.helper
    weight = np.array([[1, 0.5], [0.5, 1]], np.float32)
    stored = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.array([1, 0], np.float32), "one_side")]
    stored.append(numpy_helper.from_array(np.float32(6), "six"))
    nodes = [make.make_node("MatMul", ["x", "w"], ["xw"]), make.make_node("Sub", ["x", "six"], ["beyond"])]
    nodes += [make.make_node("Relu", ["beyond"], ["up"]), make.make_node("Mul", ["up", "one_side"], ["more"])]
    nodes.append(make.make_node("Add", ["xw", "more"], ["y"]))
    ports = [make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [rows, 2]) for name in ("x", "y")]
    graph = make.make_graph(nodes, "damaged", ports[:1], ports[1:], stored)
    return make.make_model(graph, ir_version=10, opset_imports=[make.make_opsetid("", 20)])


@pytest.mark.parametrize("rows", [1, "n"])
def test_real_inputs_reach_what_random_ones_do_not(
    rows: int | str, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a file is run and not proved, the verdict says on what; given inputs are run, not the first few alone."""
    monkeypatch.setattr("chiralize.problem.cost._DRAWS", 8)  # as many as users get
    onnx.save(damaged(rows), "damaged.onnx")
    Path("two.yaml").write_text(
        "joints: [l, r]\npairs: [[l, r]]\ndims: [q]\nnegate: []\nlateral: y\n"
        "inputs: [{layout: 'b (j d)'}]\noutputs: [{layout: 'b (j d)'}]\n"
    )
    calm = np.random.default_rng(0).normal(size=(96, 2)).astype(np.float32)
    np.save("calm.npy", calm)
    calm[77] = 8, 9
    np.save("real.npy", calm)
    words = ("verify", "damaged.onnx", "--skeleton", "two.yaml")
    told = shell(*words)
    assert told.status == 0 and "only by running it on 8 random samples: no proof" in told.out, told.err
    assert "--calibration brings real inputs, which may reach what random ones do not" in told.out
    told = shell(*words, "--calibration", "calm.npy")
    assert told.status == 0 and "only by running it on 96 samples of yours and on random ones: no proof" in told.out
    assert "--calibration brings" not in told.out
    told = shell(*words, "--calibration", "real.npy")
    assert told.status == 1 and "NOT equivariant: output 0 is off by" in told.out
    calm[3] = np.nan
    np.save("real.npy", calm)
    assert shell(*words, "--calibration", "real.npy").status == 2


def test_without_the_packages(tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told before any work, with the command that helps."""
    save_program(network(), Path("net.pt2"))
    (tmp_path / "lifter.yaml").write_text(LIFTER)
    (tmp_path / "any.onnx").write_bytes(b"\x08\x0a\x12\x07pytorch")
    found = packages.importlib.util.find_spec
    monkeypatch.setattr(
        packages.importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else found(name)
    )
    for words in (("convert", "net.pt2", "--skeleton", "lifter.yaml", "-o", "out.onnx"), ("verify", "any.onnx")):
        told = shell(*words)
        assert told.status == 2 and "pip install" in told.err and "onnxruntime" in told.err
    with pytest.raises(MissingPackageError):
        load_model(tmp_path / "any.onnx", onnx=True)


def test_help_needs_no_onnx() -> None:
    code = (
        "import sys\nfrom chiralize.__main__ import main\nsys.argv = ['chiralize', 'verify', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "found = [name for name in ('torch', 'onnx', 'onnxruntime', 'onnxscript') if name in sys.modules]\n"
        "print(*found, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == ""


@pytest.mark.thorough
def test_another_entry_of_a_network_that_is_traced(tmp_path: Path) -> None:
    """Export cannot follow it; the trace's forward is what the entry was."""

    class Policy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(34, 51)

        def act(self, x: Tensor) -> Tensor:
            answer = self.layer(x.flatten(1)).view(-1, 17, 3)
            self.told = answer.detach().numpy().copy()
            return answer

    original = prepare(Policy().eval(), parse_spec("skeleton: h36m\n"), (torch.randn(1, 17, 2),), entry="act")
    assert original.origin.traced
    found = write_onnx(convert(original, "policy", Request("match", samples=1)), original, tmp_path / "net.onnx")
    assert any("onnxruntime is at most" in note for note in found.report.notes)


def test_a_name_that_cannot_be_given_makes_another_one_stay() -> None:
    """The input b cannot be called c, as the output is; so it stays b, and the input a cannot be called so."""
    a, b, c = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in "abc")
    model = onnx.helper.make_model(
        onnx.helper.make_graph([onnx.helper.make_node("Add", ["a", "b"], ["c"])], "g", [a, b], [c])
    )
    onnx_export._name_ports(model, (["b", "c"], ["c"]))
    assert [port.name for port in (*model.graph.input, *model.graph.output)] == ["a", "b", "c"]
    onnx_export._name_ports(model, (["b", "a"], ["sum"]))
    assert [port.name for port in (*model.graph.input, *model.graph.output)] == ["b", "a", "sum"]
