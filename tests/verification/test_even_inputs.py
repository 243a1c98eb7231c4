"""Inputs that are nearly their own mirror images are named before the mirror is blamed; others are not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from chiralize import audit, chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import ChiralizeError
from chiralize.problem.mirror import mirror_if_known
from chiralize.problem.preparation import prepare
from chiralize.report.verdict import verdict_of
from chiralize.verification.evidence.even_inputs import EVEN, even_in_words
from tests.support.small_body import BODY, POSE, normal

REST = torch.tensor([[0, -1], [0.5, 0.4], [0.3, -0.5], [-0.5, 0.4], [-0.3, -0.5], [0, 1]], dtype=torch.float64)
TURNS = BODY + 'inputs: [{layout: "b j d"}]\noutputs: [{layout: "b f", fields: [{name: yaw, signs: [-1]}]}]\n'


def faces(turn: float, count: int = 600) -> Tensor:
    """Points in front of and behind a plane, turned by so many radians (RMS), with a detector's noise."""
    depth = torch.tensor([0.6, 0, -0.2, 0, -0.2, -0.4], dtype=torch.float64)
    yaw = turn * normal(count, 1, seed=1)
    across = REST[:, 0] * yaw.cos() + depth * yaw.sin()
    return torch.stack([across, REST[:, 1].expand(count, 6)], -1) + 0.01 * normal(count, 6, 2, seed=2)


class Turn(nn.Module):
    """The angle from where middle points lie beside those of the sides, with a constant error."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Parameter(torch.tensor([1.1, -0.3, 0.1, -0.3, 0.1, -0.7], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return ((x[..., 0] * self.last).sum(1, keepdim=True) + 0.01).tanh()


@pytest.mark.parametrize(("turn", "is_even"), [(0.02, True), (0.05, True), (0.3, False), (0.6, False)])
def test_only_inputs_that_hardly_turn_are_even(turn: float, is_even: bool) -> None:
    x = faces(turn)
    network = prepare(nn.Linear(2, 2).double(), parse_spec(POSE), (x[:4],))
    calls = [((part,), {}) for part in x.split(100)]
    words = even_in_words(network.resolved, mirror_if_known(network, None), calls)
    assert words.startswith(f"{EVEN}: they are ") == is_even and bool(words) == is_even
    assert not even_in_words(network.resolved, mirror_if_known(network, None), [])


def said(turn: float, spec: str = TURNS) -> str:
    """What a conversion ends in."""
    x = faces(turn)
    try:
        result = chiralize(Turn(), parse_spec(spec), (x[:8],), calibration=x, rounds=0)
    except ChiralizeError as error:
        return str(error)
    return str(result.chirality)  # type: ignore[union-attr]


def test_the_network_is_not_blamed_for_frontal_faces() -> None:
    """Its constant error is a third of its answers there, and nothing beside those to faces that turn."""
    assert EVEN in said(0.02) and "Fix: give inputs that turn to either side" in said(0.02)
    assert EVEN not in said(0.5)


@pytest.mark.parametrize(("turn", "is_said"), [(0.02, True), (0.5, False)])
def test_an_audit_names_them_first(turn: float, is_said: bool) -> None:
    x = faces(turn)
    report = audit(Turn(), parse_spec(TURNS), (x[:8],), calibration=x)
    assert (EVEN in str(report)) == is_said
    assert [caution.brief for caution in verdict_of(report).warnings][:1] == [EVEN] * is_said


def test_a_wrong_sign_is_refused_with_better_inputs_as_the_first_remedy() -> None:
    wrong = TURNS.replace("signs: [-1]", "signs: [1]")
    assert "MirrorError" in said(0.02, wrong) and EVEN in said(0.02, wrong)
    assert "Fix: give inputs that turn to either side" in said(0.02, wrong)
    assert "MirrorError" in said(0.5, wrong) and EVEN not in said(0.5, wrong)
