"""A trained network made smaller: accuracy, `auto`, the bound on rho, distillation, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.commands.api import Chirality
from chiralize.commands.convert import Conversion, Request, convert
from chiralize.errors import ChiralizeError, DriftError
from chiralize.graph.running import Call
from chiralize.methods.reduce import ridge
from chiralize.methods.refine import distillation
from chiralize.methods.refine.distillation import distill
from chiralize.methods.refine.imitation import Distance, Weights
from chiralize.methods.refine.lessons import MovedAnew, move_of
from chiralize.methods.refine.training import Distilled, Training
from chiralize.problem.network import Network
from chiralize.problem.result import WeightAction
from chiralize.symmetry import reynolds
from tests.support.reduce_nets import Residual, flip_average, subject_of
from tests.support.small_body import POSE, normal, residual, turned

WIDTH, STEPS = 64, 300


# ---- a task that is symmetric, and a network that has learnt it ------------------------------------------------------
def poses(count: int, seed: int) -> Tensor:
    """Near a space of 6 dimensions, half of them mirrored."""
    own, fixed = (torch.Generator().manual_seed(number) for number in (seed, 5))
    mixing = torch.randn(6, 12, generator=fixed) / 2
    x = (torch.randn(count, 6, generator=own) @ mixing).unflatten(1, (6, 2))
    x = torch.where(torch.rand(count, 1, 1, generator=own) < 0.5, turned(x), x)
    return x + 0.1 * torch.randn(count, 6, 2, generator=own)


def answers(x: Tensor) -> Tensor:
    """A smooth function that commutes with the mirror."""
    fixed = torch.Generator().manual_seed(7)
    first, second = (torch.randn(*shape, generator=fixed).to(x.dtype) for shape in ((12, 24), (24, 12)))

    def lopsided(own: Tensor) -> Tensor:
        return ((own.flatten(1) @ first * 0.43).tanh() @ second * 0.41).unflatten(1, (6, 2))

    return (lopsided(x) + turned(lopsided(turned(x)))) / 2


@cache
def learnt() -> nn.Module:
    """Trained on 2000 noisy samples, in float64 from then on."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Residual(WIDTH)
    x, draw = poses(2000, 1), torch.Generator().manual_seed(3)
    y = answers(x) + 0.3 * torch.randn(x.shape, generator=draw)
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(x), (64,), generator=draw)
        optimizer.zero_grad()
        (net(x[rows]) - y[rows]).square().mean().backward()
        optimizer.step()
        plan.step()
    optimizer.zero_grad()
    return net.double().eval()


@cache
def seen() -> tuple[Call, ...]:
    return tuple(((part,), {}) for part in poses(1280, 21).double().split(64))


@cache
def ready() -> Network:
    return subject_of(learnt(), (6, 2), 64)


def result(method: str, **options: Any) -> Conversion:
    return convert(ready(), "net", Request(method, **{"samples": 1, "calibration": seen(), "rounds": 0, **options}))


kept = cache(result)


def error(net: nn.Module) -> float:
    """RMS on samples that nothing has seen, without noise."""
    x = poses(2000, 11).double()
    with torch.no_grad():
        return float((net(x) - answers(x)).square().mean().sqrt())


def rho(found: Conversion) -> float:
    assert found.report.drift is not None
    return found.report.drift.rho


def state(found: Conversion | nn.Module) -> Mapping[str, Tensor]:
    return (found.module if isinstance(found, Conversion) else found).state_dict()


# ---- accuracy -------------------------------------------------------------------------------------------------------
def test_half_keeps_the_accuracy() -> None:
    """Near the flip average, where matching alone is not; refitted, it is nearly as near."""
    half, refitted, matched = kept("reduce", width=0.5), kept("match"), kept("match", calibration=())
    assert rho(half) < rho(refitted) < 1.25
    assert error(half.module) < 1.05 * error(learnt()) and error(refitted.module) < 1.1 * error(learnt())
    assert error(matched.module) > 1.25 * error(learnt())
    assert half.report.form == "folded" and half.report.cost.parameters_after == half.report.cost.parameters_before
    assert residual(half.module, (4, 6, 2)) <= 1e-11 < 0.01 < residual(learnt(), (4, 6, 2))


@pytest.mark.thorough
def test_more_width_is_nearer_to_the_flip_average() -> None:
    found = [kept("reduce", width=width) for width in (0.35, 0.5, 0.707)]
    assert rho(found[0]) > rho(found[1]) > rho(found[2]) > 0
    assert error(found[2].module) < error(found[1].module)
    assert kept("reduce", width=0.707).report.form == "dense"


