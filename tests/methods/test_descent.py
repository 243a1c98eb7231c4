"""What larger networks are trained with unasked: its steps, its lessons, and how much of it a minute holds."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from chiralize.commands.convert import Request, convert
from chiralize.graph.running import Call
from chiralize.methods.refine import budget, gauss_newton, lessons
from chiralize.methods.refine import refine as refining
from chiralize.methods.refine.imitation import Distance
from chiralize.methods.refine.lessons import Stored
from chiralize.methods.refine.steps import Steps
from chiralize.problem.data.cutting import shuffled, tensors
from chiralize.problem.data.feeds import Feed
from chiralize.problem.data.perturbation import perturbed
from tests.methods.test_gauss_newton import words
from tests.methods.test_reduce_trained import kept, learnt, poses, result, rho
from tests.support.reduce_nets import KINDS, calls_for, ready, subject_of
from tests.support.small_body import residual

SHAPES = ((8, 8), (6, 4, 3), (5, 1, 3), (7,), (1, 9), ())


def size(tensor: Tensor) -> float:
    return float(tensor.detach().double().square().mean().sqrt())


# ---- steps ----------------------------------------------------------------------------------------------------------
def weights_of(seed: int) -> list[nn.Parameter]:
    """Of sizes from 0.001 to 100."""
    draw = torch.Generator().manual_seed(seed)
    return [nn.Parameter(10.0**power * torch.randn(shape, generator=draw)) for power, shape in enumerate(SHAPES, -3)]


def pull(weights: list[nn.Parameter], seed: int) -> None:
    """Give them gradients, the larger weights the smaller ones."""
    draw = torch.Generator().manual_seed(seed)
    for power, weight in enumerate(weights):
        weight.grad = 10.0**-power * torch.randn(weight.shape, generator=draw)


@given(st.floats(1e-4, 1e-1), st.integers(0, 999))
def test_weights_move_by_a_share_of_their_size(rate: float, seed: int) -> None:
    """Whatever their gradients are. Muon's five iterations leave singular values between 0.6 and 1.3."""
    weights = weights_of(seed)
    before = [weight.detach().clone() for weight in weights]
    pull(weights, seed + 1)
    Steps(weights).take(rate)
    for old, weight in zip(before, weights, strict=True):
        assert 0.6 * rate < size(weight - old) / size(old) < 1.3 * rate, tuple(old.shape)


def test_weights_of_zero_move_as_far_as_others() -> None:
    weights = [nn.Parameter(torch.full((4, 4), 3.0)), nn.Parameter(torch.zeros(16))]
    pull(weights, 0)
    Steps(weights).take(0.01)
    assert size(weights[1]) == pytest.approx(0.01 * (9 / 2) ** 0.5, rel=1e-3)


def test_weights_without_gradients_stay() -> None:
    weights = weights_of(0)
    before = [weight.detach().clone() for weight in weights]
    Steps(weights).take(0.1)
    assert all(torch.equal(old, weight) for old, weight in zip(before, weights, strict=True))


def test_matrices_that_commute_with_the_mirror_do_so_after_a_step() -> None:
    """But for what bfloat16 rounds of the step."""
    order, signs = torch.tensor([2, 3, 0, 1, 4, 5]), torch.tensor([1.0, 1, 1, 1, 1, -1])
    draw = torch.Generator().manual_seed(0)

    def image(matrix: Tensor) -> Tensor:
        return signs[:, None] * matrix[order][:, order] * signs

    plain, gradient = torch.randn(2, 6, 6, generator=draw)
    weight = nn.Parameter(plain + image(plain))
    weight.grad = gradient + image(gradient)
    old = weight.detach().clone()
    Steps([weight]).take(0.1)
    step = (weight - old).detach()
    assert size(step - image(step)) < 0.02 * size(step)


def test_steps_go_on_as_they_would_have() -> None:
    """From a state, in weights of the same values."""
    weights, again = weights_of(0), weights_of(0)
    steps = Steps(weights)
    for seed in (1, 2):
        pull(weights, seed)
        steps.take(0.01)
    with torch.no_grad():
        for copy, weight in zip(again, weights, strict=True):
            copy.copy_(weight)
    resumed = Steps(again)
    resumed.resume(deepcopy(steps.states()))
    for ways, descent in ((weights, steps), (again, resumed)):
        pull(ways, 3)
        descent.take(0.01)
    assert all(torch.equal(copy, weight) for copy, weight in zip(again, weights, strict=True))


def test_values_of_heads_are_as_large_as_what_reads_them() -> None:
    """A step is a share of a whole weight's size: rows that are far smaller than the rest would be ruined by it."""
    shape = KINDS["transformer"].shape
    options = {"samples": 1, "force": True, "calibration": calls_for(shape, 20), "rounds": 0, "width": 0.5}
    weights = convert(ready("transformer"), "net", Request("reduce", **options)).module.state_dict()
    query, key, value = (part.norm(dim=1).mean() for part in weights["qkv.weight"].chunk(3))
    reader = weights["out.weight"].norm(dim=0).mean()
    assert 0.2 < value / reader < 5 and 0.2 < value / query < 5 and 0.2 < value / key < 5


