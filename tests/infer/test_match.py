"""Pairing of units: always an involution, optimal where brute force can tell, found again where it was hidden."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Request, convert
from chiralize.infer.hidden.pairing import Score, best_involution
from chiralize.problem.preparation import prepare
from chiralize.problem.result import Converted
from chiralize.verification.figures import Figures, loss
from chiralize.verification.verdicts import Degeneracy, Drift, OutputDrift
from tests.support.small_body import POSE, ROUNDING, Net, converted, normal, residual, trained
from tests.support.zoo import CASES


def pairings(units: list[int], fixed: bool) -> Iterator[list[tuple[int, int]]]:
    """Every way to pair units (with fixed ones, or at most one left over)."""
    if not units:
        yield []
        return
    first, rest = units[0], units[1:]
    if fixed or len(units) % 2:
        yield from pairings(rest, fixed)
    for place, other in enumerate(rest):
        for tail in pairings(rest[:place] + rest[place + 1 :], fixed):
            yield [(first, other), *tail]


def value(score: Score, pairs: list[tuple[int, int]], sign_free: bool) -> float:
    signed = (score.signed + score.signed.T) / 2
    total = (signed if sign_free else np.abs(signed)) + (score.plain + score.plain.T) / 2
    partner = np.arange(len(total))
    for i, j in pairs:
        partner[i], partner[j] = j, i
    return float(total[np.arange(len(total)), partner].sum())


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("sign_free", [True, False])
@pytest.mark.parametrize("fixed", [True, False])
def test_an_involution_close_to_the_best(size: int, sign_free: bool, fixed: bool) -> None:
    reached = []
    for seed in range(15):
        rng = np.random.default_rng(seed)
        score = Score(rng.normal(size=(size, size)), 0.2 * rng.normal(size=(size, size)))
        found = best_involution(score, sign_free, fixed)  # the class itself refuses what is no involution
        assert not sign_free or found.is_sign_free
        assert fixed or len(found.pairs) == size // 2
        best = max(value(score, pairs, sign_free) for pairs in pairings(list(range(size)), fixed))
        own = value(score, found.pairs, sign_free)
        assert own <= best + 1e-9
        reached.append(own >= best - 1e-9)
    assert sum(reached) >= 14


def test_units_that_say_nothing_are_paired() -> None:
    """Without fixed points only the last of an odd number of units has no partner, though zeros fit any pairing."""
    rng = np.random.default_rng(0)
    for size, living in [(11, 7), (8, 5), (10, 7), (12, 9)] * 20:
        signed = np.zeros((size, size))
        signed[:living, :living] = rng.normal(size=(living, living))
        action = best_involution(Score(signed, np.zeros_like(signed)), False, fixed_points=False)
        assert int(action.fixed.sum()) == size % 2


def test_a_hidden_pairing_is_found() -> None:
    """Scores with a clear answer, noise around it."""
    rng = np.random.default_rng(1)
    partner = np.array([3, 1, 5, 0, 4, 2])
    signed = 0.1 * rng.normal(size=(6, 6))
    signed[np.arange(6), partner] += np.array([1, -1, 1, 1, 1, 1])
    found = best_involution(Score(signed, np.zeros((6, 6))), sign_free=False)
    assert found.partner.tolist() == partner.tolist()
    assert found.sign.tolist() == [1, -1, 1, 1, 1, 1]


@pytest.mark.one_in(2)
@pytest.mark.parametrize("calibrated", [False, True])
def test_the_pairing_of_an_equivariant_network_is_found_again(calibrated: bool) -> None:
    """Slightly perturbed, a symmetric network is brought back nearly to itself: weights that were fitted, in what they
    do."""
    case = CASES["joint major"]
    args, kwargs = case.steps(1)[0]
    first = convert(
        prepare(case.model(), parse_spec(case.spec), args, kwargs), "a", Request("project", samples=1)
    ).module
    kept = {name: own.clone() for name, own in first.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(1e-3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    data = [case.steps(1, seed=seed)[0] for seed in range(20)] if calibrated else []
    network = prepare(first, parse_spec(case.spec), args, kwargs)
    found = convert(network, "a", Request("match", samples=1, calibration=data))
    again = found.module
    assert bool(found.report.changes.fitted) == calibrated
    args, kwargs = case.steps(1, seed=100)[0]
    perturbed = first(*args, **kwargs)
    first.load_state_dict(kept)
    wanted = first(*args, **kwargs)
    assert (again(*args, **kwargs) - wanted).abs().max() < 1.5 * (perturbed - wanted).abs().max() < 0.05
    for name, own in nn.Module.state_dict(again).items():
        if own.is_floating_point() and not calibrated:
            assert (own - kept[name]).abs().max() < 0.02, name


@pytest.mark.parametrize("least", [0.0, 5e-43, 1e-30])
def test_weights_as_good_as_zero_do_not_vote(least: float) -> None:
    """Weight decay leaves numbers whose squares no float holds."""
    net = trained(Net(lambda s, x: s.last(s.first(x.flatten(1)).relu()).unflatten(1, (6, 2)),
                      first=nn.Linear(12, 16), last=nn.Linear(16, 12))).float()  # fmt: skip
    with torch.no_grad():
        net.first.bias.fill_(least)  # type: ignore[union-attr]
    found = convert(prepare(net, parse_spec(POSE), (torch.randn(3, 6, 2),)), "net", Request("match", samples=1))
    assert found.report.passed


@pytest.mark.thorough
def test_signs_that_a_later_op_refuses_are_left_out() -> None:
    """Joints mixed by a learned matrix, put in another order and averaged: only the mean tells that signs are wrong."""
    order = [3, 0, 5, 1, 4, 2]

    def run(s: Net, x: Tensor) -> Tensor:
        mixed = torch.tanh(s.mix(x.transpose(1, 2))).transpose(1, 2)[:, order]
        return x + s.last(mixed.mean(1, keepdim=True))

    for seed in range(4):
        found = converted(trained(Net(run, mix=nn.Linear(6, 6), last=nn.Linear(2, 2)), seed), method="match")
        assert residual(found, (3, 6, 2)) <= ROUNDING


def test_which_of_two_candidates() -> None:
    """Refused ones come last, then those that keep little of what is odd, or lose whole inputs; then rho decides."""

    def of(kept: float, rho: float, lost: int = 0, dead: int = 0) -> object:
        drift = Drift((OutputDrift(0, 1.0, rho / 2, rho),), "", 1)
        degeneracy = Degeneracy((0.2,), (0.2 * kept,), dead_inputs=("x",) * dead, live_inputs=12)
        return loss(Converted(nn.Identity(), "match", "folded", lost=lost), Figures(drift, degeneracy))

    best_first = [of(0.61, 0.3), of(1.0, 0.9), of(1.0, 0.1, 4, 3), of(0.59, 0.1), of(0.2, 1.8)]
    refused = [of(1.0, 0.1, 4, 4), of(0.05, 0.0)]
    assert best_first == sorted(best_first) and max(best_first) < min(refused)


def test_a_candidate_that_ignores_inputs_gives_way() -> None:
    """With units of their own this network would err less, and ignore x of four joints: it is paired throughout."""

    def run(s: Net, x: Tensor) -> Tensor:
        x = torch.relu(s.adjacency @ s.a(x))
        return s.c(x + torch.relu(s.adjacency @ s.b(x)))

    adjacency = torch.eye(6, dtype=torch.float64) / 2
    adjacency[0, 1:] = adjacency[1:, 0] = 0.3
    net = trained(Net(run, adjacency=adjacency, a=nn.Linear(2, 6), b=nn.Linear(6, 6), c=nn.Linear(6, 2)), seed=39)
    found = converted(net, method="match")
    assert residual(found, (3, 6, 2)) <= ROUNDING
    assert torch.func.jacrev(found)(normal(1, 6, 2)).abs().amax((0, 1, 2, 3)).min() > 0  # type: ignore[operator]
