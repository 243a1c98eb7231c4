"""Networks for several mirrors at once: exact under each and under their product, by an oracle of its own."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import (
    AsymmetricWeightError,
    ChiralizeError,
    EquivarianceError,
    MethodUnavailableError,
    UsageError,
)
from chiralize.infer.hidden.pairing import Score, best_involution
from chiralize.infer.hidden.quotient import best_commuting
from chiralize.nn.several import SharedAxis
from chiralize.problem import earlier
from chiralize.storage.passport import Passport
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.orbits import entry_apart
from chiralize.symmetry.representation import Representation
from tests.support import four_legs
from tests.support.four_legs import SIZE, SPEC, residuals

EXACT = 1e-12
MIRRORS = ["left_right", "front_back", "left_right and front_back"]


@pytest.fixture(scope="module")
def policy() -> nn.Sequential:
    return four_legs.policy()


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.randn(200, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def converted(network: Any, x: Tensor, **options: Any) -> Any:
    """The result for both mirrors."""
    return chiralize.chiralize(network, parse_spec(SPEC), x[:2], force=True, **{"samples": 1, **options})


@pytest.fixture(scope="module")
def reduced(policy: nn.Sequential, x: Tensor) -> Any:
    return converted(policy, x, method="reduce", width=0.25, calibration=x, rounds=1)


def products(result: Any) -> float:
    cost = result.chirality.report.cost
    return cost.macs_after / cost.macs_before


# ---- every method ---------------------------------------------------------------------------------------------
def test_all_views_are_averaged(policy: nn.Sequential, x: Tensor) -> None:
    result = converted(policy, x, method="average")
    assert torch.allclose(result(x), four_legs.average(policy, x), rtol=0, atol=1e-14)
    assert max(residuals(result)) <= EXACT
    assert result.chirality.report.passes == 4 and products(result) == 4
    assert result.chirality.report.drift.rho < 1e-12


def test_reduce_keeps_a_quarter(policy: nn.Sequential, reduced: Any, x: Tensor) -> None:
    report = reduced.chirality.report
    assert max(residuals(reduced)) <= EXACT
    assert type(reduced) is nn.Sequential and reduced.state_dict().keys() == policy.state_dict().keys()
    assert [mirror.name for mirror in report.mirrors] == MIRRORS and report.passed
    assert report.judgement.degeneracy.free_share == pytest.approx(0.25, abs=0.03)
    with torch.no_grad():
        off = (reduced(x) - four_legs.average(policy, x)).square().mean().sqrt()
        apart = (policy(x) - four_legs.average(policy, x)).square().mean().sqrt()
    assert float(off / apart) < 1.0
    assert report.drift.rho == pytest.approx(float(off / apart), rel=0.5)  # the report's is of held-out inputs


@pytest.mark.thorough
def test_blocks_take_a_quarter_of_the_products(policy: nn.Sequential, x: Tensor) -> None:
    result = converted(policy, x, method="project", form="blocks")
    assert max(residuals(result)) <= EXACT
    assert products(result) <= 0.30, result.chirality.report.notes
    with torch.no_grad():
        for parameter in result.parameters():
            parameter.add_(torch.randn_like(parameter))
    assert max(residuals(result)) <= EXACT  # whatever their weights are


def test_blocks_of_a_program_are_called_by_a_graph(policy: nn.Sequential, x: Tensor) -> None:
    """And the report says why its form is another than was asked for."""
    result = converted(torch.export.export(policy, (x[:2],)), x, method="project", form="blocks")
    report = result.chirality.report
    assert report.form == "fused" and report.notes[-1].startswith("form fused instead of blocks: the network came as a")


def test_matched_units_in_blocks(policy: nn.Sequential, x: Tensor) -> None:
    """Partners lie anywhere: the pairs of one mirror have to be read so that the other takes firsts to firsts."""
    network = nn.Sequential(*list(policy)[:3], nn.ELU(), policy[4])
    options = {"method": "match", "calibration": x, "rounds": 0}
    result, folded = (converted(network, x, form=form, **options) for form in ("blocks", "folded"))
    assert result.chirality.report.passed and result.chirality.report.judgement.certificate.passed
    assert max(residuals(result)) <= EXACT and products(result) <= 0.5
    torch.testing.assert_close(result(x), folded(x), rtol=0, atol=1e-9)


@given(seed=st.integers(0, 10**6), orbits=st.integers(1, 6))
def test_other_mirrors_take_first_entries_of_pairs_to_first_ones(seed: int, orbits: int) -> None:
    """Two mirrors that exchange all entries, in orbits of four, under any order and signs of the entries."""
    rng = np.random.default_rng(seed)
    order, signs = rng.permutation(4 * orbits), rng.choice([-1, 1], 4 * orbits)
    one, other = (SignedPermutation.halves(2).matrix(), np.eye(2)), (np.eye(2), SignedPermutation.halves(2).matrix())
    actions: list[Representation] = []
    for outer, inner in (one, other):
        matrix = np.kron(np.eye(orbits), np.kron(outer, inner))[order][:, order] * np.outer(signs, signs)
        partner = np.abs(matrix).argmax(1)
        sign = matrix[np.arange(len(matrix)), partner].astype(int)
        actions.append(Representation.of(SignedPermutation(partner, sign)))
    axis = SharedAxis(actions)
    order, firsts, start = torch.arange(4 * orbits) if axis.order is None else axis.order, set[int](), 0
    for pairs, _ in axis.groups:
        firsts |= set(order[start : start + pairs].tolist())
        start += 2 * pairs
    assert {int(actions[1].action.partner[first]) for first in firsts} == firsts


@pytest.mark.one_in(2)
@pytest.mark.parametrize("options", [{"method": "match"}, {"method": "match", "calibrated": True}])
def test_match(policy: nn.Sequential, x: Tensor, options: dict[str, Any]) -> None:
    wanted = dict(options)
    if wanted.pop("calibrated", False):
        wanted |= {"calibration": x, "rounds": 0}
    result = converted(policy, x, **wanted)
    assert max(residuals(result)) <= EXACT
    assert result.chirality.report.form == "folded"


def test_recurrent_layers_are_projected_and_not_reduced(x: Tensor) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(SIZE, 8, batch_first=True)
            self.out = nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.gru(x[:, None])[0][:, 0])

    network = Net().double().eval()
    assert max(residuals(converted(network, x, method="project"))) <= EXACT
    with pytest.raises(MethodUnavailableError, match="recurrent"):
        converted(network, x, method="reduce", width=0.25, calibration=x)


# ---- what is handed over --------------------------------------------------------------------------------------
def test_files_and_passports(reduced: Any, tmp_path: Path) -> None:
    chiralize.save(reduced, tmp_path / "four.pt2")
    again = chiralize.load(tmp_path / "four.pt2")
    assert chiralize.verify(again).passed
    passport = reduced.chirality.passport
    assert Passport.from_json(passport.to_json(), "here").mirrors == passport.mirrors
    spec = parse_spec(SPEC)
    alone = passport.with_spec(spec.mirrors()["front_back"])
    assert alone.hidden == passport.mirrors["front_back"] and not alone.mirrors
    for name, one in spec.mirrors().items():
        assert chiralize.verify(reduced, one, torch.ones(2, SIZE).double()).passed, name


@pytest.mark.thorough
def test_what_is_equivariant_already_is_handed_back(reduced: Any, x: Tensor) -> None:
    bare = nn.Sequential(*(copy.deepcopy(layer) for layer in reduced))
    again = converted(bare, x)
    assert again.chirality.report.way.unchanged and again.chirality.report.passed
    assert torch.equal(again(x), reduced(x))
    assert chiralize.verify(again).passed


def test_training_keeps_both_mirrors(reduced: Any, x: Tensor) -> None:
    network = copy.deepcopy(reduced)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    chiralize.keep_symmetric(network, optimizer)
    network(x).square().mean().backward()
    optimizer.step()
    assert not torch.equal(network[0].weight, reduced[0].weight)
    assert max(residuals(network)) <= EXACT


def test_commands_of_one_mirror_refuse(policy: nn.Sequential, x: Tensor) -> None:
    with pytest.raises(MethodUnavailableError, match="left_right, front_back"):
        chiralize.audit(policy, parse_spec(SPEC), x[:2])
    with pytest.raises(UsageError, match="several mirrors"):
        chiralize.Mirror.of(parse_spec(SPEC))
    assert torch.allclose(chiralize.flip_test(policy, parse_spec(SPEC), x[:2])(x), four_legs.average(policy, x))
    assert chiralize.plan(policy, parse_spec(SPEC), x[:2]).passed


# ---- planted faults -------------------------------------------------------------------------------------------
def test_a_weight_that_is_touched_afterwards_is_found(reduced: Any) -> None:
    network = copy.deepcopy(reduced)
    with torch.no_grad():
        network[2].weight[1, 2] += 1e-6
    report = chiralize.verify(network)
    assert not report.passed and not any(mirror.passed for mirror in report.judgement.mirrors)
    with pytest.raises(AsymmetricWeightError):
        chiralize.save(network, "never.pt2")


@pytest.mark.one_in(2)
@pytest.mark.parametrize("broken", ["left_right", "front_back"])
def test_a_weight_that_one_mirror_alone_moves_is_found(reduced: Any, broken: str) -> None:
    """Symmetric under the other mirror, so that judging one of them would let it pass."""
    network = copy.deepcopy(reduced)
    other = {"left_right": "front_back", "front_back": "left_right"}[broken]
    rep = reduced.chirality.passport.mirrors[other]["2.weight"]
    change = torch.zeros_like(network[2].weight)
    change[1, 2] = 1e-6
    rows, columns = rep.axes[0].action, rep.axes[1].action
    change = change + change[rows.partner.copy()][:, columns.partner.copy()]
    with torch.no_grad():
        network[2].weight += change
    report = chiralize.verify(network)
    passed = {mirror.name: mirror.passed for mirror in report.judgement.mirrors}
    assert passed[other] and not passed[broken] and not report.passed
    with pytest.raises(EquivarianceError):
        report.raise_for_failure()
    with pytest.raises(AsymmetricWeightError):
        chiralize.save(network, "never.pt2")


def test_choices_that_do_not_commute_are_refused(
    policy: nn.Sequential, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(earlier, "_actions", lambda captured, mirrors, space, repmap: ())
    with pytest.raises(MethodUnavailableError, match="does not commute"):
        converted(policy, x, method="match")


def test_a_projection_that_forgets_one_mirror_is_not_handed_over(
    policy: nn.Sequential, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither guard on the way there: the verdicts alone."""
    monkeypatch.setattr(earlier, "_actions", lambda captured, mirrors, space, repmap: ())
    monkeypatch.setattr("chiralize.methods.fill.projection.check_commuting", lambda *_: None)
    monkeypatch.setattr("chiralize.methods.fill.projection.symmetric_under", lambda value, _: value)
    monkeypatch.setattr("chiralize.commands.several.converting.free_share_of_all", lambda *_: 1.0)
    with pytest.raises(ChiralizeError) as caught:
        converted(policy, x, method="match")
    assert caught.value.code[:3] in ("CH4", "CH5")


def test_matching_in_the_quotient_commutes() -> None:
    rng = torch.Generator().manual_seed(0)
    left = SignedPermutation.of([(0, 3), (1, 4), (2, 5)], [2, 5, 7], size=9)
    for _ in range(5):
        raw = torch.randn(9, 9, generator=rng).numpy()
        score = Score(raw + raw.T, 0 * raw)
        for sign_free, fixed_points in ((True, True), (False, False)):
            chosen = best_commuting(score, sign_free, fixed_points, [left])
            assert entry_apart(chosen, left) is None
            assert not sign_free or chosen.is_sign_free
            free = best_involution(score, sign_free, fixed_points)
            assert best_commuting(score, sign_free, fixed_points, []) == free


def test_a_mirror_between_hidden_units_is_found_again() -> None:
    """Scores that are 1 where a mirror that commutes takes units, 0 elsewhere."""
    left, front = SignedPermutation.halves(8), SignedPermutation.of([(0, 2), (1, 3), (4, 6), (5, 7)], size=8)
    both = replace(left, partner=front.partner[left.partner])
    for mirror in (front, both):
        score = mirror.matrix()
        assert best_commuting(Score(score, 0 * score), True, True, [left]) == mirror
