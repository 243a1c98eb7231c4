"""Scores of classes are judged by the probabilities that they stand for, and by the decisions that the mirror changes.

The network here knows both sides, and is noisy in how high it scores classes that are out of the question. As numbers
its two views are far apart, as answers they are the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize import audit, chiralize
from chiralize.body.tensors import parse_spec
from chiralize.commands.one_sided import gap_and_bound
from chiralize.errors import OneSidedError
from chiralize.graph.mirror import MirrorFit
from chiralize.report import to_text
from chiralize.report.verdict import verdict_of
from chiralize.verification.leaning import lean_of
from chiralize.verification.verdicts import Evidence
from tests.support.small_body import BODY, turned

CENTERS = torch.tensor([-0.9, -0.3, 0.3, 0.9], dtype=torch.float64)
SPEC = BODY + 'inputs: [{layout: "b j d"}]\noutputs: [{invariant: true}]\n'
CLASSES = SPEC.replace("{invariant: true}", "{classes: {swap: []}}")
CLIPS = SPEC.replace("b j d", "b t j d")


def poses(*shape: int) -> Tensor:
    """Postures between standing and lying, with arms and legs moved to either side."""
    drawn = torch.Generator().manual_seed(4)
    height = 2.4 * torch.rand(*shape, 1, 1, generator=drawn, dtype=torch.float64) - 1.2
    moved = 0.5 * torch.randn(*shape, 6, 2, generator=drawn, dtype=torch.float64)
    return moved - moved.mean((-1, -2), keepdim=True) + height * torch.tensor([0.0, 1.0], dtype=torch.float64)


class Recogniser(nn.Module):
    """Four postures by height.  form: of the scores.  is_one_sided: it answers one side by another posture mostly."""

    def __init__(self, form: str = "logits", is_one_sided: bool = False) -> None:
        super().__init__()
        self.form, self.is_one_sided = form, is_one_sided
        drawn = torch.Generator().manual_seed(1)
        self.register_buffer("waves", 3 * torch.randn(12, 4, generator=drawn, dtype=torch.float64))
        self.sharp = nn.Parameter(torch.tensor(30.0, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        # of training without an end: it knows no mirror, and has no side
        assert isinstance(self.waves, Tensor)
        noise = 22 * (x.flatten(-2) @ self.waves).sin()
        away = (x[..., 1].mean(-1)[..., None] - CENTERS).abs()
        scores = -self.sharp * away.square() + (away > 0.9) * noise
        if self.is_one_sided:
            side = x[..., 1, 0] + x[..., 3, 0]  # T negates it
            scores = torch.where((side > -0.8)[..., None], scores, scores.roll(1, -1))
        if self.form == "logits":
            return scores
        scores = scores.log_softmax(-1)
        if self.form == "channels":
            return scores.transpose(-1, -2)
        return scores.exp() if self.form == "shares" else scores


CASES = [
    ("logits", SPEC, (400,)),
    ("logits", CLASSES, (400,)),
    ("logs", SPEC, (400,)),
    ("logs", CLIPS, (60, 7)),
    ("channels", CLIPS, (60, 7)),
]


def plain_gap(net: nn.Module, x: Tensor) -> float:
    """The gap of the numbers as they are."""
    with torch.no_grad():
        first, back = net(x), net(turned(x))
    spread = (first - first.mean(0)).square().mean().sqrt()
    return float((first - back).square().mean().sqrt() / spread)


@pytest.mark.parametrize(("form", "spec", "shape"), CASES)
def test_scores_that_decide_alike_are_near(form: str, spec: str, shape: tuple[int, ...]) -> None:
    net, x = Recogniser(form), poses(*shape)
    assert plain_gap(net, x) > 0.3
    report = audit(net, parse_spec(spec), (x[:8],), calibration=x)
    (output,) = report.network.outputs
    assert output.shown is not None and output.shown.stay and output.apart == 0
    assert output.gap < 0.06 and output.shown.plain == pytest.approx(plain_gap(net, x), rel=0.01)
    assert report.advice is not None and report.advice.kind == "convert"
    assert "output 0: scores of classes, measured as the probabilities that they stand for" in to_text(report)


@pytest.mark.parametrize(("form", "spec", "shape"), CASES)
def test_a_side_that_is_answered_otherwise_is_seen(form: str, spec: str, shape: tuple[int, ...]) -> None:
    net, x = Recogniser(form, is_one_sided=True), poses(*shape)
    report = audit(net, parse_spec(spec), (x[:8],), calibration=x)
    assert report.network.gap > 0.4
    assert report.advice is not None and not report.advice.speaks_for


@pytest.mark.parametrize("spec", [SPEC, CLASSES])
def test_a_pair_of_classes_that_was_forgotten_is_seen(spec: str) -> None:
    """All decisions for both change, so that their probabilities stand for nothing; they are a small part of all."""

    class Handed(Recogniser):
        def forward(self, x: Tensor) -> Tensor:
            scores, side = super().forward(x), x[:, 1, 0] + x[:, 3, 0]
            lies = (scores.argmax(-1) == 0) & (x[:, :, 1].mean(-1) < -1.05)
            on_side = torch.stack([side, -side], -1).sign() * 40 * lies[:, None]
            return torch.cat([scores, scores.max(-1, keepdim=True).values - 20 + on_side], -1)

    x = poses(400)
    report = audit(Handed(), parse_spec(spec), (x[:8],), calibration=x)
    (output,) = report.network.outputs
    assert output.shown is None and output.changed is not None and output.changed < 0.1
    assert output.gap == pytest.approx(plain_gap(Handed(), x), rel=1e-4)


def test_numbers_that_are_no_scores_stay_numbers() -> None:
    """An embedding, whose largest number decides nothing."""

    class Embedding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            drawn = torch.Generator().manual_seed(2)
            self.even = nn.Parameter(6 * torch.randn(5, 16, generator=drawn, dtype=torch.float64))
            self.odd = nn.Parameter(2 * torch.randn(5, 16, generator=drawn, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            y = x[..., 1]
            even = torch.stack([y[:, 0], y[:, 5], y[:, 1] + y[:, 3], y[:, 2] + y[:, 4], y[:, 1] * y[:, 3]], -1)
            x = x[..., 0]
            odd = torch.stack([x[:, 0], x[:, 5], x[:, 1] + x[:, 3], x[:, 2] + x[:, 4], x[:, 1] - y[:, 3]], -1)
            return even @ self.even + odd @ self.odd

    net, x = Embedding(), poses(400)
    (output,) = audit(net, parse_spec(SPEC), (x[:8],), calibration=x).network.outputs
    assert output.shown is None and output.gap == pytest.approx(plain_gap(net, x), rel=0.01)


def converted(net: nn.Module, **options: Any) -> Any:
    """The report of a conversion of poses."""
    x = poses(400)
    result: Any = chiralize(net, parse_spec(SPEC), (x[:8],), calibration=x, **options)
    return result.chirality.report


@pytest.mark.parametrize("form", ["logits", "logs"])
def test_the_headline_blames_no_scores_that_decide_alike(form: str) -> None:
    report = converted(Recogniser(form), method="average")
    assert report.drift.outputs[0].gap > 0.3 and report.drift.gap < 0.06
    assert lean_of(report.drift) is None and report.drift.unsettled_gap == 0
    assert "gap is large" not in verdict_of(report).sentence and "leans" not in verdict_of(report).sentence
    assert "output 0 as probabilities of classes: gap " in to_text(report)


def test_the_headline_warns_of_a_side_that_is_answered_otherwise() -> None:
    report = converted(Recogniser("logs", is_one_sided=True), method="average")
    assert report.drift.unsettled_gap > 0.4 and "the original's gap is " in verdict_of(report).sentence


@pytest.mark.parametrize("is_one_sided", [False, True])
def test_auto_stops_where_decisions_change(is_one_sided: bool) -> None:
    if not is_one_sided:
        assert converted(Recogniser("logs"), rounds=0).passed
        return
    with pytest.raises(OneSidedError):
        converted(Recogniser("logs", is_one_sided=True), rounds=0)


def test_in_doubt_of_the_mirror_the_numbers_count() -> None:
    net, x = Recogniser(), poses(400)
    gaps = audit(net, parse_spec(SPEC), (x[:8],), calibration=x).network
    fit = MirrorFit(0.4, "no swap at all", 0.3, real=True)
    assert gap_and_bound(gaps, Evidence(fit=fit))[0] < 0.06
    assert gap_and_bound(gaps, Evidence(fit=replace(fit, doubt="its gap is 0.3 with another")))[0] > 0.3