def test_fits_are_in_the_report() -> None:
    """Every weight with what is left over, and what was kept of every hidden space."""
    report = kept("reduce", width=0.5).report
    assert [own.name for own in report.changes.fitted] == ["first.weight", "up.weight", "down.weight", "last.weight"]
    assert all(0 <= own.error < 0.2 for own in report.changes.fitted) and report.changes.fitted[0].error <= 1e-12
    assert all(f"{WIDTH // 2} of {WIDTH} units kept" in choice.reason for choice in report.changes.choices)


def test_without_the_odd_part_the_drift_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault in the fits: the result is symmetric and useless, so it is refused."""
    plain = ridge._with_strength

    def forgetful(part: Any, start: Tensor, *rest: Any) -> Tensor:
        solution = plain(part, start, *rest)
        return solution if part.bias else torch.zeros_like(solution)

    monkeypatch.setattr(ridge, "_with_strength", forgetful)
    with pytest.raises(DriftError):
        result("reduce", width=0.5)


# ---- distillation ---------------------------------------------------------------------------------------------------
@cache
def distilled() -> Conversion:
    return result("reduce", width=0.5, distill=60)


@pytest.mark.thorough
def test_distilling_brings_it_nearer() -> None:
    """Less loss on held-out inputs, as the note says, and weights that the projection leaves alone bit for bit."""
    found, before = distilled(), kept("reduce", width=0.5)
    assert rho(found) < rho(before)
    (note,) = [note for note in found.report.notes if note.startswith("distilled on held-out loss ")]
    losses = [float(word) for word in note.split() if "." in word and word[0].isdigit()]
    assert losses[1] < losses[0]
    for name, own in found.module.named_parameters():
        rep = found.passport.hidden[name]
        assert torch.equal(reynolds.project(own.detach(), rep), own), name
        assert not torch.equal(own, before.module.get_parameter(name))
    assert residual(found.module, (4, 6, 2)) <= 1e-11
    assert error(found.module) < 1.02 * error(before.module)


@pytest.mark.thorough
def test_the_best_weights_are_kept() -> None:
    """The loss as the documentation has it, on batches held out; the weights are those of the least one."""
    net = kept("reduce", width=0.5)
    student = result("reduce", width=0.5).module
    held = list(poses(160, 31).double().split(32))  # what the least squares have seen looks better than anything else
    with torch.no_grad():
        variance = torch.cat([learnt()(x).flatten() for x in held]).var()

    def loss() -> float:
        with torch.no_grad():
            parts = [(student(x) - learnt()(x)).square().mean() / variance for x in held]
        return float(torch.stack(parts).mean())

    losses = [loss()]
    teacher = learnt()
    calls = [((x,), {}) for x in held]
    distance = Distance(lambda call: [teacher(*call[0])], student, calls, [0])
    lessons = MovedAnew(distance, seen(), move_of(subject_of(learnt(), (6, 2), 64), True))
    found = distill(Training(distance, Weights(student, WeightAction(net.passport.hidden)), lessons, calls), 60)
    losses.append(loss())
    assert found.losses[0] == (0, pytest.approx(losses[0], rel=1e-9)) and found.losses[-1][0] == 60
    best, step = min((value, step) for step, value in found.losses)
    assert found.best == step > 0 and best == pytest.approx(losses[1], rel=1e-9) and losses[1] < losses[0]


@pytest.mark.thorough
def test_a_rate_that_breaks_the_network_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN is no loss that is less than others."""
    found: list[float] = []
    run = distillation.Training.run

    def broken(self: Any, steps: int, rate: float, *rest: Any, **more: Any) -> Any:
        done = run(self, steps, rate, *rest, **more)
        found.append(rate)
        return Distilled(((0, 1.0), (steps, float("nan"))), 0) if rate == distillation.RATES[0] and more else done

    monkeypatch.setattr(distillation.Training, "run", broken)
    result("project", distill=8)
    assert found[:2] == list(distillation.RATES[:2]) and found[-1] != distillation.RATES[0]


