"""Inputs that are put beside calibration inputs: what they leave of these, and where there are none."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from chiralize.body.spec import parse_spec
from chiralize.methods import method_of
from chiralize.problem.beside import SCATTER, SHARE, perturbed, scattered, spreadings, supplied
from chiralize.problem.checks import with_inputs
from chiralize.problem.inputs import inputs_of
from chiralize.problem.network import Network
from chiralize.problem.prepare import prepare
from chiralize.problem.problem import Problem
from chiralize.problem.request import Request
from chiralize.problem.table import table_of
from tests.support.small_body import CLIP, POSE, Net, normal, trained

ROWS = 2000


@cache
def network_of(shape: tuple[int, ...] = (3, 6, 2), spec: str = POSE) -> Network:
    net = Net(lambda net, x: net.layer(x), layer=nn.Linear(2, 2))
    return prepare(trained(net), (normal(*shape),), {}, parse_spec(spec))


def scatter(x: Tensor, spec: str = POSE) -> Tensor:
    described = network_of((3, *x.shape[1:]), spec).resolved.inputs[0]
    before = x.clone()
    moved = scattered(x, described, torch.Generator().manual_seed(0))
    assert torch.equal(x, before)
    return moved


def problem_of(network: Network, x: Tensor | None, method: str) -> Problem:
    asked = None if method == "auto" else method_of(method)
    return supplied(with_inputs(Problem(network, Request(method=method, data=x), asked)))


# ---- scattered --------------------------------------------------------------------------------------------------
def test_joints_no_longer_tell_each_other() -> None:
    """All of the given inputs vary in one direction, of scattered ones every joint in one of its own."""
    x = normal(ROWS, 1, 1, seed=1) * normal(1, 6, 2, seed=2)  # poses of one phase: every joint tells all others
    before, after = (torch.linalg.eigvalsh(torch.cov(each.flatten(1).T)) for each in (x, scatter(x)))
    assert int((before > 1e-9 * before[-1]).sum()) == 1
    assert int((after > 1e-3 * after[-1]).sum()) >= 6


def test_all_there_is_of_a_joint_moves_together() -> None:
    """Its coordinates and frames: where one is twice the other it stays so, and frames that are alike stay alike."""
    phase, step = normal(800, 1, 1, 1, seed=1), normal(1, 1, 6, 1, seed=2)
    x = (phase * step - 100).expand(800, 5, 6, 1) * torch.tensor([1.0, 2.0]).double()
    moved = scatter(x, CLIP)
    assert torch.allclose(moved, moved[:, :1].expand_as(moved))
    assert torch.allclose(moved[..., 1], 2 * moved[..., 0])
    assert SCATTER == 0.4 and not torch.allclose(moved, x)


def test_what_has_one_sign_keeps_it_and_shares_stay_shares() -> None:
    shares = torch.rand(ROWS, 6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = scatter(shares)
    assert moved.min() == 0.0 and moved.max() == 1.0
    assert scatter(-100 - shares).max() <= 0.0 and scatter(100 + shares).min() >= 0.0


def test_bodies_of_other_sizes() -> None:
    """Every size from half to twice, about the mean of the joints, which stays: nothing else differs here."""
    x = normal(1, 6, 2, seed=3).expand(ROWS, 6, 2).clone() - 10
    moved, center = scatter(x), x.mean(1, keepdim=True)
    assert torch.allclose(moved.mean(1, keepdim=True), center)
    sizes = (moved - center).flatten(1).norm(dim=1) / (x - center)[0].norm()
    assert 0.5 <= sizes.min() < 0.52 and 1.95 < sizes.max() <= 2.0


@pytest.mark.parametrize(("method", "count"), [("reduce", 160), ("auto", 160), ("match", 160), ("average", 0)])
def test_only_for_fits_and_for_no_figures(method: str, count: int) -> None:
    inputs = problem_of(network_of(), normal(600, 6, 2), method).inputs
    assert inputs is not None
    assert (0 if inputs.beside is None else len(inputs.beside)) == count
    assert sum(len(call[0][0]) for call in inputs.fitted(1)) == 480 + count
    assert sum(len(call[0][0]) for call in inputs.measured(1)) == 120


def test_a_few_are_enough() -> None:
    inputs = problem_of(network_of(), normal(12_000, 6, 2), "reduce").inputs
    assert inputs is not None and inputs.beside is not None and len(inputs.beside) == 2_000


# ---- as wide as the training ------------------------------------------------------------------------------------
MEAN, SPREAD = normal(6, 2, seed=1), normal(6, 2, seed=2).abs() + 0.5


def test_inputs_are_spread_as_far_as_the_network_remembers() -> None:
    """What moves less is spread, what hardly moves is drawn, and nothing becomes narrower."""
    net = Net(lambda net, x: net.layer((x - net.mean) / net.spread), layer=nn.Linear(2, 2), mean=MEAN, spread=SPREAD)
    network = prepare(net.double().eval(), (normal(2, 6, 2),), {}, parse_spec(POSE))
    factors = torch.full((6, 2), 0.3).double()
    factors[0], factors[1] = 1e-3, 2.0
    x = MEAN + 0.1 + factors * SPREAD * normal(3000, 6, 2, seed=5)
    (spreading,) = spreadings(network, inputs_of(network, x)[0]).values()
    moved = spreading.of(x, torch.Generator().manual_seed(0))
    ratio = moved.std(0) / SPREAD
    assert torch.allclose(ratio[[0, 2, 3, 4, 5]], torch.ones(5, 2).double(), rtol=0.1)
    assert torch.allclose(ratio[1], 2 * torch.ones(2).double(), rtol=0.1)
    assert float(((moved.mean(0) - MEAN).abs() / SPREAD).max()) < 0.15
    assert not spreadings(network, inputs_of(network, MEAN + SPREAD * normal(3000, 6, 2, seed=5))[0])


FIELDS = """\
{joints: [l, r], pairs: [[l, r]], dims: [q], negate: [], lateral: y,
 inputs: [{fields: [{vector: command}, {joints: q}]}], outputs: [{fields: [{joints: action}]}]}
