"""Whether an original leans to one side is told by what its answers do, in any unit, and noise is taken for no lean."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from chiralize.symmetry.action import act
from chiralize.verification.asymmetry import asymmetry
from chiralize.verification.asymmetry.lean import LEANING, beyond_chance
from chiralize.verification.drift import measure
from chiralize.verification.leaning import LEANING_JOINT, is_noise, lean_of, light_lean
from chiralize.verification.verdicts import Drift
from tests.verification.test_drift import MIRROR, POSE, Mean

ROWS = 400
ODD = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
"""T negates it: x of both knees."""


class Policy(nn.Module):
    """An equivariant function of its own, with habits of one side.

    bias: added to the answers, whatever the input.  noise: of a function that knows no mirror, without a mean.
    """

    def __init__(self, bias: Tensor | float = 0.0, noise: float = 0.0, scale: float = 1.0, offset: float = 0.0) -> None:
        super().__init__()
        drawn = torch.Generator().manual_seed(0)
        self.waves = 9 * torch.randn(6, 6, generator=drawn, dtype=torch.float64)
        self.bias, self.noise, self.scale, self.offset = bias, noise, scale, offset

    def forward(self, x: Tensor) -> Tensor:
        noise = (x.flatten(1) @ self.waves).sin().view(x.shape)
        answers = x + self.bias + self.noise * noise
        middle = torch.tensor([0.0, self.offset], dtype=torch.float64)  # along y, which T leaves
        return self.scale * (answers + middle)


def inputs(rows: int = ROWS, seed: int = 1) -> list[tuple[tuple[Tensor, ...], dict[str, object]]]:
    drawn = torch.Generator().manual_seed(seed)
    return [((part,), {}) for part in torch.randn(rows, 3, 2, generator=drawn, dtype=torch.float64).split(4)]


def average_of(policy: nn.Module, rows: int = ROWS) -> Drift:
    """Drift of the flip average of a policy, which is 0 by construction."""
    drift = measure(policy, Mean(policy), MIRROR, inputs(rows), "here")[0]
    assert drift.rho < 1e-9
    return drift


def test_a_habit_of_one_side_is_a_lean() -> None:
    """Its size is that of the habit, twice: the other view has it on the other side."""
    drift = average_of(Policy(0.1 * ODD))
    spread = float(torch.cat([call[0][0] for call in inputs()]).std(0, unbiased=False).square().mean().sqrt())
    assert drift.lean == pytest.approx(0.2 / 3**0.5 / spread, rel=1e-3)
    assert drift.lean == pytest.approx(drift.gap, rel=1e-6), "all of the gap is the same for all inputs"
    assert lean_of(replace(drift, noise=True)) is None, "of noise nothing is said"


def test_noise_is_no_lean() -> None:
    drift = average_of(Policy(noise=0.35))
    assert 0.25 < drift.gap < 0.5 and drift.lean < 0.05 and lean_of(drift) is None and is_noise(drift)
    assert not is_noise(replace(drift, stateful=True, steps=50)), "it grows along sequences"
    both = average_of(Policy(0.15 * ODD, noise=0.35))
    assert lean_of(both) is not None and not is_noise(both)


def test_an_equivariant_policy_has_none() -> None:
    drift = average_of(Policy())
    assert drift.lean == drift.gap == 0.0 and lean_of(drift) is None and not is_noise(drift)


@settings(max_examples=6, deadline=None)
@given(st.sampled_from([1e-6, 1e-2, 1e4]), st.floats(-50.0, 50.0), st.floats(0.0, 0.3))
def test_units_and_offsets_change_nothing(scale: float, offset: float, habit: float) -> None:
    plain = average_of(Policy(habit * ODD, 0.1), 40)
    other = average_of(Policy(habit * ODD, 0.1, scale, offset), 40)
    assert other.lean == pytest.approx(plain.lean, rel=1e-6, abs=1e-9)


def test_one_joint_that_leans_is_named() -> None:
    """The mean over all outputs hides it."""
    only = torch.zeros(3, 2, dtype=torch.float64)
    only[1, 1] = 0.25
    drift = average_of(Policy(only / 1.5))
    assert drift.lean < LEANING
    worst = max(drift.outputs[0].joints, key=lambda joint: joint.lean)
    assert worst.lean == pytest.approx(0.167, rel=0.1) and worst.lean < LEANING_JOINT
    leaning = replace(drift.outputs[0], lean=0.1, joints=(replace(worst, lean=0.3),))
    found = lean_of(replace(drift, outputs=(leaning,)))
    assert found is not None and found.where == f"{worst.name} of output 0" and found.whole == 0.1


def test_the_parts_of_a_lean_make_up_the_whole() -> None:
    """Of outputs of one unit: each joint adds its lean times the root of its share."""
    (output,) = average_of(Policy(0.1 * ODD)).outputs
    assert sum(joint.share for joint in output.joints) == pytest.approx(1)
    added = sum(joint.lean**2 * joint.share for joint in output.joints)
    assert added**0.5 == pytest.approx(output.lean, rel=1e-3)


@pytest.mark.parametrize(("entries", "counts"), [(8, True), (33, True), (67, False), (263, False)])
def test_one_of_many_entries_has_to_carry_weight(entries: int, counts: bool) -> None:
    drift = average_of(Policy(0.01 * ODD))
    joint = replace(drift.outputs[0].joints[0], lean=0.284, share=1 / entries)
    leaning = replace(drift, outputs=(replace(drift.outputs[0], lean=0.05, joints=(joint,)),))
    assert (lean_of(leaning) is not None) == counts
    assert (light_lean(leaning) is None) == counts
    assert light_lean(replace(leaning, noise=True)) is None


def test_a_constant_answer_of_one_side() -> None:
    """It has no spread: its own size is the unit."""

    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return ODD.expand(x.shape) + 0 * x

    drift = average_of(Constant())
    assert drift.lean == pytest.approx(2.0) and lean_of(drift) is not None


@pytest.mark.parametrize("rows", [4, 8, 12, 64])
def test_few_samples_make_no_lean_of_noise(rows: int) -> None:
    drift = average_of(Policy(noise=0.15), rows)
    assert drift.gap < 0.4 and lean_of(drift) is None


def test_chance() -> None:
    assert beyond_chance(0.3, 0.3, 1) == 0.0, "of one sample nothing can be told"
    assert beyond_chance(0.2, 0.2, 2) == pytest.approx(0.2)
    assert beyond_chance(0.1, 0.3, 5) == 0.0
    assert beyond_chance(float("nan"), 1.0, 9) == beyond_chance(0.1, float("inf"), 9) == 0.0


@pytest.mark.thorough
def test_the_audit_measures_the_same() -> None:
    for policy in (Policy(0.1 * ODD, 0.1), Policy(noise=0.3)):
        audited = asymmetry(policy, MIRROR, inputs())
        assert audited.lean == pytest.approx(average_of(policy).lean, rel=1e-6)


def test_views_that_cancel_are_seen_by_the_gap() -> None:
    """Phases of a gait: both views contradict each other at every sample, and nothing is left of that in the mean."""

    class Phases(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return ODD * x[:, :1, 1:].sign() + 0.1 * x

    drift = average_of(Phases())
    assert drift.gap > 1.5 and lean_of(drift) is None and not is_noise(drift)
    average = partial(act, representation=POSE)
    assert float(average(ODD[None]).add(ODD).abs().max()) == 0.0
