"""Exported programs through the conversion: sizes stay open, results are written and loaded again."""

from __future__ import annotations

import itertools
import warnings
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Conversion, Request, convert
from chiralize.errors import DriftError, MethodUnavailableError
from chiralize.methods.names import names
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from tests.support.cases import mainly
from tests.support.zoo import CASES
from tests.support.zoo.case import H36M, both, negated, swapped

LIFTER = Path(__file__).parents[2] / "chiralize" / "storage" / "pretrained" / "lifter27.pt2"
POSE = both(swapped(H36M, -2), negated([0], -1))
SPEC = parse_spec("skeleton: h36m\n")


def off(net: nn.Module, *sizes: int) -> float:
    """max |F(T x) - T F(x)| over max |F(x)| on an input of the given sizes."""
    x = torch.randn(*sizes, 17, 2, generator=torch.Generator().manual_seed(3))
    x = x.to(next(iter(net.state_dict().values())).dtype)
    with torch.no_grad():
        own = POSE(net(x))
        return float((net(POSE(x)) - own).abs().max() / own.abs().max())


@pytest.mark.thorough
@pytest.mark.parametrize("method", ["match", "average"])
def test_the_shipped_lifter_keeps_its_open_sizes(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch and frames are dynamic in the file; they are in the written result too."""
    monkeypatch.setattr("chiralize.graph.other_sizes._MOST", 40)
    program = torch.export.load(str(LIFTER))
    before = {name: own.clone() for name, own in program.state_dict.items()}
    found = convert(prepare(program, SPEC, (torch.randn(8, 27, 17, 2),)), "lifter", Request(method, samples=1))
    assert all(torch.equal(own, before[name]) for name, own in program.state_dict.items())
    assert found.program is not None
    torch.export.save(found.program, tmp_path / "out.pt2")
    loaded = torch.export.load(str(tmp_path / "out.pt2")).module()
    for sizes in ((1, 27), (5, 27), (2, 40), (1, 31)):
        assert off(loaded, *sizes) <= 1e-5, sizes


@cache
def exported(name: str, open_batch: bool) -> tuple[ExportedProgram, nn.Module]:
    case = CASES[name]
    model = case.model()
    args, kwargs = case.steps(1)[0]
    shapes = tuple({0: Dim("batch", min=1, max=64)} for _ in args) if open_batch else None
    with warnings.catch_warnings():  # torch's own, about recurrent modules
        warnings.simplefilter("ignore")
        return torch.export.export(model, args, kwargs, dynamic_shapes=shapes, strict=False), model


@pytest.mark.parametrize(
    ("open_batch", "method"),
    mainly(itertools.product((True, False), ("match", "average")), [(True, "match"), (False, "average")]),
)
def test_a_program_keeps_what_is_open_and_what_is_fixed(method: str, open_batch: bool) -> None:
    program, model = exported("temporal", open_batch)
    found = convert(prepare(program, SPEC, CASES["temporal"].steps(1)[0][0]), "temporal", Request(method, samples=1))
    assert found.program is not None
    net = found.program.module()
    assert off(net, 2, 9) <= 1e-10
    if open_batch:
        assert off(net, 6, 9) <= 1e-10
    else:
        with pytest.raises(Exception, match="(?i)size|shape|guard|expected"):
            net(torch.zeros(6, 9, 17, 2, dtype=torch.float64))
    if method == "match":
        assert {name: own.shape for name, own in found.program.state_dict.items()} == {
            name: own.shape for name, own in model.state_dict().items()
        }


@pytest.mark.one_in(2)
@pytest.mark.parametrize("method", ["match", "average"])
def test_a_module_shown_one_sample_takes_any_number(method: str) -> None:
    case = CASES["temporal"]
    network = prepare(case.model(), SPEC, (torch.randn(1, 9, 17, 2, dtype=torch.float64),))
    program = convert(network, "temporal", Request(method, samples=1)).program
    assert program is not None and program.example_inputs[0][0].shape[0] == 1
    for rows in (1, 2, 7):
        assert off(program.module(), rows, 9) <= 1e-10


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["states passed along", "policy, gru in buffers", "gru cell by hand"])
def test_recurrent_programs(name: str) -> None:
    case = CASES[name]
    program, _ = exported(name, False)
    args, kwargs = case.steps(1)[0]
    found = convert(prepare(program, parse_spec(case.spec), args, kwargs), name, Request("project", samples=1))
    assert found.report.judgement.certificate is not None and found.report.judgement.certificate.passed


@cache
def ready() -> Network:
    case = CASES["joint major"]
    return prepare(case.model(), parse_spec(case.spec), *case.example())


def converted(calibration: bool = False, **options: object) -> Conversion:
    data = [CASES["joint major"].steps(1, seed=seed)[0] for seed in range(10)] if calibration else []
    return convert(ready(), "net", Request(samples=1, calibration=data, **options))  # type: ignore[arg-type]


def test_calibration_inputs_choose_and_measure() -> None:
    found = converted(True, method="match")
    assert {choice.reason for choice in found.report.changes.choices} == {"matched by activations"}
    assert found.report.drift is not None and found.report.drift.source == "held-out calibration inputs"


def test_drift_beyond_the_bound() -> None:
    with pytest.raises(DriftError, match="rho = "):
        converted(method="project", max_drift=0.01)
    assert converted(method="project", max_drift=0.01, force=True, form="folded").report.drift is not None
    drift = converted(method="average", max_drift=0.01).report.drift
    assert drift is not None and drift.rho < 1e-9


def test_auto_averages_without_inputs() -> None:
    assert converted(method="auto").report.method == "average"
    with pytest.raises(MethodUnavailableError, match="CH307"):
        converted(method="reduce")
    with pytest.raises(MethodUnavailableError, match="CH307"):
        converted(method="average", form="blocks")
    assert set(names()) == {"auto", "reduce", "average", "match", "project"}
