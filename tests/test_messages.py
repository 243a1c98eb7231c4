"""Class, code, place, numbers and remedy of one message of every kind; every class in errors can occur."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize import errors
from chiralize import nn as layers
from chiralize.body.tensors import parse_spec
from chiralize.errors import ChiralizeError
from tests.support.command import BODY, LIFTER, network, poses

ABSTRACT = {"ChiralizeError", "SpecError", "InputError", "UnsupportedError", "VerificationError"}


class Case(NamedTuple):
    """How to provoke an error, and what its message says."""

    provoke: Callable[[Path], Any]
    says: tuple[str, ...]


class Wrapped(nn.Module):
    """A linear layer after an operation on the pose "b joint coord"."""

    def __init__(self, change: Callable[[Tensor], Tensor], entries: int = 10) -> None:
        super().__init__()
        self.change = change
        self.fc = nn.Linear(entries, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.change(x).flatten(1)).unflatten(1, (5, 2))


class Weighted(nn.Module):
    """A constant that mixes the joints."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("adjacency", torch.arange(25.0).reshape(5, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.adjacency @ x


class Moody(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else 3 * x + 1


def spec(text: str) -> Callable[[Path], Any]:
    return lambda folder: parse_spec(text, "body.yaml")


def match(net: Callable[[], nn.Module], **options: Any) -> Callable[[Path], Any]:
    def run(folder: Path) -> Any:
        (folder / "lifter.yaml").write_text(LIFTER)
        torch.manual_seed(0)
        return chiralize.chiralize(net(), folder / "lifter.yaml", (poses(),), **{"method": "match", **options})

    return run


def verified(net: Callable[[], nn.Module], **options: Any) -> Callable[[Path], Any]:
    def run(folder: Path) -> Any:
        (folder / "lifter.yaml").write_text(LIFTER)
        return chiralize.verify(net(), folder / "lifter.yaml", (poses(),), **options).raise_for_failure()

    return run


def file(name: str, content: bytes) -> Callable[[Path], Any]:
    def run(folder: Path) -> Any:
        from chiralize.storage.load import load_model

        (folder / name).write_bytes(content)
        return load_model(folder / name)

    return run


def unsafe(folder: Path) -> None:
    from chiralize.storage.load import load_model

    torch.save({"weight": Moody()}, folder / "net.pt")
    load_model(folder / "net.pt")


def factory(folder: Path) -> None:
    from chiralize.storage.factory import build_module

    build_module("torch.nn:Linear", {"in_features": "3"})


def array(values: np.ndarray) -> Callable[[Path], Any]:
    def run(folder: Path) -> Any:
        from chiralize.problem.data.inputs import calls_from

        np.save(folder / "poses.npy", values)
        return calls_from(folder / "poses.npy", ((poses(),), {}))

    return run


def output(folder: Path) -> None:
    from chiralize.storage.atomic import write_text

    write_text(folder / "nowhere" / "r.json", "{}")


def shape(folder: Path) -> None:
    from chiralize.problem.data.shapes import _shape

    _shape("1,a")


def imported(folder: Path) -> None:
    from chiralize.body.skeleton.dialects import import_skeleton

    (folder / "dog.json").write_text("{}")
    import_skeleton("coco", folder / "dog.json", [])


def one_arm(folder: Path) -> None:
    """A pendulum that swings in a plane, at the side of which nothing is its image."""
    from chiralize.body.robots.describing import RobotWishes, mirror_of
    from chiralize.body.robots.opening import open_model

    pytest.importorskip("mujoco")
    (folder / "arm.xml").write_text(
        '<mujoco model="arm"><worldbody><body><joint name="elbow" axis="1 2 3"/><geom size=".1" pos="1 2 0"/></body>'
        "</worldbody></mujoco>"
    )
    mirror_of(open_model(folder / "arm.xml"), RobotWishes())


def ambiguous(folder: Path) -> None:
    (folder / "body.yaml").write_text(BODY)
    chiralize.plan(nn.Linear(10, 10), folder / "body.yaml", (torch.zeros(1, 10),))


def axis_size(folder: Path) -> None:
    from chiralize.symmetry.involution import SignedPermutation
    from chiralize.symmetry.representation import Representation, TensorRepresentation
    from chiralize.symmetry.reynolds import project

    project(torch.zeros(4), TensorRepresentation((Representation.of(SignedPermutation.halves(6)),)))


def pixels(folder: Path) -> None:
    text = LIFTER.replace('inputs: [{layout: "b j d"}]', 'inputs: [{layout: "b j d", reflect: {x: 320}}]')
    chiralize.chiralize(Wrapped(torch.tanh), parse_spec(text), (poses(),), method="match")


def degenerate(folder: Path) -> None:
    """Every hidden unit made a fixed point: what is odd cannot pass."""
    spec_file = folder / "lifter.yaml"
    spec_file.write_text(LIFTER + "hidden: {pairing: skeleton, negated: 0}\n")
    net = network(hidden=1)
    chiralize.chiralize(net, spec_file, (poses(),), method="project")


class TurnedAbout(nn.Module):
    """Every answer holds the two coordinates exchanged: T negates the one that stays."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)
        self.fc.load_state_dict({"weight": torch.tensor([[0.0, 3.0], [3.0, 0.0]]), "bias": torch.tensor([0.0, 0.0])})

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


def wrong_mirror(folder: Path) -> None:
    x = torch.cat([poses().new_tensor(range(50)).reshape(5, 5, 2).cos() * own for own in (1, 2, 4, 9)])
    match(TurnedAbout, calibration=x)(folder)


class OneHanded(nn.Module):
    """The pose, and beside it what has no symmetry."""

    def __init__(self) -> None:
        super().__init__()
        self.mixed = nn.Linear(10, 10, bias=False)
        rows, columns = torch.randn(2, 10, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():  # of one direction alone: what training adds, and no initialisation
            self.mixed.weight.copy_(0.15 * torch.outer(rows, columns))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mixed(x.flatten(1)).unflatten(1, (5, 2))


def one_sided(folder: Path) -> None:
    walk = torch.linspace(0, 60, 400).sin().reshape(-1, 1, 1) * poses().new_tensor(range(10)).reshape(5, 2).cos()
    x = walk + 0.5 * torch.linspace(0, 900, 4000).sin().reshape(400, 5, 2)
    match(OneHanded, method="auto", calibration=x)(folder)


def disagree(folder: Path) -> None:
    verified(network, tolerance=100.0)(folder)


def internal(folder: Path) -> None:
    from chiralize.graph.rewrite import with_weights

    with_weights(network(), {"nothing": torch.zeros(1)})


def as_onnx(net: nn.Module, folder: Path, reference: Callable[..., Any] | None = None) -> None:
    from chiralize.storage.onnx_export import save_onnx

    program = torch.export.export(net.eval(), (poses(),), strict=False)
    save_onnx(program, folder / "net.onnx", "{}", [((poses(),), {})], reference or net, {}, {})


class Counting(nn.Module):
    """A result that is no tensor."""

    def forward(self, x: Tensor) -> tuple[Tensor, int]:
        return x + 1, 3


def other_function(folder: Path) -> None:
    """The file computes one thing, the network another."""
    net = Wrapped(torch.tanh)
    as_onnx(net, folder, lambda x: 2 * net(x))


def package(folder: Path) -> None:
    from chiralize.storage import onnx_checks

    with mock.patch.object(onnx_checks, "PACKAGES", ("torch", "no_such_package_as_this")):
        onnx_checks.require_packages("-o")


def lopsided(_: Path) -> None:
    """A dense weight [1, 0; 0, 0] for a layer between two pairs: T takes it to [0, 0; 0, 1]."""
    net = nn.ModuleDict({"fc": layers.Linear(layers.hidden(2), layers.hidden(2), bias=False)})
    net.load_state_dict({"fc.weight": torch.tensor([[1.0, 0.0], [0.0, 0.0]])})


CASES: dict[str, Case] = {
    "UnpairedJointError": Case(spec(BODY.replace(", [left_foot, right_foot]", "")), ("body.yaml:1", "left_foot")),
    "NotAnInvolutionError": Case(
        spec(BODY.replace("[left_foot, right_foot]", "[right_hand, left_foot]")), ("body.yaml:2", "right_hand", "swap")
    ),
    "UnknownKeyError": Case(spec(BODY + "pears: []\n"), ("body.yaml:5", "'pears'", "'pairs'")),
    "UnknownNameError": Case(spec(BODY.replace("left_foot, right_foot]]", "left_fot, right_foot]]")), ("'left_foot'",)),
    "YamlSyntaxError": Case(spec("joints: [a, b\npairs: []\n"), ("body.yaml:",)),
    "WrongValueError": Case(spec(BODY + "activation: relu\n"), ("body.yaml:5", "'relu'", "keep, tanh")),
    "MissingKeyError": Case(spec("joints: [left_a, right_a]\n"), ("body.yaml", "pairs")),
    "AmbiguousLayoutError": Case(ambiguous, ("input 0", "(1, 10)", "(j d)", "(d j)")),
    "LayoutSizeError": Case(
        match(lambda: nn.Flatten(), example_kwargs=None, input_layouts=["b t j d"]), ("input 0", "4 axes", "3")
    ),
    "RepresentationSizeError": Case(axis_size, ("4", "6")),
    "RobotMirrorError": Case(one_arm, ("arm: the robot is not its own mirror image", "elbow", "single arm")),
    "ImportFormatError": Case(imported, ("dog.json",)),
    "ModelFileError": Case(file("net.pt2", b""), ("net.pt2", "0 bytes")),
    "UnsafeFileError": Case(unsafe, ("net.pt", "Moody", "--unsafe-pickle")),
    "FactoryError": Case(factory, ("--model", "torch.nn:Linear(in_features=3)", "--arg out_features=VALUE")),
    "DataFileError": Case(array(np.ones((3, 4, 2))), ("poses.npy", "(3, 4, 2)", "(3, 5, 2)")),
    "NonFiniteError": Case(array(np.full((3, 5, 2), np.nan)), ("poses.npy", "30 of 30")),
    "OutputFileError": Case(output, ("r.json", "does not exist", "mkdir -p")),
    "UsageError": Case(shape, ("--input-shape", "'1,a'", "1,243,17,2")),
    "ModelRunError": Case(match(lambda: nn.Linear(7, 7)), ("Linear", "fails on the example inputs", "--input-shape")),
    "NoRuleError": Case(
        match(lambda: Wrapped(lambda x: torch.linalg.matrix_exp(x[:, :2, :].relu()), 4)),
        ("test_messages.py:", "no rule for aten.linalg_matrix_exp", "--method average"),
    ),
    "NeverEquivariantError": Case(
        match(lambda: Wrapped(lambda x: x[:, :2], 4)), ("test_messages.py:", "--method average")
    ),
    "NegatedChannelsError": Case(match(lambda: Wrapped(torch.relu)), ("test_messages.py:", "1 of 2", "not odd")),
    "AsymmetricConstantError": Case(match(Weighted), ("adjacency", "constant")),
    "CaptureError": Case(match(Moody), ("depends on the data", "--method average")),
    "OffsetError": Case(pixels, ("test_messages.py:", "aten.tanh", "not linear", "--method average")),
    "MethodUnavailableError": Case(match(network, method="reduce"), ("--method reduce", "no inputs", "--calibration")),
    "DriftError": Case(match(network, max_drift=1e-3), ("rho", "0.001", "--force")),
    "DegenerateError": Case(degenerate, ("output 0", "odd", "average")),
    "EquivarianceError": Case(verified(network), ("output 0", "bound", "float", "worst:", "first.weight")),
    "VerdictsDisagreeError": Case(disagree, ("first", "certificate", "do not use it as symmetric", "write it again")),
    "MissingPackageError": Case(package, ("-o", "no_such_package_as_this", "is not installed", "pip install")),
    "AsymmetricWeightError": Case(lopsided, ("fc.weight", "|W - P(W)| / |W| = 0.707", "convert the network first")),
    "ExportError": Case(lambda folder: as_onnx(Counting(), folder), ("net.onnx", "no tensor", ".pt2")),
    "ParityError": Case(other_function, ("net.onnx", "onnxruntime is 0.5 of the scale", "away from torch")),
    "MirrorError": Case(
        wrong_mirror,
        ("TurnedAbout: the network has nothing of this symmetry: its answer to T x is 2.01 away", "x not negated",
         "    Fix: try y negated instead of x in the outputs alone in the specification; `chiralize audit`",
         "--force converts"),
    ),
    "OneSidedError": Case(
        one_sided,
        ("OneHanded: its two sides are 0.38", "auto stops above 0.3: the network treats left and right unequally",
         "    Fix: where it was not trained with mirrored", "(or reduce, match) or --force converts all the same"),
    ),
    "InternalError": Case(internal, ("nothing", "report")),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_message(name: str, tmp_path: Path) -> None:
    """The class, its code, where, what with numbers, and how to mend it."""
    with pytest.raises(ChiralizeError) as caught:
        CASES[name].provoke(tmp_path)
    text = str(caught.value)
    assert type(caught.value).__name__ == name, text
    assert text.startswith(f"{name} {caught.value.code}  ") and "\n    Fix: " in text
    assert all(part for part in (caught.value.where, caught.value.facts, caught.value.remedy))
    missing = [part for part in CASES[name].says if part not in text]
    assert not missing, f"{missing} not in {text}"


def test_every_class_occurs() -> None:
    """A class that nothing raises is documentation of something that does not exist."""
    classes = {name for name, own in inspect.getmembers(errors, inspect.isclass) if issubclass(own, ChiralizeError)}
    assert classes - ABSTRACT == set(CASES)