@pytest.mark.parametrize(("losses", "taken"), [((0.5, 0.3, 0.4), 1), ((0.5, 0.6), 0), ((3.0, 3.1, 0.9, 0.5), 3)])
def test_smaller_rates_are_not_tried_where_one_did_worse(
    losses: tuple[float, ...], taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trials end with the first that does worse than one that brought the loss below that of the start; rates that
    break the network say nothing of smaller ones.
    """
    tried: list[float] = []
    found = dict(zip(distillation.RATES, losses, strict=False))
    monkeypatch.setattr(Distance, "on", lambda self, calls, targets: 1.0)

    def known(self: Any, steps: int, rate: float, *rest: Any, **more: Any) -> Distilled:
        tried.append(rate)
        return Distilled(((0, 1.0), (steps, found[rate])), 0)

    monkeypatch.setattr(distillation.Training, "run", known)
    result("project", distill=8)
    assert tried == [*distillation.RATES[: len(losses)], distillation.RATES[taken]]


@pytest.mark.thorough
def test_distilling_leaves_the_rest_alone() -> None:
    """Statistics of the norms, and the network that was handed over."""
    found, before = result("reduce", width=0.5, distill=6), kept("reduce", width=0.5)
    for name, own in before.module.named_buffers():
        assert torch.equal(found.module.get_buffer(name), own), name
    assert all(own.grad is None for own in (*learnt().parameters(), *found.module.parameters()))


@pytest.mark.thorough
def test_the_average_is_not_distilled_and_says_so() -> None:
    """By name, and where `auto` comes to it."""
    for options in ({"method": "average"}, {"method": "auto", "max_drift": 1e-3, "width": 0.35}):
        found = result(distill=5, **options)
        assert found.report.method == "average"
        assert "not trained: an averaged network keeps the original's weights" in found.report.notes


@pytest.mark.thorough
# ---- auto and the bound ---------------------------------------------------------------------------------------------
def test_auto_takes_the_narrowest_within_the_bound() -> None:
    """1.25 by default; a bound between the two widths takes the wider and says why."""
    half, wide = (kept("reduce", width=width) for width in (0.5, 0.707))
    found = result("auto")
    assert found.report.method == "reduce" and found.report.nearness.max_drift == 1.25
    assert all(torch.equal(own, state(half)[name]) for name, own in state(found).items())
    between = (rho(half) + rho(wide)) / 2
    found = result("auto", max_drift=between)
    assert (found.report.method, found.report.form) == ("reduce", "dense") and rho(found) == rho(wide)
    assert found.report.notes[-1] == (
        f"reduce at width 0.5 was not taken: rho = {rho(half):.3g} exceeds --max-drift {between:g} "
        "(held-out calibration inputs)"
    )


@pytest.mark.thorough
def test_auto_averages_and_says_why() -> None:
    """Where every width drifts too far, and where there is nothing to reduce."""
    found = result("auto", max_drift=0.9 * rho(kept("reduce", width=0.707)))  # of which ½ has not four times as much
    assert (found.report.method, rho(found)) == ("average", 0.0)
    told = [note.split(":")[0] for note in found.report.notes]
    assert told == ["reduce at width 0.5 was not taken", "reduce at width 0.707 was not taken"]
    flat = nn.Sequential(nn.Flatten(), nn.Linear(12, 12, dtype=torch.float64), nn.Unflatten(1, (6, 2)))
    found = convert(subject_of(flat, (6, 2), 64), "flat", Request("auto", calibration=seen(), samples=1))
    assert found.report.method == "average" and "it has no hidden space" in " ".join(found.report.notes)
    x = normal(4, 6, 2)
    with torch.no_grad():
        torch.testing.assert_close(found.module(x), flip_average(flat, x), rtol=0, atol=1e-12)


@pytest.mark.thorough
def test_auto_at_one_width() -> None:
    found = result("auto", width=0.35, max_drift=100.0)
    assert found.report.method == "reduce" and rho(found) == rho(kept("reduce", width=0.35))


@pytest.mark.thorough
def test_named_reduce_never_falls_back() -> None:
    """Beyond the bound it is refused, or written with --force; without inputs it is refused."""
    with pytest.raises(DriftError) as caught:
        result("reduce", width=0.5, max_drift=0.1)
    assert caught.value.code == "CH401" and "reduce: rho = " in str(caught.value)
    assert "exceeds --max-drift 0.1 (held-out calibration inputs)" in str(caught.value)
    remedy = "use --method average (rho 0), a larger --width, --distill 300, raise --max-drift, or --force"
    assert remedy in str(caught.value)
    with pytest.raises(DriftError, match=r"rho 0\), --method reduce, --distill 80, raise --max-drift, or --force"):
        result("match", max_drift=0.001, distill=20)
    found = result("reduce", width=0.5, max_drift=0.1, force=True)
    assert all(torch.equal(own, state(kept("reduce", width=0.5))[name]) for name, own in state(found).items())


@pytest.mark.thorough
def test_all_of_the_width_is_the_average() -> None:
    """No inputs are needed for that."""
    found = result("reduce", width=1.0, calibration=())
    assert (found.report.method, found.report.form) == ("average", "two-view")
    x = poses(50, 3).double()
    with torch.no_grad():
        torch.testing.assert_close(found.module(x), flip_average(learnt(), x), rtol=0, atol=1e-12)


@pytest.mark.thorough
def test_from_python() -> None:
    """A tensor of poses as calibration; the module knows how it was made and is still the original's class."""
    data = torch.cat([call[0][0] for call in seen()])
    net = chiralize.chiralize(
        learnt(),
        parse_spec(POSE),
        (data[:32],),
        method="reduce",
        calibration=data,
        width=0.5,
        distill=5,
        rounds=1,
        samples=1,
    )
    assert type(net) is Residual
    assert isinstance(net.chirality, Chirality) and net.chirality.method == "reduce"
    assert chiralize.verify(net, example_inputs=(data[:32],), samples=1).passed
    Residual(WIDTH).double().load_state_dict(net.state_dict(), strict=True)


# ---- what is refused ------------------------------------------------------------------------------------------------
NAN = normal(32, 6, 2)
NAN[3, 1, 0] = float("nan")
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "width of 0": ({"method": "reduce", "width": 0.0}, "UsageError CH207  --width: 0.0 is no share of the hidden"),
    "width below 0": ({"method": "auto", "width": -0.5}, "UsageError CH207  --width: -0.5 is no share of the hidden"),
    "width above 1": ({"method": "reduce", "width": 1.5}, "UsageError CH207  --width: 1.5 is no share of the hidden"),
    "width that is no number": ({"method": "reduce", "width": float("nan")}, "UsageError CH207  --width: nan is no"),
    "dense match": (
        {"method": "match", "form": "dense"},
        "UsageError CH207  --form: dense goes with --method reduce, not match\n    Fix: leave --form out",
    ),
    "folded and wider": (
        {"method": "reduce", "form": "folded", "width": 0.707},
        "MethodUnavailableError CH307  --form folded: reduced to this width, "
        "hidden spaces or heads have other sizes than the original's"
        "\n    Fix: use --form dense, another --width, or --method match",
    ),
    "NaN": (
        {"method": "reduce", "calibration": [*seen()[:3], ((NAN,), {})]},
        "NonFiniteError CH205  calibration, input 0: 1 entries are NaN or infinite",
    ),
    "infinity": (
        {"method": "auto", "calibration": [((NAN.nan_to_num(float("inf")),), {})]},
        "NonFiniteError CH205  calibration, input 0: 1 entries are NaN or infinite",
    ),
    "one pose again and again": (
        {"method": "reduce", "calibration": [((NAN[:1].expand(32, 6, 2).clone(),), {})] * 9},
        "DataFileError CH204  calibration: every sample is the same",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    options, says = REFUSED[name]
    with pytest.raises(ChiralizeError) as caught:
        result(**options)
    assert str(caught.value).startswith(says), str(caught.value)
    assert caught.value.exit_status == (3 if "CH3" in says else 2)


def test_poses_that_differ_in_one_place_are_enough() -> None:
    """The check is for one sample repeated, not for poses that are alike."""
    x = NAN[:1].expand(32, 6, 2).clone()
    x[-1, 0, 1] += 0.01
    report = result("average", calibration=[((x,), {})] * 9).report
    assert report.method == "average" and report.evidence.fit is None
    assert (
        "the network could not tell whether T is its mirror: over these inputs its answers vary by less than a "
        "hundredth of their size; give inputs that differ more from each other, or check the arguments that its class "
        "was built with"
    ) in report.evidence.notes


def test_a_state_between_calls_cannot_be_reduced() -> None:
    """Nor can what has nothing to reduce; the reason is told."""

    class Remembering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.last = nn.GRUCell(12, 6), nn.Linear(6, 12)
            self.h = nn.Buffer(torch.zeros(64, 6))

        def forward(self, x: Tensor) -> Tensor:
            self.h.copy_(self.cell(x.flatten(1), self.h))
            return self.last(self.h).unflatten(1, (6, 2))

    network = subject_of(Remembering().double(), (6, 2), 64)
    refusal = "this network cannot be reduced: it carries states from call to call, and the inputs to fit on are no seq"
    with pytest.raises(ChiralizeError, match=refusal) as caught:
        convert(network, "net", Request("reduce", calibration=seen(), samples=1))
    assert (caught.value.code, caught.value.exit_status) == ("CH307", 3)
