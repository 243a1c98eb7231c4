"""The numeric verdict in the precision in which a network runs, beside the one in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.commands import convert
from chiralize.errors import PrecisionWarning
from chiralize.graph.dtypes import rounding
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Arguments, random_calls
from chiralize.problem.preparation import prepare
from chiralize.report import to_text
from chiralize.verification.numeric import judge_own
from chiralize.verification.verdicts import NumericVerdict, OutputResidual
from tests.support.small_body import POSE, normal
from tests.support.zoo.case import scrambled

EPS = torch.finfo(torch.float32).eps


class Cancelling(nn.Module):
    """Equivariant in exact numbers: what is left of the mean over the joints, which was taken off, times `factor`.

    That is 0, but for rounding, which depends on the order in which the joints are added up.
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.centre, self.mix = (nn.Linear(6, 6, bias=False) for _ in range(2))
        with torch.no_grad():
            self.centre.weight.copy_(torch.eye(6) - 1 / 6)
            self.mix.weight.copy_(torch.eye(6) + factor)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.centre(x.transpose(1, 2))).transpose(1, 2)


def poses(*shape: int) -> Tensor:
    return normal(*shape).float()


def mirror() -> NetworkMirror:
    resolved = prepare(Cancelling(0.0), parse_spec(POSE), (poses(4, 6, 2),)).resolved
    return NetworkMirror(resolved.inputs, resolved.outputs)  # type: ignore[arg-type]


def test_what_float32_loses_is_found() -> None:
    """By far more than the original rounds away; as much is fine where the original does so itself."""
    x, net = poses(4, 6, 2), Cancelling(2e4)
    verdict = judge_own(net, mirror(), (x,), original={0: 1e-7})
    assert verdict is not None and not verdict.passed and verdict.dtype == "float32"
    assert 1e-4 < verdict.worst.residual < 1e-1
    assert verdict.worst.bound == pytest.approx(256 * EPS * verdict.worst.scale)
    excused = judge_own(net, mirror(), (x,), original={0: 1e-2})
    assert excused is not None and excused.passed
    unknown = judge_own(net, mirror(), (x,), depth=20)
    assert unknown is not None and unknown.worst.bound == pytest.approx(320 * EPS * unknown.worst.scale)
    fine = judge_own(Cancelling(0.0), mirror(), (x,))
    assert fine is not None and fine.passed and fine.worst.residual <= 1e-6


def test_a_tolerance_takes_the_place_of_the_bound() -> None:
    verdict = judge_own(Cancelling(2e4), mirror(), (poses(4, 6, 2),), tolerance=0.1)
    assert verdict is not None and verdict.passed


class Largest(Cancelling):
    """Answers in whole numbers, which fall as rounding has it."""

    def forward(self, x: Tensor) -> Tensor:
        return (100 * super().forward(x)).round().long()


def test_nothing_to_ask() -> None:
    """float64 has been judged already; nothing rounds; a network that does not run in its own dtype."""
    x = poses(4, 6, 2)
    assert judge_own(Cancelling(2e4).double(), mirror(), (x.double(),)) is None
    assert judge_own(Largest(2e4), mirror(), (x,)) is None
    assert judge_own(Cancelling(0.0), mirror(), (x.half(),)) is None
    assert rounding(Cancelling(0.0).double(), [((x.double(),), {})]) is None
    assert rounding(Cancelling(0.0), [((x.half(),), {})]) is None
    assert rounding(Cancelling(0.0), []) is None


class Counting(Cancelling):
    """Keeps a state."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return super().forward(x) * self.count


def test_what_a_network_rounds_away() -> None:
    """Relative to its answers, by output; every call starts from the stored state, which stays as it was."""
    calls = random_calls(Arguments.of((poses(4, 6, 2),)), 4, 0)
    small, large = rounding(Cancelling(0.0), calls), rounding(Cancelling(2e4), calls)
    assert small is not None and large is not None
    assert small[0] <= 1e-6 and 1e-4 < large[0] < 1e-1
    net = Counting()
    found = rounding(net, calls)
    assert found is not None and found[0] <= 1e-6 and net.count == 0
    assert rounding(Largest(0.0), calls) == {}


# ---- conversions ----------------------------------------------------------------------------------------------------
def converted(**options: Any) -> Any:
    """The report of a conversion."""
    parts = nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 12), nn.Unflatten(1, (6, 2)))
    net = scrambled(parts, 0).eval()
    chosen = {"force": True, "samples": 2, **options}
    result: Any = chiralize.chiralize(net, parse_spec(POSE), (poses(4, 6, 2),), **chosen)
    return result.chirality.report


@pytest.mark.one_in(2)
@pytest.mark.parametrize("method", ["match", "average"])
def test_conversions_say_both(method: str) -> None:
    report = converted(method=method)
    assert report.judgement.numeric.dtype == "float64" and report.judgement.own_precision.dtype == "float32"
    assert report.judgement.own_precision.passed and "in float32, in which it runs: " in to_text(report)


def test_auto_passes_over_what_float32_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that enlarges rounding: the next candidate is taken; by name, it is handed over with a warning."""
    judged = convert.in_own_precision
    bad = NumericVerdict((OutputResidual(0, 4e-4, 1.0, 1.5e-5, "head.x"),), "float32", 2)

    def enlarged(after: Any, verdict: Any, *more: Any) -> Any:
        own = judged(after, verdict, *more)
        return bad if verdict.repmap is not None else own

    monkeypatch.setattr(convert, "in_own_precision", enlarged)
    inputs = torch.randn(600, 6, 2, generator=torch.Generator().manual_seed(3))
    options: Any = {"calibration": inputs, "rounds": 0, "max_drift": 100.0, "width": 0.5}
    report = converted(**options)
    assert report.method == "average" and report.judgement.own_precision.passed
    says = "reduce at width 0.5 was not taken: in float32, in which it runs, it is off by 0.0004 (bound 1.5e-05)"
    assert says in report.notes
    with pytest.warns(PrecisionWarning, match="in float32, in which it runs, the result is off by 4.0e-4"):
        named = converted(method="reduce", **options)
    assert "off by 4.0e-4 in float32" in named.verdict and named.judgement.own_precision == bad


def test_verify_says_both() -> None:
    """A warning, though both verdicts pass in float64."""
    x, net = poses(4, 6, 2), Cancelling(800.0)
    with pytest.warns(PrecisionWarning, match="in float32"):
        report = chiralize.verify(net, parse_spec(POSE), (x,), samples=2)
    assert report.passed and report.judgement.own_precision is not None and not report.judgement.own_precision.passed
    assert report.verdict.startswith("equivariant, with warnings") and "in float32" in report.verdict
    fine = chiralize.verify(Cancelling(0.0), parse_spec(POSE), (x,), samples=2)
    assert (
        fine.judgement.own_precision is not None
        and fine.judgement.own_precision.passed
        and "in which it runs" in to_text(fine)
    )
