"""Pairing of units: always an involution, optimal where brute force can tell, found again where it was hidden."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chiralize.body.hidden import HiddenPolicy
from chiralize.body.skeleton import Skeleton
from chiralize.errors import UsageError
from chiralize.infer.hidden.choose import Imposed
from chiralize.infer.hidden.match import FromWeights
from chiralize.infer.hidden.pairing import Score, best_involution
from chiralize.infer.records import RepMap, Space
from tests.infer.nets import JOINTS, PLANE, ROUNDING, Net, finished, graph_of, normal, rep, residual, trained, turn_of

POSE = rep(2, JOINTS, PLANE)


def pairings(units: list[int], fixed: bool) -> Iterator[list[tuple[int, int]]]:
    """Every way to pair units (with fixed ones, or at most one left over)."""
    if not units:
        yield []
        return
    first, rest = units[0], units[1:]
    if fixed or len(units) % 2:
        yield from pairings(rest, fixed)
    for position, other in enumerate(rest):
        for tail in pairings(rest[:position] + rest[position + 1 :], fixed):
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
        chosen = best_involution(score, sign_free, fixed)  # the class itself refuses what is no involution
        assert not sign_free or chosen.is_sign_free
        assert fixed or len(chosen.pairs) == size // 2
        best = max(value(score, pairs, sign_free) for pairs in pairings(list(range(size)), fixed))
        ours = value(score, chosen.pairs, sign_free)
        assert ours <= best + 1e-9
        reached.append(ours >= best - 1e-9)
    assert sum(reached) >= 14


def test_units_that_say_nothing_are_paired() -> None:
    """Without fixed points only the last of an odd number of units has no partner, though zeros fit any pairing."""
    rng = np.random.default_rng(0)
    for size, living in [(11, 7), (8, 5), (10, 7), (12, 9)] * 20:
        signed = np.zeros((size, size))
        signed[:living, :living] = rng.normal(size=(living, living))
        action = best_involution(Score(signed, np.zeros_like(signed)), False, fixed_points=False)
        assert int(action.fixed.sum()) == size % 2


def test_a_hidden_pairing_is_seen() -> None:
    """Scores with a clear answer, noise around it."""
    rng = np.random.default_rng(1)
    partner = np.array([3, 1, 5, 0, 4, 2])
    signed = 0.1 * rng.normal(size=(6, 6))
    signed[np.arange(6), partner] += np.array([1, -1, 1, 1, 1, 1])
    chosen = best_involution(Score(signed, np.zeros((6, 6))), sign_free=False)
    assert chosen.partner.tolist() == partner.tolist()
    assert chosen.sign.tolist() == [1, -1, 1, 1, 1, 1]


def test_a_large_space_is_refused_with_a_remedy() -> None:
    with pytest.raises(UsageError):
        Score.zero(5000)


def two_layers(net: Net, x: Tensor) -> Tensor:
    return net.last(torch.relu(net.first(x.flatten(1)))).view_as(x)


def layered() -> Net:
    return Net(two_layers, first=nn.Linear(12, 16), last=nn.Linear(16, 12))


def test_the_pairing_of_an_equivariant_network_is_seen_again() -> None:
    """Slightly perturbed, a symmetric network is brought back to itself."""
    symmetric, _ = finished(trained(layered()), normal(2, 6, 2), POSE, POSE)
    perturbed, _ = finished(trained(layered()), normal(2, 6, 2), POSE, POSE)
    with torch.no_grad():
        for seed, parameter in enumerate(perturbed.parameters()):
            parameter.add_(1e-3 * normal(*parameter.shape, seed=seed))
    again, _ = finished(perturbed, normal(2, 6, 2), POSE, POSE, FromWeights)
    for ours, theirs in zip(again.parameters(), symmetric.parameters(), strict=True):
        assert (ours - theirs).abs().max() < 0.01


@pytest.mark.parametrize("least", [0.0, 5e-43, 1e-30])
def test_weights_as_good_as_zero_do_not_vote(least: float) -> None:
    """Weight decay leaves numbers whose squares no float holds."""
    net = trained(layered()).float()
    net.first.bias.data.fill_(least)  # type: ignore[union-attr]
    result, _ = finished(net, normal(2, 6, 2).float(), POSE, POSE, FromWeights)
    assert residual(result.double(), normal(2, 6, 2), turn_of(POSE), turn_of(POSE)) <= 1e-6


def test_signs_that_a_later_op_refuses_are_left_out() -> None:
    """Joints mixed by a learned matrix, put in another order and averaged: only the mean tells that signs are wrong."""
    order = [3, 0, 5, 1, 4, 2]

    def run(net: Net, x: Tensor) -> Tensor:
        mixed = torch.tanh(net.mix(x.transpose(1, 2))).transpose(1, 2)[:, order]
        return x + net.last(mixed.mean(1, keepdim=True))

    net = trained(Net(run, mix=nn.Linear(6, 6), last=nn.Linear(2, 2)))
    result, _ = finished(net, normal(2, 6, 2), POSE, POSE, FromWeights)
    assert residual(result, normal(3, 6, 2), turn_of(POSE), turn_of(POSE)) <= ROUNDING


def test_imposed_layouts_by_depth_and_signs() -> None:
    """The second space has another pairing; signs are left out where an op is not odd."""
    graph = graph_of(trained(layered()), normal(2, 6, 2))
    policy = HiddenPolicy(pairing=("half", "adjacent"), negated=(Fraction(1, 2),))
    imposed = Imposed(policy, Skeleton("none", ("center",), ()), FromWeights(graph))
    spaces = [
        Space(0, "a[0]", "a", 4, 0, True),
        Space(1, "b[0]", "b", 4, 1, False),
        Space(2, "c[0]", "c", 4, 2, True, True),
    ]
    chosen = imposed(spaces, RepMap({}, {}, (), (), {}))
    assert chosen[0][0].partner.tolist() == [2, 3, 0, 1] and chosen[0][0].is_sign_free
    assert chosen[1][0].partner.tolist() == [1, 0, 3, 2] and not chosen[1][0].is_sign_free
    assert chosen[2][0].is_identity