"""


def test_what_never_moves_is_drawn_as_far_as_the_others_move() -> None:
    """Of an observation, where nothing is remembered: the answers where it moves are in no sample."""
    network = prepare(nn.Linear(5, 2).double(), (normal(2, 5),), {}, parse_spec(FIELDS))
    x = normal(800, 5) * torch.tensor([1.0, 1.0, 1.0, 2.0, 1.0]).double()
    x[:, 1] = 0.7
    inputs = problem_of(network, x, "match").inputs
    assert inputs is not None and inputs.beside is not None
    beside = torch.as_tensor(inputs.beside.arrays[0])
    drawn = beside[1::2, 1]
    assert float(drawn.mean()) == pytest.approx(0.7, abs=0.2) and float(drawn.std()) == pytest.approx(1.0, rel=0.2)


# ---- moved a little ---------------------------------------------------------------------------------------------
MIXING = np.array([[1.0, 0.8], [0.0, 0.6]])


def test_noise_has_the_inputs_covariance() -> None:
    """An oracle in numpy; what the range cuts off is little where samples are pooled."""
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((4000, 6, 2)) @ MIXING)
    table, generator = table_of(x, network_of()), torch.Generator().manual_seed(1)
    rows = list(range(4000))
    noise = (perturbed(table, rows, generator)[0][0] - x).numpy().reshape(-1, 2)
    expected, seen = SHARE**2 * MIXING.T @ MIXING, noise.T @ noise / len(noise)
    scale = np.trace(seen) / np.trace(expected)
    assert 0.9 < scale < 1.05 and np.abs(noise.mean(0)).max() < 0.02
    np.testing.assert_allclose(seen / scale, expected, atol=0.1 * np.abs(expected).max())


@given(st.integers(2, 9), st.integers(0, 99))
def test_no_entry_leaves_the_range(count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, 6, 2, generator=generator, dtype=torch.float64)
    ((moved,), _) = perturbed(table_of(x, network_of()), list(range(count)), generator)
    assert (moved >= x.amin(0)).all() and (moved <= x.amax(0)).all()
