"""All layers fitted at once: the linear algebra beside dense oracles, and what it does to converted networks."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Request, convert
from chiralize.errors import ChiralizeError
from chiralize.graph.running import Call
from chiralize.graph.time_limit import Stopwatch
from chiralize.methods.refine import budget, gauss_newton, within_time
from chiralize.methods.refine.gauss_newton import _basis, _divided, _System, refine
from chiralize.methods.refine.imitation import Distance, Weights
from chiralize.problem.result import WeightAction
from chiralize.symmetry import reynolds
from tests.methods.test_reduce_trained import learnt, poses, result, rho, seen
from tests.support.reduce_nets import KINDS, Residual, calls_for, ready, subject_of
from tests.support.small_body import POSE, normal, residual, trained, turned

REFLECTED = POSE.replace('layout: "b j d"', 'layout: "b j d", dims: [x, y], reflect: {x: 500}')


class Scene:
    """A converted network that is near to an aim, and everything that `refine` needs."""

    def __init__(self, net: nn.Module, aim: nn.Module, count: int = 320) -> None:
        found = convert(subject_of(net, (6, 2), 32), "net", Request("project", samples=1, force=True))
        self.module, self.hidden = found.module, found.passport.hidden
        self.seen, self.held = calls(poses(count, 21)), calls(poses(64, 22))
        self.distance = Distance(lambda call: [aim(*call[0])], self.module, self.held, [0])
        self.weights = Weights(self.module, WeightAction(self.hidden, found.passport.exchanged))

    def refine(self, rounds: int) -> list[float]:
        return refine(self.distance, self.weights, self.seen, self.held, rounds, True)


class Flat(nn.Module):
    """Linear in its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x.flatten(1)).unflatten(1, (6, 2))


def calls(x: Tensor) -> list[Call]:
    return [((part,), {}) for part in x.double().split(32)]


def random(seed: int, net: nn.Module) -> nn.Module:
    """Weights of about 1, none of them 0."""
    for number, own in enumerate(net.double().eval().parameters()):
        own.data = normal(*own.shape, seed=seed + number) + 0.1
    return net


# ---- the linear algebra ---------------------------------------------------------------------------------------------
@given(st.integers(1, 4), st.integers(1, 5), st.floats(1e-6, 10), st.integers(0, 99))
def test_factors_are_divided_by(rows: int, columns: int, damping: float, seed: int) -> None:
    """(L x R / tr L + damping)^-1 as one dense matrix; with the diagonals alone as well."""
    some = normal(7, rows, columns, seed=seed)
    left, right = (torch.einsum(how, some, some) for how in ("sij,skj->ik", "sij,sik->jk"))
    own = normal(rows, columns, seed=seed + 1)
    for one, other in ((left, right), (left.diagonal(), right), (left, right.diagonal())):
        dense = [part if part.ndim == 2 else part.diag() for part in (one, other)]
        system = torch.kron(*dense) / left.trace() + damping * torch.eye(rows * columns, dtype=torch.float64)
        wanted = torch.linalg.solve(system, own.flatten()).reshape(own.shape)
        found = _divided(own, [_basis(one), _basis(other)], damping)
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9 * float(wanted.abs().max()))


def test_products_with_the_system() -> None:
    """J' J along + damping along, with J made whole by autograd: exact but for a difference of 1e-3."""
    scene = Scene(random(0, Residual(5)), random(50, Flat()), 64)
    system, weights, few = _System(scene.distance, scene.weights), scene.weights, scene.seen
    along = weights.projected({name: normal(*own.shape, seed=3) for name, own in weights.parameters.items()})
    image = {name: torch.zeros_like(own) for name, own in along.items()}
    for call in few:

        def answer(values: dict[str, Tensor], call: Call = call) -> Tensor:
            given = torch.func.functional_call(scene.module, values, call[0])
            return given.flatten() / (scene.distance.variances[0] * given.numel()) ** 0.5

        slopes = torch.func.jacrev(answer)(weights.copies())
        slopes = {name: own * system.sizes[name] for name, own in slopes.items()}
        ahead = sum(torch.tensordot(own, along[name], along[name].ndim) for name, own in slopes.items())
        image = {name: own + torch.tensordot(ahead, slopes[name], 1) / len(few) for name, own in image.items()}
    wanted = {name: own + 0.5 * along[name] for name, own in weights.projected(image).items()}
    with torch.no_grad():
        here = [scene.distance.answers(call) for call in few]
    found = system._product(few, here, along, 0.5)
    largest = max(float(own.abs().max()) for own in wanted.values())
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=2e-3 * largest)


