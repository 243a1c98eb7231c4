"""What larger networks are trained with unasked: its steps, its lessons, and how much of it a minute holds."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from math import prod
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from chiralize.body.tensors import load_spec, resolve
from chiralize.commands.convert import Request, convert
from chiralize.graph.running import Call
from chiralize.graph.time_limit import Stopwatch
from chiralize.methods.refine import budget, distillation, lessons, matrices, refine, within_time
from chiralize.methods.refine.distillation import train
from chiralize.methods.refine.imitation import Distance, Weights
from chiralize.methods.refine.lessons import MovedAnew, Stored, move_of
from chiralize.methods.refine.ready import _is_peaked
from chiralize.methods.refine.steps import Steps
from chiralize.methods.refine.training import Training
from chiralize.methods.refine.within_time import Descent, descent_within
from chiralize.problem.data.cutting import shuffled, tensors
from chiralize.problem.data.feeds import Feed
from chiralize.problem.data.perturbation import perturbed
from chiralize.problem.result import WeightAction
from chiralize.symmetry import reynolds
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
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


@pytest.mark.parametrize(("has_bfloat16", "rounding"), [(True, 0.02), (False, 1e-5)])
def test_matrices_that_commute_with_the_mirror_do_so_after_a_step(
    monkeypatch: pytest.MonkeyPatch, has_bfloat16: bool, rounding: float
) -> None:
    """But for what is rounded of the step: in bfloat16 where a processor multiplies in it, else in single precision."""
    monkeypatch.setattr("chiralize.methods.refine.steps.has_bfloat16", lambda: has_bfloat16)
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
    assert size(step - image(step)) < rounding * size(step)


ACTS = [
    TensorRepresentation((Representation.parse(out), *map(Representation.parse, rest)))
    for out, *rest in (
        ("6: (0 3) (1 4) (2 5)", "6: (0 3) (1 4) (2 5)"),
        ("7: (0 5) -(1 2) -6", "5: (0 4) -1 -2"),
        ("4: (0 1) (2 3)", "6: (0 1) (3 4) -5", "3: (0 2)"),
        ("3: -2", "4: -0"),  # no pairs
        ("4: (0 1)", "9:"),  # an axis that stays: nothing odd comes in
    )
]


@pytest.mark.parametrize("acts", ACTS, ids=str)
@pytest.mark.parametrize("odd_share", [1.0, 1e-6])
def test_steps_in_blocks_are_those_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, acts: TensorRepresentation, odd_share: float
) -> None:
    """Muon's to rounding, with its momentum, also where one block has next to no gradient; and symmetric but for it."""
    monkeypatch.setattr(matrices, "_LEAST", 1)
    monkeypatch.setattr("chiralize.methods.refine.steps.has_bfloat16", lambda: False)
    draw = torch.Generator().manual_seed(0)
    weights = [nn.Parameter(torch.randn(acts.shape, generator=draw)) for _ in range(2)]
    weights[1].data = weights[0].detach().clone()
    descents = Steps(weights[:1]), Steps(weights[1:], [acts])
    old = weights[0].detach().clone()
    still = TensorRepresentation((abs(acts.axes[0]), *acts.axes[1:]))
    for _ in range(3):
        plain = reynolds.project(torch.randn(acts.shape, generator=draw), acts)
        gradient = torch.lerp(plain, reynolds.project(plain, still), 1 - odd_share)
        for weight, descent in zip(weights, descents, strict=True):
            weight.grad = reynolds.project(gradient, acts)
            descent.take(0.1)
    whole, blocks = ((weight - old).detach() for weight in weights)
    assert size(blocks - whole) < 1e-4 * size(whole)
    assert size(blocks - reynolds.project(blocks, acts)) < 1e-5 * size(whole)


