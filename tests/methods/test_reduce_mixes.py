"""Hidden spaces of pairs and of units of their own, and units matched with each other: symmetric, and better where it
says so."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Conversion, Request, convert
from chiralize.methods import within_minutes
from chiralize.methods.reduce import choosing
from chiralize.methods.reduce.elimination import Features
from chiralize.methods.reduce.moments import sensitivities
from chiralize.methods.reduce.reduce import reduced, rematched
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.problem.result import Converted
from tests.support.cases import mainly
from tests.support.problems import posed
from tests.support.reduce_nets import KINDS, Forecaster, calls_for, original, ready, subject_of
from tests.support.small_body import BODY, CLIP, POSE, normal, residual, stored, trained, turned, verified_file
from tests.support.zoo import CASES

CLOSE = 1e-11
ONE_SIZE = ("gru, two layers", "lstm, both ways")
MIXED = [
    *((kind, "auto") for kind in ("residual", "tanh", "odd width", "rnn", "graph")),
    *((kind, "folded") for kind in ("odd width", "temporal", "rnn", "forecaster", "graph")),
]


@cache
def of_the_zoo(name: str) -> Network:
    case = CASES[name]
    return prepare(case.model(), parse_spec(case.spec), *case.steps(1)[0])


@given(st.integers(1, 4096), st.floats(0.05, 1.0))
def test_sizes_in_whole_rows(size: int, width: float) -> None:
    """Near what a width says, never more units than both views have, and the original's number where that is meant."""
    plain, new = max(round(2 * width * size), 2), choosing.new_size(size, width)
    assert 0.97 * plain <= new <= 1.005 * plain and new <= max(2 * size, 2)
    assert new == plain or new % 16 == 0
    if plain in (size, 2 * size):
        assert new == plain


@pytest.mark.parametrize(("size", "new"), [(256, 352), (384, 544), (512, 720), (1024, 1440), (64, 90), (17, 24)])
def test_sizes_at_the_wider_width(size: int, new: int) -> None:
    """Pairs in eights where the width has some near: 176 for 181, 272 for 271; 45 of 64 stay 45."""
    assert choosing.new_size(size, 0.707) == new


def designs(kind: str, width: float, form: str = "auto") -> list[Converted]:
    options = Request("reduce", calibration=calls_for(KINDS[kind].shape, 20), form=form)
    return [draft.converted for draft in reduced(posed(ready(kind), options), width)]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mixes wherever they are possible, whatever they promise and whatever they lose."""
    monkeypatch.setattr(choosing, "_PROMISE", float("inf"))
    monkeypatch.setattr(Features, "bent", lambda self: torch.zeros(len(self.metric)))


def features(found: Converted) -> list[tuple[int, int, int]]:
    """Even features, odd features and units of the original, of every space."""
    return [(own.action.even, own.action.odd, own.space.size) for own in found.choices]


# ---- mixes, whatever they promise -----------------------------------------------------------------------------------
@pytest.mark.one_in(6)
@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(("kind", "form"), MIXED)
def test_mixes_commute_with_the_mirror(kind: str, form: str) -> None:
    """Every kind of network, its spaces mixed even where pairs are as good."""
    pairs, mixed = designs(kind, 0.5, form)
    assert residual(mixed.module, (4, *KINDS[kind].shape)) <= CLOSE
    assert any(even > odd for even, odd, _ in features(mixed)) and features(mixed) != features(pairs)
    for even, odd, size in features(mixed):
        if form == "folded":
            assert even + odd == size
        else:
            assert even**2 + odd**2 <= size**2 / 2
    assert (mixed.form == "folded") == (form == "folded")


@pytest.mark.thorough
@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("kind", ONE_SIZE)
def test_layers_of_one_op_stay_of_one_size(kind: str) -> None:
    """An op with several layers or directions has one hidden size: their units stay in pairs."""
    assert len(designs(kind, 0.5)) == 1


@pytest.mark.thorough
@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("kind", ["temporal", "forecaster"])
def test_mixes_are_written_and_proved(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate proves the file with representations that have fixed points."""
    shape = KINDS[kind].shape
    monkeypatch.setattr("chiralize.methods.ways.reduce.reduced", _last)
    options = {"method": "reduce", "width": 0.5, "rounds": 0, "calibration": calls_for(shape, 20), "force": True}
    path = stored(original(kind), tmp_path, CLIP if len(shape) == 3 else POSE, (8, *shape), **options)
    passport, report = verified_file(path, (8, *shape))
    assert (passport.method, passport.form) == ("reduce", "dense")
    assert (
        report.judgement.numeric.passed
        and report.judgement.certificate is not None
        and report.judgement.certificate.passed
    )


def _last(*given: Any) -> list[Any]:
    return list(reduced(*given))[-1:]


