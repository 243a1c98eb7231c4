"""Figures along sequences agree with roll-outs and sums that are written out here with torch alone."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize import ChiralizeWarning, audit, chiralize
from chiralize.body.tensors import parse_spec
from chiralize.graph.rollouts import roll
from chiralize.graph.running import Runner
from chiralize.methods.refine.along import original_along
from chiralize.problem.preparation import prepare
from chiralize.report import to_json, to_text
from tests.support.cases import mainly
from tests.support.small_body import BODY, normal, trained, turned

LENGTHS, WIDTH = {"project": 200, "match": 100}, 6
Run = Callable[[nn.Module, list[Tensor]], list[Tensor]]


class InBuffers(nn.Module):
    """A GRU cell by hand, its state in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(12, WIDTH), nn.Linear(WIDTH, 12)
        self.register_buffer("hidden", 0.3 * torch.ones(1, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        self.hidden[:] = self.cell(x.flatten(1), self.hidden)
        return self.head(self.hidden).view(-1, 6, 2)


class Handed(nn.Module):
    """The state is an argument and a result."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(12, WIDTH), nn.Linear(WIDTH, 12)

    def forward(self, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.cell(x.flatten(1), hidden)
        return self.head(hidden).view(-1, 6, 2), hidden


class Forecast(nn.Module):
    """Reads its own answers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 12))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.layers(x.flatten(1))).view(-1, 6, 2)


def run_buffers(net: Any, steps: list[Tensor]) -> list[Tensor]:
    hidden, answers = torch.full((1, WIDTH), 0.3).double(), []
    hidden = dict(net.named_buffers())["hidden"].clone() if dict(net.named_buffers()) else hidden
    for x in steps:
        hidden = net.cell(x.flatten(1), hidden)
        answers.append(net.head(hidden).view(1, 6, 2))
    return answers


def run_handed(net: Any, steps: list[Tensor]) -> list[Tensor]:
    hidden, answers = torch.zeros(1, WIDTH).double(), []
    for x in steps:
        answer, hidden = net(x, hidden)
        answers.append(answer)
    return answers