@pytest.mark.parametrize(
    ("device", "rows", "pieces"), [("cpu", 158, 1), ("cpu", 160, 2), ("meta", 512, 1), ("meta", 2048, 2)]
)
def test_matrices_are_moved_in_blocks_where_that_takes_less_time(device: str, rows: int, pieces: int) -> None:
    """Elsewhere than on a processor a call takes longer than products of small matrices."""
    halves = Representation.of(SignedPermutation.halves(rows))
    weight = torch.empty(rows, rows, device=device)
    assert len(matrices.Matrix(weight, TensorRepresentation((halves, halves)), 0).pieces) == pieces


@pytest.mark.parametrize("in_blocks", [False, True])
def test_steps_go_on_as_they_would_have(monkeypatch: pytest.MonkeyPatch, in_blocks: bool) -> None:
    """From a state, in weights of the same values."""
    known: list[TensorRepresentation | None] = [None] * len(SHAPES)
    if in_blocks:
        monkeypatch.setattr(matrices, "_LEAST", 1)
        known[0] = TensorRepresentation((Representation.parse("8: (0 4) (1 5) (2 6) (3 7)"),) * 2)
    weights, again = weights_of(0), weights_of(0)
    steps = Steps(weights, known)
    for seed in (1, 2):
        pull(weights, seed)
        steps.take(0.01)
    with torch.no_grad():
        for copy, weight in zip(again, weights, strict=True):
            copy.copy_(weight)
    resumed = Steps(again, known)
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


