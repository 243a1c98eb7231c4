"""Inputs of many numbers that the mirror leaves as they are, beside one that it mirrors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec, resolve
from chiralize.graph.mirror import MirrorFit
from chiralize.graph.running import Call
from chiralize.report.cautions import mirror_cautions
from chiralize.verification.evidence.free_inputs import free_findings, free_in_words
from chiralize.verification.verdicts import Evidence

SPEC = """
skeleton: jhmdb
inputs:
  - {{name: M, {}}}
  - {{name: P, layout: "b t j d", dims: [x, y]}}
outputs: [{{invariant: true}}]
"""
FREE = SPEC.format("free: true")
P = torch.rand(4, 32, 15, 2, generator=torch.Generator().manual_seed(0))
NUMBERS = torch.rand(4, 32, 105, generator=torch.Generator().manual_seed(1))


def said(first: Tensor, text: str = FREE, with_inputs: bool = True) -> tuple[str, ...]:
    call: Call = ((first, P), {})
    resolved = resolve(parse_spec(text), [tuple(first.shape), tuple(P.shape)], [(4, 21)])
    return free_findings(resolved, call, (call,) if with_inputs else ()).warnings


def test_many_numbers_that_differ_by_sample_are_asked_about() -> None:
    (warning,) = said(NUMBERS)
    assert warning.startswith("input 0 'M' is `free`: T leaves its 3360 numbers a sample as they are, beside inputs ")
    assert "differ from sample to sample" in warning
    assert warning.endswith("as of a style or a text without sides, `fields: [{scalar: 105}]` says so")
    (unseen,) = said(NUMBERS, with_inputs=False)
    assert "differ from sample to sample" not in unseen


@pytest.mark.parametrize(
    "right",
    [
        torch.rand(4),
        torch.rand(4, 3),
        torch.rand(15, 15),
        torch.rand(4, 32),
        (NUMBERS > 0.5).float(),
        NUMBERS[:1].expand(4, 32, 105),
        (NUMBERS * 10).long(),
    ],
    ids=["times", "levels", "a shared table", "a number a frame", "a mask", "the same in all samples", "tokens"],
)
def test_what_free_is_for_is_not_accused(right: Tensor) -> None:
    assert said(right) == ()


@pytest.mark.parametrize(("frames", "is_asked"), [(17, True), (27, False)])
def test_as_many_frames_as_joints_excuse_nothing(frames: int, is_asked: bool) -> None:
    """Beside 27 frames of 17 joints, 27 numbers are one a frame; beside 17 frames, 17 may be one a joint."""
    spec = parse_spec("{skeleton: h36m, inputs: [{layout: b t j d}, {free: true}], outputs: [{layout: b j d}]}")
    poses, numbers = torch.zeros(4, frames, 17, 3), torch.rand(4, frames)
    call: Call = ((poses, numbers), {})
    resolved = resolve(spec, [tuple(poses.shape), tuple(numbers.shape)], [(4, 17, 3)])
    assert bool(free_findings(resolved, call, [call]).warnings) == is_asked


def test_fields_that_say_so_are_not_accused() -> None:
    assert said(NUMBERS, SPEC.format('layout: "b t f", fields: [{scalar: 105}]')) == ()


class Recogniser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(105, 8), nn.Linear(30, 8)
        self.last = nn.Linear(8, 21)

    def forward(self, M: Tensor, P: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(M) + self.second(P.flatten(2))).mean(1))


@pytest.mark.parametrize(("numbers", "is_noted"), [(20, True), (2, False), (1000, False)])
def test_numbers_of_words_are_noted(numbers: int, is_noted: bool) -> None:
    """A note that sides among them cannot swap; flags, and more numbers than there are words, raise no question."""
    spec = parse_spec("skeleton: h36m\ninputs: [b j d, {free: true, name: word}]\noutputs: [b j d]\n")
    words = torch.arange(2000) % numbers
    resolved = resolve(spec, [(2000, 17, 3), (2000,)], [(2000, 17, 3)])
    call: Call = ((torch.zeros(2000, 17, 3), words), {})
    notes = free_findings(resolved, call, [call]).notes
    assert len(notes) == is_noted
    assert not notes or "input 1 'word' is `free`, and holds 20 different whole numbers" in notes[0]
    assert free_findings(resolved, call).notes == ()


def test_the_headline_warns() -> None:
    converted = chiralize.chiralize(Recogniser(), parse_spec(FREE), (NUMBERS, P), method="average")
    report = chiralize.chirality(converted).report
    assert (
        report is not None
        and report.verdict.startswith("converted with warnings")
        and "the mirror is doubtful" in report.verdict
    )


FITTED = MirrorFit(0.15, "another", 0.16, real=True)


@pytest.mark.parametrize(
    ("fit", "is_doubtful"),
    [
        (FITTED, False),
        (None, True),
        (replace(FITTED, gap=0.4), True),
        (replace(FITTED, real=False), True),
        (replace(FITTED, trained=False), True),
        (replace(FITTED, answers_stay=True), True),
        (replace(FITTED, doubt="another comes nearer"), True),
    ],
    ids=["fitted", "not asked", "wide", "noise", "untrained", "scores", "doubt"],
)
def test_a_network_that_fits_is_not_called_doubtful(fit: MirrorFit | None, is_doubtful: bool) -> None:
    """The question stays a warning: a small gap alone does not show that such an input has no sides."""
    (caution,) = mirror_cautions(Evidence(warnings=said(NUMBERS), fit=fit))
    assert caution.text.startswith("input 0 'M' is `free`: T leaves its 3360 numbers")
    assert ("the mirror is doubtful" in caution.brief) == is_doubtful
    assert is_doubtful or caution.brief == (
        "the network fits the mirror; say of input 0 'M' whether it belongs to sides"
    )


def test_another_finding_is_what_makes_it_doubtful() -> None:
    cautions = mirror_cautions(Evidence(warnings=("input 2: T takes a to a", *said(NUMBERS)), fit=FITTED))
    assert all("doubtful: input 2" in caution.brief for caution in cautions)
    later = mirror_cautions(Evidence(warnings=(*said(NUMBERS), "input 2: T takes a to a"), fit=FITTED))
    assert all("doubtful: input 2" in caution.brief for caution in later)


def test_beside_a_wide_gap_a_free_input_is_mentioned() -> None:
    """Unless it is the same in all samples."""
    resolved = resolve(parse_spec(FREE), [(4, 2), tuple(P.shape)], [(4, 21)])
    hands = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    words = free_in_words(resolved, [((hands, P), {})])
    assert words.startswith("; input 0 'M' is declared `free`, so that T leaves") and "{swap: [[0, 1]]}" in words
    assert free_in_words(resolved, [((hands[:1].expand(4, 2), P), {})]) == ""