def run_feedback(net: Any, steps: list[Tensor]) -> list[Tensor]:
    """The first half is observed."""
    answers: list[Tensor] = []
    for number, x in enumerate(steps):
        answers.append(net(x if number < (len(steps) + 1) // 2 else answers[-1]))
    return answers


POSES = '{layout: "b j d"}'
CASES: dict[str, tuple[type[nn.Module], str, tuple[Tensor, ...], Run]] = {
    "in buffers": (InBuffers, f"inputs: [{POSES}]\noutputs: [{POSES}]\n", (normal(1, 6, 2),), run_buffers),
    "state": (
        Handed, f"inputs: [{POSES}, {{state: true}}]\noutputs: [{POSES}, {{state: true}}]\n",
        (normal(1, 6, 2), normal(1, WIDTH)), run_handed,
    ),
    "like": (
        Handed, f"inputs: [{POSES}, {{state: true}}]\noutputs: [{POSES}, {{like: input 1}}]\n",
        (normal(1, 6, 2), normal(1, WIDTH)), run_handed,
    ),
    "feedback": (
        Forecast, f'inputs: [{POSES}]\noutputs: [{{layout: "b j d", feeds: input 0}}]\n',
        (normal(1, 6, 2),), run_feedback,
    ),
}  # fmt: skip


def figures(own: Tensor, other: Tensor, result: Tensor) -> tuple[float, float]:
    """gap and rho of f(x), T f(T x) and g(x), each `row entry`."""
    spread = (own - own.mean(0)).square().mean().sqrt()
    gap = float((own - other).square().mean().sqrt() / spread)
    drift = float((result - (own + other) / 2).square().mean().sqrt() / spread)
    return gap, drift / max(gap / 2, 0.01)


ALONG = [*((name, "project") for name in CASES), ("in buffers", "match"), ("feedback", "match")]


@pytest.mark.parametrize(("name", "method"), mainly(ALONG, [("in buffers", "match")]))
def test_figures_along_sequences(name: str, method: str) -> None:
    build, tensors, example, run = CASES[name]
    net, frames = trained(build(), 3), LENGTHS[method]
    sequences = normal(2, frames, 6, 2, seed=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ChiralizeWarning)
        result: Any = chiralize(
            net, parse_spec(BODY + tensors), example, calibration=sequences, method=method, samples=1, force=True
        )
    report = result.chirality.report
    held = [list(sequences[-1].split(1))]
    assert (report.drift.steps, report.drift.stateful, report.drift.source) == (frames, True, "held-out sequences")
    with torch.no_grad():
        answers = [
            (run(net, steps), [turned(y) for y in run(net, [turned(x) for x in steps])], run(result, steps))
            for steps in held
        ]
    for horizon, length in zip(report.drift.horizons, (50, frames), strict=True):
        parts = [torch.cat([torch.cat(own[view][:length]) for own in answers]) for view in range(3)]
        gap, rho = figures(*(part.flatten(1) for part in parts))
        assert horizon.steps == length
        assert (horizon.gap, horizon.rho) == pytest.approx((gap, rho), rel=1e-9)
    assert report.drift.rho == max(own.rho for own in report.drift.horizons)
    written = json.loads(to_json(report))
    assert [own["steps"] for own in written["drift"]["horizons"]] == [50, frames]
    text = to_text(report)
    assert "first 50 steps" in text and f"{frames} steps" in text


@pytest.mark.parametrize("name", CASES)
def test_an_audit_measures_along_sequences(name: str) -> None:
    """Single calls say little of a network that carries states: its audit then leaves the question open."""
    build, tensors, example, run = CASES[name]
    net, sequences, spec = trained(build(), 3), normal(3, 40, 6, 2, seed=5), parse_spec(BODY + tensors)
    found = audit(net, spec, example, calibration=sequences)
    with torch.no_grad():
        views = [
            [torch.cat(run(net, [turn(x) for x in steps.split(1)])) for steps in sequences]
            for turn in (Tensor.clone, turned)
        ]
    own, other = (torch.cat(view) for view in views)
    gap, _ = figures(own.flatten(1), turned(other).flatten(1), own.flatten(1))
    assert found.network.gap == pytest.approx(gap, rel=1e-9)
    assert (found.network.samples, found.source) == (120, "given data, along sequences")
    alone = audit(net, spec, example)
    assert alone.advice is not None
    assert ("carries states from call to call" in alone.advice.text) == (name != "feedback")


class NextFrame(nn.Module):
    """A window of frames to the frame behind it, which has no axis of time."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(24, 9), nn.Tanh(), nn.Linear(9, 12))

    def forward(self, x: Tensor) -> Tensor:
        return x[:, -1] + torch.tanh(self.layers(x.flatten(1))).view(-1, 6, 2)


def test_a_single_frame_feeds_a_window() -> None:
    """It becomes the last one of the window from half of the sequence on; along it training goes the same way."""
    net = trained(NextFrame(), 3)
    spec = BODY + 'inputs: [{layout: "b t j d"}]\noutputs: [{layout: "b j d", feeds: input 0}]\n'
    network = prepare(net, parse_spec(spec), (normal(1, 2, 6, 2),))
    poses, steps = normal(6, 6, 2, seed=7), 5
    windows = [poses[None, at : at + 2] for at in range(steps)]
    wanted, read = list[Tensor](), windows[0]
    with torch.no_grad():
        for number, window in enumerate(windows):
            read = window if number < 3 else torch.cat([read[:, 1:], wanted[-1][:, None]], 1)
            wanted.append(net(read))
        with Runner(net) as runner:
            rolled = [step.answers[0] for step in roll(runner, [((x,), {}) for x in windows], network.carried)]
        (along,) = original_along(network, both_views=False)
        trained_along = along(torch.stack(windows))[0]
    assert torch.equal(torch.stack(rolled), torch.stack(wanted))
    torch.testing.assert_close(trained_along, torch.stack(wanted), rtol=0, atol=1e-9)
