"""Scores are judged by what they decide: a wide gap of logits stops `auto` only where decisions change as well."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor

from chiralize.body.tensors import parse_spec
from chiralize.commands.one_sided import refuse_one_sided
from chiralize.errors import OneSidedError
from chiralize.graph.mirror import MirrorFit
from chiralize.methods.registry import method_of
from chiralize.problem.preparation import prepare
from chiralize.problem.problem import Problem
from chiralize.problem.request import Request
from chiralize.verification.verdicts import Evidence
from tests.support.small_body import BODY, Net

ROWS = 600
WEIGHT = 4 * torch.randn(12, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
ARMS, LEGS = [1, 3], [2, 4]
FEET = "fields: [{items: [left, right], swap: [[left, right]], kind: scalar, name: contact}]"
YES_OR_NO = "classes: {swap: [[left, right]], names: [left, right], threshold: 0}"
ONE_OF_FOUR = "classes: {swap: [[0, 1], [2, 3]], names: [a, b, c, d]}"


def poses() -> Tensor:
    return torch.randn(ROWS, 6, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64).tanh()


def ripples(net: Any, x: Tensor, count: int) -> Tensor:
    """Factors of no symmetry, around 1: logits are further from deciding, or nearer, and decide the same."""
    return (net.one_sided * (x.flatten(1) @ net.weight).sin())[:, :count].exp()


def contacts(net: Any, x: Tensor) -> Tensor:
    """Both contacts, by the heights of the arms."""
    return x[:, ARMS, 1].sign() * (1 + x[:, ARMS, 1].abs()) * ripples(net, x, 2) + net.shift


def activities(net: Any, x: Tensor) -> Tensor:
    """Which of two arms and two legs is highest."""
    heights = x[:, ARMS + LEGS, 1]
    return (heights - heights.max(1, keepdim=True).values) * 4 * ripples(net, x, 4) + net.shift


def stops(
    answer: Callable[[Any, Tensor], Tensor],
    entry: str,
    *,
    shift: float = 0.0,
    doubt: str = "",
    rows: slice = slice(None),
) -> str:
    """The remedy of `auto` for such a network, "" where it goes on.  shift: that only the first score has."""
    shifts = torch.zeros(2 if answer is contacts else 4, dtype=torch.float64)
    shifts[0] = shift
    net = Net(answer, weight=WEIGHT, one_sided=torch.tensor(0.8, dtype=torch.float64), shift=shifts).eval()
    x = poses()
    x = x[answer(net, x)[:, 0] > 0] if rows.start else x
    spec = parse_spec(BODY + f'inputs: [{{layout: "b j d"}}]\noutputs: [{{{entry}}}]\n')
    problem = Problem.of(prepare(net, spec, (x[:3],)), Request("auto", calibration=[((x,), {})]), method_of("auto"))
    try:
        refuse_one_sided(problem, "net", Evidence(fit=MirrorFit(0.4, real=True, doubt=doubt)))
    except OneSidedError as error:
        return error.remedy
    return ""


@pytest.mark.parametrize(("answer", "entry"), [(contacts, YES_OR_NO), (activities, ONE_OF_FOUR)])
def test_a_wide_gap_that_changes_no_decision_does_not_stop_it(
    answer: Callable[[Any, Tensor], Tensor], entry: str
) -> None:
    assert stops(answer, entry) == ""
    assert stops(answer, entry, doubt="another mirror comes nearer") != ""  # T may be wrong: every gap counts


@pytest.mark.parametrize(
    ("answer", "entry"),
    [
        (contacts, YES_OR_NO.replace("[[left, right]]", "[]")),
        (activities, ONE_OF_FOUR.replace("[0, 1], ", "")),
        (activities, ONE_OF_FOUR.replace("[0, 1], [2, 3]", "[0, 2], [1, 3]")),
    ],
)
def test_decisions_that_change_stop_it(answer: Callable[[Any, Tensor], Tensor], entry: str) -> None:
    """Partners that were forgotten, or crossed."""
    assert stops(answer, entry) != ""


@pytest.mark.parametrize(("answer", "entry"), [(contacts, YES_OR_NO), (activities, ONE_OF_FOUR)])
def test_a_side_that_is_decided_for_more_often_stops_it(answer: Callable[[Any, Tensor], Tensor], entry: str) -> None:
    assert stops(answer, entry, shift=1.5) != ""


def test_decisions_that_the_inputs_do_not_show_are_not_known() -> None:
    assert stops(contacts, YES_OR_NO, rows=slice(1, None)) != ""


def test_numbers_that_may_be_yes_or_no_are_asked_about() -> None:
    remedy = stops(contacts, FEET)
    assert "if output 0 holds logits of yes and no" in remedy and "threshold: 0" in remedy
    assert "logits" not in stops(contacts, FEET.replace("[[left, right]]", "[]"))


def test_a_threshold_is_written_as_it_was_read() -> None:
    entries = parse_spec(BODY + f"outputs: [{{{YES_OR_NO.replace('0}', '1/2}')}}}]\n").outputs
    assert entries is not None and entries[0].classes is not None and entries[0].classes.threshold == Fraction(1, 2)
    written = json.dumps([entry.to_dict() for entry in entries])
    assert parse_spec(f"{BODY}outputs: {written}\n").outputs == entries