# ---- what is lowered ------------------------------------------------------------------------------------------------
@given(st.integers(0, 999), st.floats(0.01, 100), st.booleans())
def test_what_training_lowers(seed: int, scale: float, is_squared: bool) -> None:
    """The mean of absolute errors over the spread of what is aimed at, for each output; the root of the mean of squares
    where few entries are large. Neither depends on the unit of an output, or on how many entries another one has.
    """
    draw = torch.Generator().manual_seed(seed)
    aims = [scale * torch.randn(20, 5, generator=draw).double(), torch.randn(20, 300, generator=draw).double()]
    offs = [scale * 0.1 * torch.randn(20, 5, generator=draw).double(), torch.randn(20, 300, generator=draw).double()]

    class Off(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            return tuple(aim + off for aim, off in zip(aims, offs, strict=True))

    call: Call = ((torch.zeros(20, 1),), {})
    distance = Distance(lambda call: aims, Off(), [call], [0, 1], [0] if is_squared else [])
    first, second = (off / aim.std() for off, aim in zip(offs, aims, strict=True))
    wanted = second.abs().mean() + (first.square().mean().sqrt() if is_squared else first.abs().mean())
    assert torch.allclose(distance.error(call, distance.targets(call)), wanted / 2**0.5)


@pytest.mark.parametrize("number", [3.0, -0.1, 1e4])
def test_the_rounding_of_a_constant_does_not_outweigh_other_outputs(number: float) -> None:
    """A policy's spread, which is the same for all inputs, beside its mean: it counts in its own size."""
    calls: list[Call] = [((torch.randn(8, 2, generator=torch.Generator().manual_seed(seed)),), {}) for seed in range(3)]

    def answers(x: Tensor, off: float = 0.0) -> list[Tensor]:
        return [x + off, torch.full((len(x), 1), number * (1 + 1e-6 * bool(off)))]

    distance = Distance(lambda call: answers(*call[0]), lambda x: answers(x, 0.1), calls, [0, 1])
    alone = Distance(lambda call: answers(*call[0])[:1], lambda x: answers(x, 0.1)[:1], calls, [0])
    assert distance.on(calls) == pytest.approx(alone.on(calls) / 2, rel=1e-6)


BINS = [{"layout": "b j x", "mirror": "x", "dims": []}, {"layout": "b j y", "dims": []}]


@pytest.mark.parametrize(
    ("given", "outputs", "shapes", "expected"),
    [
        ({"layout": "b c h w", "mirror": "w"}, [*BINS, {"layout": "b j d"}], [12, 9, 2], [True, True, False]),
        ({"layout": "b c h w", "mirror": "w"}, [BINS[1]], [9], [True]),
        ({"layout": "b c h d"}, [BINS[1], {"layout": "b j d"}], [9, 2], [False, False]),
    ],
)
def test_maps_beside_a_reversed_axis_are_maps(
    given: dict[str, str], outputs: list[dict[str, object]], shapes: list[int], expected: list[bool]
) -> None:
    """Bins of heights, which the mirror leaves where they are, as those across: but no series of a network on poses."""
    spec = load_spec({"skeleton": "coco", "inputs": [given], "outputs": outputs})
    sizes = [(2, 17, size) for size in shapes]
    resolved = resolve(spec, [(2, 3, 8, 2)], sizes)
    assert [_is_peaked(resolved, position) for position in range(len(outputs))] == expected


# ---- lessons --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("room", [10**9, 20 * 12 * 8 * 2 * 4])
def test_lessons_are_the_inputs_and_moved_copies(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there is room for, each with what the original answers; the same inputs make the same lessons."""
    monkeypatch.setattr(lessons, "_STORED", room)
    teacher, calls = learnt(), [((x,), {}) for x in poses(60, 7).double().split(20)]
    distance = Distance(lambda call: [teacher(*call[0])], teacher, calls, [0])
    read: list[int] = []

    def noise(call: Call, pool: Sequence[Call], generator: torch.Generator, amount: float) -> Call:
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
        (call, target), (same, _) = (made.take(number, torch.Generator(), 0.0) for made in (stored, again))
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
        assert extra == budget.Extra(rounds=budget._ROUNDS)
        return
    if not budget._LEFT_OVER < rho <= budget._HOPELESS:
        assert extra == budget.Extra()
        return
    short, long = sorted(shape)
    muon = 2 * short**2 * long + short**3  # five iterations, at a fifth of the cost
    if extra.steps:
        assert budget._FEWEST_STEPS <= extra.steps <= budget._MOST_STEPS and extra.rounds == 0
        assert budget._FEWEST_ROWS <= extra.rows <= budget._MOST_ROWS
        assert extra.steps * (extra.rows * work * budget._PASSES + muon) <= budget._WORK * (1 + 1e-9)
    else:
        step = budget._FEWEST_ROWS * work * budget._PASSES + muon
        assert step * budget._FEWEST_STEPS > budget._WORK / (1 + 1e-9)


def test_samples_of_a_step() -> None:
    """Few where a weight works on every joint of a sample, many where it works once; fewer where steps take long."""
    shapes = [(64, 64)] * 20
    once = sum(map(prod, shapes))
    rows = [budget.affordable(once * times, shapes, 1.0).rows for times in (4, 17, 40, 100)]
    assert rows == [250, 59, 25, 16]
    large = budget.affordable(2e7, [(200, 500)] * 20, 1.0)
    assert large.rows < 100 and budget._FEWEST_STEPS <= large.steps < 1.1 * budget._FEWEST_STEPS


class Chain(nn.Module):
    """One layer that reads its own answer, `times` in all, and another one behind it."""

    def __init__(self, times: int, way: str) -> None:
        super().__init__()
        self.times, self.way = times, way
        self.step, self.last = nn.Linear(12, 12), nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        if self.way == "beside":
            return self.last(sum((self.step(x * number) for number in range(self.times)), x)).unflatten(1, (6, 2))
        for _ in range(self.times):
            match self.way:
                case "module":
                    x = self.step(x).tanh()
                case "matrix":
                    x = (x @ self.step.weight.t()).tanh()
                case "added":
                    x = (x + self.step.bias).tanh()
        return self.last(x).unflatten(1, (6, 2))


@pytest.mark.parametrize(
    ("times", "way", "expected"),
    [(1, "module", 1), (5, "module", 5), (5, "matrix", 5), (5, "beside", 1), (5, "added", 1)],
)
def test_how_often_a_weight_reads_what_it_made(times: int, way: str, expected: int) -> None:
    """As a module or as a transposed matrix; layers beside each other are not in a row, nor is a bias that is added."""
    captured = subject_of(Chain(times, way).double().eval(), (6, 2), 4).captured
    assert captured is not None and budget.most_in_a_row(captured) == expected


def test_networks_that_read_their_own_answers_are_trained_at_a_lower_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """In as many parts as errors add up in, ten at most."""
    monkeypatch.setattr(budget, "_QUICK", 100)
    rates = [
        budget.unasked(subject_of(Chain(times, "module").double().eval(), (6, 2), 4), 1.0).rate for times in (1, 4, 16)
    ]
    assert rates == [5e-3, 1.25e-3, 5e-4]


# ---- in a conversion ------------------------------------------------------------------------------------------------
@pytest.mark.one_in(2)
@pytest.mark.parametrize("options", [{"method": "reduce", "width": 0.5}, {"method": "match"}])
def test_larger_networks_are_trained_unasked(options: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearer to the original than layer by layer, and as equivariant."""
    for name, value in {"_QUICK": 100, "_LEFT_OVER": 0.0, "_MOST_STEPS": 80}.items():
        monkeypatch.setattr(budget, name, value)
    found, before = result(**options, rounds=None), kept(**options)
    (note,) = [note for note in found.report.notes if note.startswith("all layers trained at once, without labels: ")]
    assert note.endswith(" of 80)") and not words(found)
    assert rho(found) < 0.9 * rho(before) and residual(found.module, (4, 6, 2)) <= 1e-11 and found.report.passed


@pytest.mark.one_in(2)
@pytest.mark.parametrize("options", [{"method": "reduce", "width": 0.5}, {"method": "match"}])
def test_small_networks_are_trained_where_rounds_leave_enough(options: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearer to the original than by rounds, and as equivariant; where these leave little they are all."""
    monkeypatch.setattr(budget, "_ROUNDS", 1)
    monkeypatch.setattr(budget, "_AFTER_ROUNDS", 80)
    monkeypatch.setattr(budget, "_LEFT_OVER", 0.5)
    by_rounds = result(**options, rounds=None)
    assert len(words(by_rounds)) == 1 and "trained" not in " ".join(by_rounds.report.notes)
    monkeypatch.setattr(budget, "_LEFT_OVER", 0.3)
    found = result(**options, rounds=None)
    assert words(found) == words(by_rounds)
    (note,) = [note for note in found.report.notes if note.startswith("all layers trained at once, without labels: ")]
    assert note.endswith(" of 80)") and rho(found) < 0.9 * rho(by_rounds)
    assert residual(found.module, (4, 6, 2)) <= 1e-11 and found.report.passed


@pytest.mark.one_in(2)
def test_a_tenth_of_a_rate_that_leads_astray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half way the loss is more than twice the first: training begins again, and only that counts."""
    for name, value in {"_QUICK": 100, "_LEFT_OVER": 0.0, "_MOST_STEPS": 80, "_RATE": 0.1}.items():
        monkeypatch.setattr(budget, name, value)
    monkeypatch.setattr(distillation, "_LOST", 1.0)
    run, rates = distillation.Training.run, list[float]()

    def noted(training: distillation.Training, steps: int, rate: float, *rest: object, **options: object) -> object:
        """Take down the rate."""
        rates.append(rate)
        return run(training, steps, rate, *rest, **options)

    monkeypatch.setattr(distillation.Training, "run", noted)
    found = result("reduce", width=0.5, rounds=None)
    assert rates == [0.1, pytest.approx(0.01)] and not words(found)
    assert rho(found) < 0.9 * rho(kept("reduce", width=0.5))


@pytest.mark.thorough
@pytest.mark.parametrize("changed", [{"_LEFT_OVER": 1e9}, {"_WORK": 1e6}])
def test_others_are_not(changed: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a fit left little over, and where a minute does not hold enough."""
    for name, value in {"_QUICK": 100, **changed}.items():
        monkeypatch.setattr(budget, name, value)
    found, before = result("reduce", width=0.5, rounds=None), kept("reduce", width=0.5)
    assert "at once" not in " ".join(found.report.notes) and rho(found) == rho(before)


# ---- within a limit of time -----------------------------------------------------------------------------------------
class Clock:
    """A stopwatch of a time that steps and looks move on, each by its own amount."""

    def __init__(self, of_a_step: float, of_a_look: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.of_a_step, self.of_a_look, clock = 0.0, of_a_step, of_a_look, self

        class Watch:
            """See `Stopwatch`."""

            def __init__(self) -> None:
                self.start = clock.now

            @property
            def seconds(self) -> float:
                return clock.now - self.start

        monkeypatch.setattr(within_time, "Stopwatch", Watch)

    def step(self) -> None:
        self.now += self.of_a_step

    def look(self, calls: Sequence[Call]) -> None:
        self.now += self.of_a_look * len(calls)


@pytest.mark.parametrize(
    ("of_a_step", "of_a_look", "steps", "held"), [(0.01, 0.01, 400, 8), (1.0, 0.01, 178, 8), (0.1, 5.0, 400, 1)]
)
def test_steps_of_descent_fit_their_time(
    of_a_step: float, of_a_look: float, steps: int, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All where time is not short; else fewer steps where these are slow, and fewer held-out inputs where looks are."""
    calls: list[Call] = [((torch.zeros(200, 2),), {}) for _ in range(8)]
    clock = Clock(of_a_step, of_a_look, monkeypatch)
    plan = descent_within(180.0, 400, calls, True, clock.look, clock.step)
    assert abs(plan.steps - steps) <= 1 and len(plan.held) == held


@pytest.mark.parametrize("limit", [1e9, 60.0, 5.0])
def test_training_ends_in_time(limit: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """With enough of it nothing changes, bit for bit. With little there are fewer steps, and the note says why."""
    monkeypatch.setattr(budget, "_QUICK", 0)
    monkeypatch.setattr(budget, "_LEFT_OVER", -1.0)
    monkeypatch.setattr(budget, "_MOST_STEPS", 200)
    clock, plain, plain_extra = Clock(0.5, 0.0, monkeypatch), Steps.take, refine._extra

    def take(steps: Steps, rate: float) -> None:
        clock.step()
        plain(steps, rate)

    def converted(seconds: float) -> Any:
        monkeypatch.setattr(refine, "_extra", lambda *of: replace(plain_extra(*of), seconds=seconds))
        options = {"samples": 1, "force": True, "calibration": calls_for((6, 2), 20), "width": 0.5}
        return convert(subject_of(learnt(), (6, 2), 20), "net", Request("reduce", **options))

    monkeypatch.setattr(Steps, "take", take)
    found, clock.of_a_step = converted(limit), 0.0
    if limit == 5.0:
        why = "not trained: 200 would take more than 5 s, and 9 are too few; --distill N takes N steps"
        assert why in found.report.notes
        return
    (note,) = [note for note in found.report.notes if note.startswith("all layers trained at once, without labels: ")]
    if limit == 60.0:
        assert "of 120); 200 would take more than 60 s" in note
        return
    monkeypatch.setattr(refine, "_in_time", lambda ready, steps, *_: Descent(steps, ready.held, 1e9, Stopwatch()))
    without, weights = converted(limit), found.module.state_dict()
    assert note in without.report.notes and "would take" not in note
    assert all(torch.equal(weight, weights[name]) for name, weight in without.module.state_dict().items())


def test_training_that_is_late_ends_at_a_look() -> None:
    """Its best weights so far are what comes out, and no lower rate is begun."""
    network = subject_of(learnt(), (6, 2), 20)
    found = convert(network, "net", Request("project", samples=1, force=True))
    weights = Weights(found.module, WeightAction(found.passport.hidden, found.passport.exchanged))
    calls: list[Call] = [((x,), {}) for x in poses(60, 7).double().split(20)]
    teacher = learnt()
    distance = Distance(lambda call: [teacher(*call[0])], found.module, calls, [0])
    move = move_of(network, True)
    with weights:
        outcome = train(Training(distance, weights, MovedAnew(distance, calls, move), calls), 48, 1e-2, is_late=bool)
        assert outcome.losses[-1][0] == 48
        training = Training(distance, weights, MovedAnew(distance, calls, move), calls)
        outcome = train(training, 48, 1e-2, is_late=lambda: True)
    assert outcome.losses[-1][0] == 4
