"""Narrow calibration inputs: what other inputs are made of, and that a result which fails on them is not taken."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize import DriftWarning
from chiralize.body.tensors import parse_spec
from chiralize.commands.guard import refuse_far
from chiralize.errors import DriftError, UsageError
from chiralize.problem.data.batches import Batches
from chiralize.problem.data.inputs import stacked
from chiralize.problem.preparation import prepare
from chiralize.problem.problem import Problem
from chiralize.problem.request import Request
from chiralize.verification.beyond import APART, MIXED, POSES, REMEMBERED, other_inputs
from chiralize.verification.figures import Figures
from chiralize.verification.verdicts import Beyond, Drift, OutputDrift
from tests.support.problems import posed
from tests.support.reduce_nets import ready
from tests.support.small_body import CLIP, POSE, Net, converted, normal, trained

JOINTS, ROWS = 6, 400


def lifter(first: nn.Module, hidden: int = 64) -> nn.Module:
    """An ordinary network of one hidden layer."""
    layers = nn.Sequential(first, nn.ReLU(), nn.Linear(hidden, 12))
    return Net(lambda net, x: net.layers(x.flatten(1)).view_as(x), layers=layers)


def nearly_equivariant(remembering: bool = False) -> nn.Module:
    """As training leaves a network: an equivariant one, and noise on its weights. remembering: with a batch norm."""
    return copy.deepcopy(_nearly_equivariant(remembering))


@cache
def _nearly_equivariant(remembering: bool) -> nn.Module:
    first = nn.Sequential(nn.Linear(12, 128), nn.BatchNorm1d(128)) if remembering else nn.Linear(12, 128)
    net = trained(lifter(first, 128))
    net.load_state_dict(converted(net).state_dict())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for own in net.parameters():
            own += 0.1 * own.std() * torch.randn(own.shape, generator=generator, dtype=own.dtype)
    if remembering:
        remember(net, normal(4000, JOINTS, 2, seed=4))
    return net


def remember(net: nn.Module, inputs: Tensor) -> None:
    """Have its batch norm keep the statistics of these inputs."""
    for own in net.modules():
        if isinstance(own, nn.BatchNorm1d):
            own.momentum = None
            own.reset_running_stats()
    net.train()
    with torch.no_grad():
        net(inputs)
    net.eval()


def narrow() -> Tensor:
    """Poses that vary in two directions alone."""
    return (normal(ROWS, 2, seed=1) @ normal(2, 2 * JOINTS, seed=2)).unflatten(1, (JOINTS, 2))


def of_kinds(net: nn.Module, spec: str, inputs: Tensor) -> dict[str, Tensor]:
    """What `other_inputs` makes of inputs, as one tensor of each kind."""
    network = prepare(net, parse_spec(spec), (inputs[:3],))
    calls: Sequence[Any] = [((part,), {}) for part in inputs.split(20)]
    return {what: stacked(made)[0][0] for what, made in other_inputs(network, Batches(given=calls))}


def test_joints_of_different_samples_are_put_together() -> None:
    """All coordinates and frames of a joint stay together, and all samples of a joint are there, each once."""
    inputs = torch.arange(ROWS * 3 * JOINTS * 2, dtype=torch.float64).reshape(ROWS, 3, JOINTS, 2)
    net = Net(lambda net, x: net.layer(x), layer=nn.Linear(2, 2)).double().eval()
    found = of_kinds(net, CLIP, inputs)
    assert list(found) == [MIXED, APART]
    sources = found[MIXED][:, 0, :, 0].sub(inputs[0, 0, :, 0]).div(3 * JOINTS * 2).long()  # sample joint
    for joint in range(JOINTS):
        assert sorted(sources[:, joint].tolist()) == list(range(ROWS))
        assert torch.equal(found[MIXED][:, :, joint], inputs[sources[:, joint], :, joint])
    assert (sources[:, 0] != sources[:, 1]).float().mean() > 0.9
    away = (found[APART] - inputs) / 0.5
    others = (inputs - away)[:, 0, 0, 0] / (3 * JOINTS * 2)
    assert sorted(others.round().long().tolist()) == list(range(ROWS))


def test_what_the_first_batch_norm_remembers() -> None:
    """The moments of what the network was trained on, whatever was given since."""
    net = lifter(nn.Sequential(nn.Linear(12, 256), nn.BatchNorm1d(256), nn.Linear(256, 64))).double()
    spread = torch.linspace(0.5, 2, 12, dtype=torch.float64)
    seen = (normal(20_000, 12, seed=4) * spread + 1).unflatten(1, (JOINTS, 2))
    remember(net, seen)
    found = of_kinds(net.eval(), POSE, narrow())
    assert list(found) == [REMEMBERED, MIXED, APART]
    drawn = found[REMEMBERED].flatten(1)
    assert torch.allclose(drawn.mean(0), torch.ones(12, dtype=torch.float64), atol=0.2)
    assert torch.allclose(drawn.std(0), spread, rtol=0.15)


@pytest.fixture
def given_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No scattered inputs beside those given, with which narrow ones do no harm here."""
    monkeypatch.setattr("chiralize.commands.convert.with_scattered", lambda problem: problem)


def test_scattered_inputs_make_up_for_narrow_ones() -> None:
    """The same inputs and network as below, where nothing is put beside them."""
    made = converted(nearly_equivariant(), calibration=narrow().split(20), method="auto", rounds=0).chirality.report
    assert made.method == "reduce" and made.drift.rho < 1 and not made.drift.is_narrow
    assert "fitted on 200 scattered inputs, too: every joint or quantity moved by itself, and all scaled" in made.notes