_OTHERS = itertools.product(
    ("graph", "swapped classes", "shared and tied", "attention over joints"), ("reduce", "match")
)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(("name", "method"), mainly(_OTHERS, [("shared and tied", "reduce")]))
def test_other_networks_are_proved(name: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Joints as an axis, classes that swap, tied weights: mixed or matched and refitted, both verdicts agree.

    On 64 samples: of 16, pairs of similar units keep less of the odd part than imposed ones, which are taken then.
    """
    monkeypatch.setattr("chiralize.methods.ways.reduce.reduced", _last)
    calls = [CASES[name].steps(1, seed=seed)[0] for seed in range(32)]
    options = Request(method, calibration=calls, samples=1, rounds=0, force=True)
    report = convert(of_the_zoo(name), name, options).report
    assert report.changes.fitted and report.method == method
    assert report.judgement.numeric is not None and report.judgement.numeric.passed
    assert max(own.residual for own in report.judgement.numeric.outputs) <= 1e-9
    assert report.judgement.certificate is not None and report.judgement.certificate.passed


# ---- a network whose channels are nearly invariant -------------------------------------------------------------------
class Recogniser(nn.Module):
    """Channels of every joint, mixed along the skeleton; the scores are of the whole body."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        bones = torch.eye(6)
        for joint in range(1, 6):
            bones[0, joint] = bones[joint, 0] = 0.5
        self.register_buffer("bones", bones)
        self.first, self.inner = nn.Linear(2, channels), nn.Linear(channels, channels)
        self.last = nn.Linear(channels, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.einsum("vw,bwc->bvc", self.bones, self.first(x)).relu()
        y = torch.einsum("vw,bwc->bvc", self.bones, self.inner(y)).relu()
        return self.last(y.mean(1))


SCORES = BODY + 'inputs: [{layout: "b j d"}]\noutputs: [{invariant: true}]\n'


@cache
def recogniser() -> nn.Module:
    """Trained on scores that the mirror leaves alone, with mirrored copies."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Recogniser()
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for step in range(400):
        x = normal(64, 6, 2, seed=step).float()
        x = torch.where(torch.arange(64)[:, None, None] % 2 == 0, x, turned(x))
        optimizer.zero_grad()
        (net(x) - scores(x)).square().mean().backward()
        optimizer.step()
    return net.double().eval()


@cache
def scored() -> Network:
    return prepare(recogniser(), parse_spec(SCORES), (normal(8, 6, 2),))


def scores(x: Tensor) -> Tensor:
    """Of the whole body, from products of coordinates of neighbouring joints."""
    lateral, other = x[..., 0], x[..., 1]
    return torch.stack([
        lateral.square().mean(1), other.mean(1), (lateral[:, :1] * lateral[:, 1:]).mean(1).abs(), other.abs().mean(1)
    ], 1)  # fmt: skip


@cache
def chosen(method: str, form: str = "auto", calibrated: bool = True) -> Conversion:
    calls = calls_for((6, 2), 60) if calibrated else ()
    return convert(scored(), "scores", Request(method, form=form, calibration=calls, samples=1, rounds=0, force=True))


def rho(found: Conversion) -> float:
    assert found.report.drift is not None
    return found.report.drift.rho


@pytest.mark.thorough
def test_the_better_of_pairs_and_mix_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the drift on inputs that nothing was fitted on."""
    mixed = chosen("reduce")
    assert any(own.action.even > own.action.odd for own in mixed.report.changes.choices)
    assert any("as their own" in own.reason for own in mixed.report.changes.choices)
    monkeypatch.setattr(choosing, "_PROMISE", 0.0)
    pairs = chosen.__wrapped__("reduce")
    assert all(own.action.even == own.action.odd for own in pairs.report.changes.choices)
    assert rho(mixed) < rho(pairs)
    assert mixed.report.cost.parameters_after < pairs.report.cost.parameters_after


def test_no_mix_is_tried_where_a_fit_takes_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(within_minutes, "_MINUTES", 0.0)
    pairs = chosen.__wrapped__("reduce")
    assert all(own.action.even == own.action.odd for own in pairs.report.changes.choices)


@pytest.mark.thorough
def test_folded_mixes_keep_the_class() -> None:
    found = chosen("reduce", "folded")
    shapes = {name: own.shape for name, own in recogniser().state_dict().items()}
    assert {name: own.shape for name, own in found.module.state_dict().items()} == shapes
    assert any(own.action.even > own.action.odd for own in found.report.changes.choices)


@pytest.mark.thorough
def test_a_mix_that_is_worse_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: a mix that loses all that is odd looks cheap, and the measured drift tells."""
    plain = choosing.eliminate_features

    def careless(even: Any, odd: Any, limit: float, power: int) -> Any:
        found = plain(even, odd, limit, power)
        return type(found)([], found.fixed[:2], 0.0)

    monkeypatch.setattr(choosing, "eliminate_features", careless)
    found = chosen.__wrapped__("reduce")
    assert all(own.action.even == own.action.odd for own in found.report.changes.choices)


# ---- matched units, refitted ----------------------------------------------------------------------------------------
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("kind", "fixed"),
    [*((kind, True) for kind in KINDS), *((kind, False) for kind in ("odd width", "rnn", "graph", "transformer"))],
)
def test_matched_units_are_refitted(kind: str, fixed: bool) -> None:
    """Class, keys and shapes stay, every weight is symmetric, and what is left over of each is told."""
    shape = KINDS[kind].shape
    found = rematched(posed(ready(kind), Request("match", calibration=calls_for(shape, 20))))(fixed).converted
    assert found.form == "folded" and found.method == "match"
    shapes = {name: own.shape for name, own in original(kind).state_dict().items()}
    assert {name: own.shape for name, own in found.module.state_dict().items()} == shapes
    assert residual(found.module, (4, *shape)) <= CLOSE
    assert len(found.fitted) > 1 and all(0 <= own.error <= 1 for own in found.fitted)
    assert not {own.name for own in found.fitted} & {own.name for own in found.moved}
    assert fixed or all(len(own.action.pairs) == own.space.size // 2 for own in found.choices)


@pytest.mark.thorough
@pytest.mark.parametrize(("cell", "layers", "width", "method"), [(nn.LSTM, 2, 10, "reduce"), (nn.GRU, 3, 7, "match")])
def test_layers_whose_states_are_one_tensor_move_alike(
    cell: type[nn.LSTM | nn.GRU], layers: int, width: int, method: str
) -> None:
    """The states of all layers are handed on together: both verdicts need one mirror; units are matched apart."""
    net, shape = trained(Forecaster(width, cell, layers), 3), (2, *KINDS["forecaster"].shape[1:])
    options = Request(method, calibration=calls_for(shape, 15), samples=1, rounds=0, form="folded", max_drift=1e9)
    if method == "reduce":
        options = replace(options, form="dense", width=0.5)
    found = convert(subject_of(net, shape), "forecaster", options)
    assert found.report.changes.fitted and residual(found.module, (4, *shape)) <= CLOSE
    axes = {rep.axes[1] for name, rep in found.passport.hidden.items() if "weight_hh" in name}
    assert len(axes) == 1
    if method == "match":
        assert {name: own.shape for name, own in found.module.state_dict().items()} == {
            name: own.shape for name, own in net.state_dict().items()
        }
        assert len({own.action for own in found.report.changes.choices}) > 1


@pytest.mark.thorough
def test_such_layers_are_projected_where_nothing_is_known_of_their_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "chiralize.methods.reduce.reduce.sensitivities", lambda *given: dict.fromkeys(sensitivities(*given), [])
    )
    net, shape = trained(Forecaster(4, nn.LSTM, 2), 3), (2, *KINDS["forecaster"].shape[1:])
    options = Request("match", calibration=calls_for(shape, 5), samples=1, rounds=0, form="folded", max_drift=1e9)
    report = convert(subject_of(net, shape), "forecaster", options).report
    assert not report.changes.fitted
    assert (
        "weights projected, not refitted: a recurrent layer: the states of several layers lie in one tensor, and their "
        "units cannot be matched by what they do"
    ) in report.notes


@pytest.mark.thorough
def test_refitting_is_nearer_than_projecting() -> None:
    plain, fitted = chosen("match", calibrated=False), chosen("match")
    assert not plain.report.changes.fitted and fitted.report.changes.fitted
    x = normal(200, 6, 2, seed=50)
    with torch.no_grad():
        wanted = (recogniser()(x) + recogniser()(turned(x))) / 2
        errors = [float((found.module(x) - wanted).square().mean()) for found in (plain, fitted)]
    assert errors[1] < errors[0] / 4


def test_what_cannot_be_refitted_is_projected_and_says_so() -> None:
    """A state between calls."""

    class Remembering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(12, 8), nn.Linear(8, 12)
            self.register_buffer("kept", torch.zeros(8))

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x.flatten(1)).relu() + self.kept
            self.kept.copy_(y.mean(0))
            return self.last(y).unflatten(1, (6, 2))

    calls = calls_for((6, 2), 10)
    found = convert(
        prepare(trained(Remembering(), 3), parse_spec(POSE), (normal(8, 6, 2),)), "net",
        Request("match", calibration=calls, samples=1, force=True),
    )  # fmt: skip
    assert not found.report.changes.fitted
    assert (
        "weights projected, not refitted: the network: it carries states from call to call, and the inputs to fit on "
        "are no sequences"
    ) in found.report.notes