# ---- lessons --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("room", [10**9, 20 * 12 * 8 * 2 * 4])
def test_lessons_are_the_inputs_and_moved_copies(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there is room for, each with what the original answers; the same inputs make the same lessons."""
    monkeypatch.setattr(lessons, "_STORED", room)
    teacher, calls = learnt(), [((x,), {}) for x in poses(60, 7).double().split(20)]
    distance = Distance(lambda call: [teacher(*call[0])], teacher, calls, [0])
    read: list[int] = []

    def noise(call: Call, pool: Sequence[Call], generator: torch.Generator) -> Call:
        """As poses are moved."""
        return perturbed(call, pool, True, generator)

    def batch(number: int) -> Call:
        """Every batch is asked for once."""
        read.append(number)
        return calls[number]

    stored, again = (Stored(distance, Feed(batch, range(3)), lambda pool, generator: pool, noise) for _ in "12")
    assert read == [0, 0, 1, 2] * 2
    assert len(stored) == len(again) == (12 if room == 10**9 else 4)
    for number in range(len(stored)):
        (call, target), (same, _) = (made.take(number, torch.Generator()) for made in (stored, again))
        x = call[0][0]
        assert torch.equal(target, distance.targets(call)) and torch.equal(x, same[0][0])
        assert torch.equal(x, calls[number % 3][0][0]) == (number < 3) and x.shape == (20, 6, 2)


def test_samples_are_shuffled_across_batches() -> None:
    """Every sample once, in batches of the size that is asked for; what is left over is dropped."""
    x = poses(60, 7).double()
    network = subject_of(learnt(), (6, 2), 20)
    found = shuffled(network, [((part,), {}) for part in x.split(20)], 16, torch.Generator().manual_seed(0))
    rows = torch.cat([tensors(call)[0] for call in found])
    numbers = [int((x - row).abs().sum((1, 2)).argmin()) for row in rows]
    assert [len(tensors(call)[0]) for call in found] == [16] * 3 and len(set(numbers)) == 48
    assert torch.equal(rows, x[numbers]) and numbers != sorted(numbers)


# ---- how much a minute holds ----------------------------------------------------------------------------------------
@given(st.floats(1, 1e10), st.lists(st.integers(1, 2000), min_size=2, max_size=2), st.floats(0, 10))
def test_what_is_affordable(work: float, shape: list[int], rho: float) -> None:
    """All rounds of a small network; for a larger one steps that are enough, and rounds, each for a minute at most."""
    extra = budget.affordable(work, [shape, (7,)], rho)
    if work <= budget._QUICK:
        assert extra == budget.Extra(rounds=budget._ROUNDS, samples=gauss_newton.SAMPLES)
        return
    if not budget._LEFT_OVER < rho <= budget._HOPELESS:
        assert extra == budget.Extra()
        return
    most, (short, long) = budget._WORK * (1 + 1e-9), sorted(shape)
    if extra.steps:
        assert budget._FEWEST_STEPS <= extra.steps <= budget._MOST_STEPS
        assert budget._FEWEST_ROWS <= extra.rows <= budget._MOST_ROWS
        assert extra.steps * extra.rows * work * budget._PASSES <= most
    else:
        step = budget._MOST_ROWS * work * budget._PASSES + 5 * (2 * short**2 * long + short**3)
        assert step * budget._FEWEST_STEPS > budget._WORK
    if extra.rounds:
        assert budget._FEWEST_ROUNDS <= extra.rounds <= budget._ROUNDS
        assert budget._FEWEST_SAMPLES <= extra.samples <= budget._SAMPLES
        assert extra.rounds * extra.samples * budget._RUNS * work <= most
    else:
        assert budget._RUNS * work * budget._FEWEST_ROUNDS * budget._FEWEST_SAMPLES > budget._WORK / (1 + 1e-9)


def test_samples_of_a_step() -> None:
    """Few where a weight works on every joint of a sample, many where it works once."""
    shapes = [(64, 64)] * 20
    once = sum(map(prod, shapes))
    rows = [budget.affordable(once * times, shapes, 1.0).rows for times in (4, 17, 40, 100)]
    assert rows == [250, 59, 25, 16]


# ---- in a conversion ------------------------------------------------------------------------------------------------
@pytest.mark.one_in(2)
@pytest.mark.parametrize("options", [{"method": "reduce", "width": 0.5}, {"method": "match"}])
def test_larger_networks_are_trained_unasked(options: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearer to the original than layer by layer, and as equivariant."""
    for name, value in {"_QUICK": 100, "_LEFT_OVER": 0.0, "_MOST_STEPS": 160}.items():
        monkeypatch.setattr(budget, name, value)
    found, before = result(**options, rounds=None), kept(**options)
    (note,) = [note for note in found.report.notes if note.startswith("all layers trained at once, without labels: ")]
    assert note.endswith(" of 160)") and not words(found)
    assert rho(found) < 0.9 * rho(before) and residual(found.module, (4, 6, 2)) <= 1e-11 and found.report.passed


@pytest.mark.one_in(2)
@pytest.mark.parametrize("changed", [{"_FEWEST_STEPS": 10**9}, {"_MOST_STEPS": 4}])
def test_rounds_in_place_of_training(changed: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a minute holds too few steps, and where they lead astray: half way the loss is twice the first."""
    for name, value in {"_QUICK": 100, "_LEFT_OVER": 0.0, "_ROUNDS": 1, **changed}.items():
        monkeypatch.setattr(budget, name, value)
    monkeypatch.setattr(refining, "_RATE", 10.0)
    found = result("reduce", width=0.5, rounds=None)
    assert len(words(found)) == 1 and "trained" not in " ".join(found.report.notes)
    assert rho(found) < rho(kept("reduce", width=0.5))


@pytest.mark.thorough
@pytest.mark.parametrize("changed", [{"_LEFT_OVER": 1e9}, {"_WORK": 1e6}])
def test_others_are_not(changed: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a fit left little over, and where a minute does not hold enough."""
    for name, value in {"_QUICK": 100, **changed}.items():
        monkeypatch.setattr(budget, name, value)
    found, before = result("reduce", width=0.5, rounds=None), kept("reduce", width=0.5)
    assert "at once" not in " ".join(found.report.notes) and rho(found) == rho(before)
