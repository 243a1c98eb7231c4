"""Figures of a result beside its original: gap, lean, drift, rho, odd shares, joint by joint, from first principles."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from torch import Tensor, nn

from chiralize.problem.mirror import NetworkMirror
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.verification.gaps import Moments, Sums, beyond_chance
from chiralize.verification.measure import figures, on_random_inputs, with_dead_inputs
from chiralize.verification.verdicts import Degeneracy
from tests.support.small_body import IMAGE, POSE, Net, normal, prepared, symmetric, trained, turned, verdict_on

NAMES = ["hip", "l_arm", "l_leg", "r_arm", "r_leg", "head"]
JOINTS = Representation.of(SignedPermutation.of([(1, 3), (2, 4)], size=6))
COORDS = Representation.of(SignedPermutation.of(negated=[0], size=2))
REP = TensorRepresentation((Representation.trivial(3), JOINTS, COORDS))


def part(io: str, index: int, entry: tuple[int, ...]) -> str:
    return NAMES[entry[1]]


MIRROR = NetworkMirror((REP,), (REP,), part=part)


def rms(values: Tensor) -> float:
    return sqrt(float(values.square().mean()))


def test_moments_do_not_lose_small_variances_beside_large_means() -> None:
    values = 1e6 + 1e-3 * normal(1000, 3)
    moments = Moments()
    for batch in values.split(37):
        moments.add(batch)
    torch.testing.assert_close(moments.variance, values.var(0, correction=0), rtol=1e-6, atol=0)
    torch.testing.assert_close(moments.mean, values.mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(moments.mean_square, values.square().mean(0), rtol=1e-12, atol=0)


def test_every_figure_is_what_its_formula_says() -> None:
    f, other, g = normal(40, 6, 2), normal(40, 6, 2, seed=1), normal(40, 6, 2, seed=2)
    sums = Sums(MIRROR, 0)
    for rows in torch.arange(40).split(7):
        sums.add(f[rows], other[rows], g[rows])
    measured = sums.figures()
    apart, average = f - turned(other), (f + turned(other)) / 2
    spread, off = sqrt(float(f.var(0, correction=0).mean())), g - average
    assert measured.gap == pytest.approx(rms(apart) / spread)
    assert measured.drift == pytest.approx(rms(off) / spread)
    assert measured.rho == pytest.approx(rms(off) / (rms(apart) / 2))
    assert measured.lean == pytest.approx(beyond_chance(rms(apart.mean(0)) / spread, measured.gap, 40))
    for share, answer in zip(measured.odd, (average, g), strict=True):
        odd = (answer - turned(answer)) / 2
        assert share == pytest.approx(float(odd.var(0).sum() / answer.var(0).sum()))
    assert [joint.name for joint in measured.parts] == NAMES
    head = measured.parts[-1]
    assert head.gap == pytest.approx(rms(apart[:, 5]) / spread)
    assert head.shift == pytest.approx(sqrt(2) * rms(off[:, 5]))  # the length of two coordinates
    assert measured.shift == max(joint.shift for joint in measured.parts)


def test_a_joint_on_which_both_views_agree_is_held_to_a_quarter_of_the_gap() -> None:
    f = normal(50, 6, 2)
    other = turned(f + normal(50, 6, 2, seed=1))
    other[:, IMAGE.index(0)] = turned(f)[:, IMAGE.index(0)]  # the hip, on which both views agree
    sums = Sums(MIRROR, 0)
    sums.add(f, other, f + 0.1)
    measured = sums.figures()
    hip = measured.parts[0]
    assert hip.gap == 0 and hip.drift is not None
    assert hip.rho == pytest.approx(hip.drift / (measured.gap / 4))


def test_units_count_in_their_own_spread() -> None:
    """Entries of thousands beside entries of one: a fault in the small ones is not hidden."""
    rep = TensorRepresentation((Representation.trivial(3), Representation.trivial(2)))
    f = normal(100, 2) * torch.tensor([1000.0, 1.0])
    other = f + torch.tensor([0.0, 1.0]) * normal(100, 2, seed=1)
    gaps = []
    for groups in ((), (0, 1)):
        sums = Sums(NetworkMirror((rep,), (rep,)), 0, groups)
        sums.add(f, other)
        gaps.append(sums.figures().gap)
    assert gaps[0] < 0.01 and gaps[1] > 0.5


def test_answers_that_are_not_finite_or_constant() -> None:
    sums = Sums(MIRROR, 0)
    sums.add(torch.full((3, 6, 2), 2.0), torch.full((3, 6, 2), 2.0), torch.full((3, 6, 2), float("inf")))
    assert sums.figures().rho == float("inf")
    still = Sums(MIRROR, 0)
    still.add(torch.ones(3, 6, 2), turned(torch.ones(3, 6, 2)), torch.ones(3, 6, 2))
    assert still.figures().gap == 0 and still.figures().odd == (0.0, 0.0)


def lifter(seed: int = 0) -> nn.Module:
    layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 12), nn.Unflatten(1, (6, 2)))
    return trained(layers, seed)


def test_a_result_beside_its_original() -> None:
    """The average of both views has no drift; the nearest symmetric weights have, and both tell left from right."""
    net = lifter()
    average = Net(lambda s, x: (s.net(x) + turned(s.net(turned(x)))) / 2, net=net)
    network = prepared(net)
    exact, near = figures(network, average, None), figures(network, symmetric(net)[0], None)
    assert exact.rho < 1e-12 < near.rho < 5
    assert exact.degeneracy is not None and exact.degeneracy.odd_kept == pytest.approx(1)
    assert near.measured is not None and near.measured.kind == "noise" and near.measured.samples == 48
    itself = on_random_inputs(network, verdict_on(net).mirror)
    assert itself.measured is not None and itself.rho == pytest.approx(1)


def test_dead_inputs_are_named() -> None:
    """A result that ignores an arm, of which the original's answers depend."""
    net = lifter()
    armless = Net(lambda s, x: s.net(x * s.mask), net=net, mask=torch.tensor([1.0, 0, 1, 1, 1, 1]).reshape(6, 1))
    network = prepared(net, POSE)
    measured = with_dead_inputs(network, armless.double(), None, figures(network, armless.double(), None))
    assert measured.degeneracy is not None
    assert measured.degeneracy.dead_inputs == ("l_arm.x", "l_arm.y") and measured.degeneracy.live_inputs == 12
    assert not measured.degeneracy.ignores_much


def test_sides_that_are_lost() -> None:
    lost = Degeneracy((0.3, 0.2, 0.001), (0.01, 0.1, 0.0))
    assert lost.collapsed == (0,) and lost.odd_kept == pytest.approx(0.01 / 0.3)
    assert Degeneracy((0.001,), (0.0,)).odd_kept == 1.0