@pytest.mark.usefixtures("given_alone")
def test_auto_does_not_reduce_on_narrow_inputs() -> None:
    """Held out, the narrow fit is near; on other inputs it is far, so that `auto` goes on, and `reduce` warns."""
    with pytest.warns(DriftWarning, match=f"narrow: on {MIXED} rho is"):
        asked = converted(
            nearly_equivariant(), method="reduce", width=0.5, calibration=narrow().split(20), force=True, rounds=0
        )
    drift = asked.chirality.report.drift
    assert drift.rho < 1 and drift.is_narrow and drift.beyond.what == MIXED and drift.beyond.rho > 1.25
    assert "the calibration inputs are narrow" in asked.chirality.report.verdict
    assert f"beyond the inputs that were given, on {MIXED}: rho " in asked.chirality.report.to_text()
    made = converted(nearly_equivariant(), calibration=narrow().split(20), method="auto", rounds=0).chirality.report
    assert made.method == "average" and made.drift.beyond is None
    assert any(
        "reduce at width 0.5 was not taken: the calibration inputs are narrow: rho = " in own for own in made.notes
    )


@pytest.mark.parametrize(("method", "refused"), [("auto", True), ("reduce", False)])
def test_the_bound_is_that_of_auto(method: str, refused: bool) -> None:
    drift = Drift((OutputDrift(0, 0.1, 0.02, 0.4),), "here", 40, beyond=Beyond("others", 0.1, 1.3))
    network = ready("residual")
    if not refused:
        refuse_far(posed(network, Request(method)), "net", method, Figures(drift))
        return
    with pytest.raises(DriftError, match=r"the calibration inputs are narrow: rho = 1\.3 on others exceeds 1\.25"):
        refuse_far(posed(network, Request(method)), "net", method, Figures(drift))
    refuse_far(posed(network, Request(method, force=True)), "net", method, Figures(drift))


@pytest.mark.parametrize(
    ("on_given", "beyond", "widest"), [(0.4, 1.01, 1), (0.4, 0.99, 0), (0.95, 1.03, 0), (1.2, 1.3, 1.25)]
)
def test_further_than_on_the_given_inputs_is_too_far(on_given: float, beyond: float, widest: float) -> None:
    """By more than a tenth, and above 1; inputs that are as far as those given have 1.25, as has `--max-drift`."""
    drift = Drift(
        (OutputDrift(0, 0.1, 0.02, on_given),), "here", 40, beyond=Beyond("poses", 0.1, beyond, foretells=True)
    )
    assert drift.is_narrow == bool(widest)
    network = ready("residual")
    refuse_far(posed(network, Request(max_drift=1.25 + beyond)), "net", "reduce", Figures(drift))
    if not widest:
        refuse_far(posed(network, Request()), "net", "reduce", Figures(drift))
        return
    others = replace(drift, beyond=Beyond("others", 0.1, beyond))
    assert others.is_narrow == (beyond > 1.25)  # they tell less
    with pytest.raises(DriftError, match=rf"narrow: rho = {beyond} on poses exceeds {widest}"):
        refuse_far(posed(network, Request()), "net", "reduce", Figures(drift))


def test_which_of_several_kinds_counts() -> None:
    """One that is too far; else what foretells rho in use, though another one is further."""
    poses, near, far = Beyond("poses", 0.1, 0.6, foretells=True), Beyond("a", 0.1, 0.9), Beyond("b", 0.1, 1.3)
    unknown = Beyond("c", 0.1, math.nan)
    assert max((near, poses), key=lambda own: own.order) is poses
    assert max((near, poses, far), key=lambda own: own.order) is far
    assert max((near, poses, unknown), key=lambda own: own.order) is unknown


def test_poses_that_nothing_was_fitted_on_are_looked_at() -> None:
    """The last fifth of those that stand beside the given inputs; none of them is fitted on."""
    network = ready("residual")
    given, poses = ([((torch.full((4, 17, 2), float(at)),), {}) for at in range(count)] for count in (3, 10))
    batches = Batches(given=given, posed=poses)
    found = dict(other_inputs(network, batches))
    assert [float(call[0][0].flatten()[0]) for call in found[POSES]] == [8.0, 9.0]
    assert not any(held is own for held in found[POSES] for own in batches.fitted)
    assert POSES not in dict(other_inputs(network, Batches(given=given)))


@pytest.mark.thorough
@pytest.mark.usefixtures("given_alone")
def test_samples_that_cannot_be_drawn_cost_that_candidate_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` ends well where `average` does, whatever becomes of the samples."""

    def refuse(problem: Problem) -> Problem:
        raise UsageError("--mix-gaussian", "no samples can be drawn: none", "leave it out")

    monkeypatch.setattr("chiralize.verification.beyond.supplied", refuse)
    net = nearly_equivariant(remembering=True)
    made = converted(net, calibration=narrow().split(20), method="auto", rounds=0).chirality.report
    assert made.method == "average"
    told = "on more than the given inputs was not taken: more than the given inputs: no samples can be drawn: none"
    assert sum(told in own for own in made.notes) == 2


@pytest.mark.thorough
@pytest.mark.usefixtures("given_alone")
def test_what_the_network_remembers_is_put_beside_narrow_inputs() -> None:
    """Half of what is fitted on, where a batch norm remembers it; the result is then near on both."""
    net = nearly_equivariant(remembering=True)
    made = converted(net, calibration=narrow().split(20), method="auto", rounds=0).chirality.report
    assert made.method == "reduce" and not made.drift.is_narrow
    assert any(own.startswith("fitted for 50% on samples of a Gaussian: moments recovered") for own in made.notes)
    assert any("reduce at width 0.5 was not taken: the calibration inputs are narrow" in own for own in made.notes)
