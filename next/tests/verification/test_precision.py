"""The numeric verdict in the precision in which a network runs, beside the one in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from chiralize.graph.run import Arguments, random_calls
from chiralize.problem.mirror import NetworkMirror
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.verification.numeric import Setting, run_own
from chiralize.verification.precision import rounding
from chiralize.verification.verdicts import NumericVerdict, Trial
from tests.support.small_body import POSE, normal, verdict_on

EPS = torch.finfo(torch.float32).eps
JOINTS = SignedPermutation.of([(1, 3), (2, 4)], size=6)
REP = TensorRepresentation(
    (Representation.trivial(4), Representation.of(JOINTS), Representation.of(SignedPermutation.of(negated=[0], size=2)))
)
MIRROR = NetworkMirror((REP,), (REP,))


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


class Largest(Cancelling):
    """Answers in whole numbers, which fall as rounding has it."""

    def forward(self, x: Tensor) -> Tensor:
        return (100 * super().forward(x)).round().long()


class Counting(Cancelling):
    """Keeps a state."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return super().forward(x) * self.count


def poses() -> Tensor:
    return normal(4, 6, 2).float()


def own(net: nn.Module, x: Tensor | None = None, depth: int = 1, **trial: object) -> NumericVerdict | None:
    return run_own(net, MIRROR, ((poses() if x is None else x,), {}), Trial(**trial), Setting(depth))  # type: ignore[arg-type]


def test_what_float32_loses_is_seen() -> None:
    """By far more than the original rounds away; as much is fine where the original does so itself."""
    verdict = own(Cancelling(2e4), original={0: 1e-7})
    assert verdict is not None and not verdict.passed and verdict.dtype == "float32"
    assert 1e-4 < verdict.worst.residual < 1e-1
    assert verdict.worst.bound == pytest.approx(256 * EPS * verdict.worst.scale)
    excused = own(Cancelling(2e4), original={0: 1e-2})
    assert excused is not None and excused.passed
    unknown = own(Cancelling(2e4), depth=20)
    assert unknown is not None and unknown.worst.bound == pytest.approx(320 * EPS * unknown.worst.scale)
    fine = own(Cancelling(0.0))
    assert fine is not None and fine.passed and fine.worst.residual <= 1e-6
    tolerated = own(Cancelling(2e4), tolerance=0.1)
    assert tolerated is not None and tolerated.passed


def test_nothing_to_ask() -> None:
    """float64 has been judged already; nothing rounds; a network that does not run in its own dtype."""
    x = poses()
    assert own(Cancelling(2e4).double(), x.double()) is None
    assert own(Largest(2e4)) is None
    assert own(Cancelling(0.0), x.half()) is None
    assert rounding(Cancelling(0.0).double(), [((x.double(),), {})]) is None
    assert rounding(Cancelling(0.0), [((x.half(),), {})]) is None
    assert rounding(Cancelling(0.0), []) is None


def test_what_a_network_rounds_away() -> None:
    """Relative to its answers, by output; every call starts from the stored state, which stays as it was."""
    calls = random_calls(Arguments.of((poses(),)), 4, 0)
    small, large = rounding(Cancelling(0.0), calls), rounding(Cancelling(2e4), calls)
    assert small is not None and large is not None
    assert small[0] <= 1e-6 and 1e-4 < large[0] < 1e-1
    net = Counting()
    counted = rounding(net, calls)
    assert counted is not None and counted[0] <= 1e-6 and net.count == 0
    assert rounding(Largest(0.0), calls) == {}


def test_both_precisions_are_judged() -> None:
    for factor, passes in ((0.0, True), (800.0, False)):
        verdict = verdict_on(Cancelling(factor), POSE, poses())
        assert verdict.passed and verdict.numeric.dtype == "float64"
        assert verdict.as_it_runs is not None and verdict.as_it_runs.dtype == "float32"
        assert verdict.as_it_runs.passed == passes
        assert ("precision", "doubt") in {(each.topic, each.level) for each in verdict.findings} or passes