@pytest.mark.parametrize("bias", [1.0, 0.0])
def test_a_linear_network_ends_at_the_least_squares(bias: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """One round without damping, beside lstsq over a basis of the weights that the mirror leaves alone.

    bias: what it is multiplied by at first; one that is 0 moves as well.
    """
    monkeypatch.setattr(gauss_newton, "perturbed", lambda call, *_: call)
    monkeypatch.setattr(gauss_newton, "_DAMPING", 1e-12)
    monkeypatch.setattr(gauss_newton, "_PRODUCTS", 160)
    aim = random(50, Flat())
    net = random(0, Flat())
    with torch.no_grad():
        net.last.bias.mul_(bias)
    scene = Scene(net, aim)
    scene.refine(1)
    x = torch.cat([call[0][0] for call in scene.seen])
    both = torch.cat([x, turned(x)])  # the least squares of an equivariant map see both views
    with torch.no_grad():
        answers = torch.cat([aim(x), turned(aim(x))])
        features = torch.cat([both.flatten(1), torch.ones(len(both), 1, dtype=x.dtype)], 1)
        best = torch.linalg.lstsq(features, answers.flatten(1)).solution
        torch.testing.assert_close(scene.module(x).flatten(1), (features @ best)[: len(x)], rtol=0, atol=1e-6)


# ---- what it does to the weights ------------------------------------------------------------------------------------
@pytest.mark.thorough
def test_it_stays_symmetric_and_comes_nearer() -> None:
    scene = Scene(learnt(), learnt())
    losses = scene.refine(3)
    assert len(losses) == 4 and losses == sorted(losses, reverse=True) and losses[-1] < 0.1 * losses[0]
    assert losses[-1] == scene.distance.on(scene.held)
    for name, own in scene.module.named_parameters():
        assert torch.equal(reynolds.project(own.detach(), scene.hidden[name]), own), name
        assert own.grad is None
    assert residual(scene.module, (4, 6, 2)) <= 1e-11


@pytest.mark.one_in(2)
@pytest.mark.parametrize("wrong", [-1.0, float("nan")])
def test_a_step_away_is_not_taken(wrong: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: the weights stay, bit for bit, and it gives up."""
    plain = _System.step

    def other(system: _System, *arguments: Any) -> dict[str, Tensor]:
        return {name: wrong * own for name, own in plain(system, *arguments).items()}

    monkeypatch.setattr(_System, "step", other)
    scene = Scene(learnt(), learnt())
    before = scene.weights.copies()
    losses = scene.refine(9)
    assert len(losses) == 1 + gauss_newton._PATIENCE and len(set(losses)) == 1
    assert all(torch.equal(own, before[name]) for name, own in scene.weights.copies().items())


def test_it_ends_where_there_is_nothing_left() -> None:
    """The aim itself."""
    with torch.no_grad():
        scene = Scene(Flat().double().eval(), Flat().double())
    scene.distance.aim = lambda call: [scene.module(*call[0])]
    assert len(scene.refine(9)) == 1 + gauss_newton._PATIENCE


# ---- within a limit of time -----------------------------------------------------------------------------------------
class Clock:
    """Seconds that pass in a network's runs alone; `Clock.of` makes them those that `refine` goes by."""

    def __init__(self) -> None:
        self.now = 0.0

    @staticmethod
    def of(scene: Scene, seconds: float, monkeypatch: pytest.MonkeyPatch) -> Clock:
        """Every run of a batch takes so long."""
        clock, plain = Clock(), scene.distance.answers

        def answers(call: Call) -> Tensor:
            clock.now += seconds
            return plain(call)

        class Watch:
            """A stopwatch of that clock."""

            def __init__(self) -> None:
                self.start = clock.now

            @property
            def seconds(self) -> float:
                return clock.now - self.start

        monkeypatch.setattr(scene.distance, "answers", answers)
        monkeypatch.setattr(within_time, "Stopwatch", Watch)
        return clock


def within(scene: Scene, seconds: float, rounds: int = 12) -> list[float]:
    """The losses of rounds that have so many seconds, on ten batches; each takes 18 runs of one in a round."""
    return refine(scene.distance, scene.weights, scene.seen, scene.held, rounds, True, seconds=seconds)


def in_single_samples(scene: Scene) -> None:
    """The same inputs, one a call."""
    scene.seen, scene.held = (
        [((x,), {}) for (given,), _ in part for x in given.split(1)] for part in (scene.seen, scene.held)
    )


def test_a_limit_that_is_not_reached_changes_nothing() -> None:
    losses = [Scene(learnt(), learnt()).refine(2), within(Scene(learnt(), learnt()), 1e6, 2)]
    assert losses[0] == losses[1]


def test_rounds_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten batches of 32 samples are as few as rounds have: where twelve rounds take too long, there are fewer."""
    scene = Scene(learnt(), learnt())
    clock = Clock.of(scene, 0.05, monkeypatch)
    losses = within(scene, 60.0)
    assert 4 <= len(losses) - 1 < 12 and 40 < clock.now <= 60 and losses[-1] < losses[0]


def test_rounds_have_fewer_inputs_where_time_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sample a call, as of networks that take no batch: 320 of them would take 7 s a round, which has 5."""
    scene = Scene(learnt(), learnt())
    in_single_samples(scene)
    clock, sizes, plain = Clock.of(scene, 0.0012, monkeypatch), list[int](), _System.look

    def look(system: _System, batches: list[Call], generator: torch.Generator) -> None:
        sizes.append(len(batches))
        plain(system, batches, generator)

    monkeypatch.setattr(_System, "look", look)
    losses = within(scene, 5.0, 1)
    assert sizes == [1, 216] and len(losses) == 2 and clock.now < 5.1


def test_a_round_that_takes_too_long_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one on the fewest inputs: the weights stay, bit for bit."""
    scene = Scene(learnt(), learnt())
    before = scene.weights.copies()
    clock = Clock.of(scene, 0.5, monkeypatch)
    assert len(within(scene, 60.0)) == 1 and clock.now < 20
    assert all(torch.equal(weight, before[name]) for name, weight in scene.weights.copies().items())


def test_a_stopwatch_counts_no_time_of_others() -> None:
    """Asleep, the process computes nothing."""
    watch = Stopwatch()
    time.sleep(0.3)
    assert 0 <= watch.seconds < 0.2


# ---- in a conversion ------------------------------------------------------------------------------------------------
def words(found: Any) -> list[str]:
    return [note for note in found.report.notes if note.startswith("all layers fitted at once: held-out loss ")]


@pytest.mark.one_in(4)
@pytest.mark.parametrize(("options", "before"), [({"width": 0.707}, 0.36), ({"method": "match"}, 0.78)])
def test_small_networks_get_it_unasked(options: dict[str, Any], before: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearer to the original than layer by layer (before: that distance), in the original's class and as a graph."""
    monkeypatch.setattr(budget, "_ROUNDS", 2)
    options = {"method": "reduce", **options}
    found = result(**options, rounds=None)
    (note,) = words(found)
    losses = [float(word) for word in note.split() if "." in word and word[0].isdigit()]
    assert rho(found) < 0.9 * before and losses[1] < 0.8 * losses[0]
    assert residual(found.module, (4, 6, 2)) <= 1e-11 and found.report.passed


@pytest.mark.thorough
def test_as_often_as_asked() -> None:
    """Also of weights that no least squares have fitted."""
    (note,) = words(result("project", rounds=2))
    assert note.endswith("(rounds: 2)")
    assert not words(result("project", rounds=None, force=True))


def test_the_first_round_is_a_step_of_its_own() -> None:
    """It may take minutes, and nothing else is done meanwhile."""
    steps: list[str] = []

    def note(step: str, done: float | None = None) -> None:
        steps.append(step.partition(",")[0])

    net = trained(nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.Unflatten(1, (6, 2))))
    given_inputs = calls(poses(320, 21).double())
    request = Request("project", samples=1, force=True, rounds=1, calibration=given_inputs, progress=note)
    convert(subject_of(net, (6, 2), 32), "net", request)
    assert steps.count("fitting all layers at once") >= 2
    assert steps[steps.index("fitting all layers at once") - 1] == "measuring the drift"


@pytest.mark.thorough
def test_frozen_networks() -> None:
    """Trained on all the same, and frozen again."""
    net = copy.deepcopy(learnt()).requires_grad_(False)
    x = torch.cat([call[0][0] for call in seen()])
    found = chiralize.chiralize(
        net, parse_spec(POSE), (x[:32],), method="match", calibration=x, rounds=1, distill=3, samples=1
    )
    assert len([note for note in found.chirality.report.notes if "held-out loss" in note]) == 2
    assert not any(own.requires_grad for own in found.parameters())


class Inference(Residual):
    """Its forward switches gradients off, as methods of policies do."""

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


@pytest.mark.thorough
def test_networks_without_gradients() -> None:
    """Fitted layer by layer; what was asked for is refused."""
    net = Inference(8).double().eval()
    net.load_state_dict(trained(Residual(8)).state_dict())
    options = {"samples": 1, "force": True, "calibration": calls_for((6, 2), 5, 64)}
    network = subject_of(net, (6, 2), 64)
    assert not words(convert(network, "net", Request("reduce", **options)))
    for option, asked in (("--rounds", {"rounds": 1}), ("--distill", {"distill": 3})):
        with pytest.raises(ChiralizeError) as caught:
            convert(network, "net", Request("reduce", **options, **asked))
        assert str(caught.value) == (
            f"MethodUnavailableError CH307  {option}: its answers have no gradients: forward switches them off, "
            f"or nothing that it reads can be trained\n    Fix: leave {option} out, or torch.no_grad out of forward"
        )


class Lengths(nn.Module):
    """A length of 0, where it has no derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(12, 16), nn.Linear(16, 12)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x.flatten(1)).relu()
        length = (0 * y).square().sum(1, keepdim=True).sqrt()
        return self.last(y * (1 + length)).unflatten(1, (6, 2))


def test_derivatives_that_are_not_finite() -> None:
    scene = Scene(trained(Lengths()), trained(Lengths(), 1), 64)
    losses = scene.refine(2)
    assert losses[-1] < losses[0] < float("inf")
    assert all(own.isfinite().all() for own in scene.weights.parameters.values())


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["gru, two layers", "transformer"])
def test_other_kinds(kind: str) -> None:
    """Whatever can be differentiated: cells over frames, attention."""
    shape = KINDS[kind].shape
    options = {"samples": 1, "force": True, "calibration": calls_for(shape, 20)}
    losses = [rho(convert(ready(kind), "net", Request("reduce", **options, rounds=rounds))) for rounds in (0, 1)]
    assert losses[1] < losses[0]
