"""What `verify` says of left and right: of the file's weights as they are, not of inputs that tell nothing of them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import DegenerateError, SidesWarning
from chiralize.storage.passport import Passport
from tests.support import four_legs
from tests.support.cases import mainly
from tests.support.small_body import BODY

SPEC = BODY + 'inputs: [{layout: "b (j d)"}]\noutputs: [{layout: "b (j d)"}]\n'
PARTNER, SIGN = [0, 3, 4, 1, 2, 5], torch.tensor([-1.0, 1.0] * 6)


def mirrored(x: Tensor) -> Tensor:
    """The mirror image of poses (b, 12), written by hand."""
    return x.unflatten(1, (6, 2))[:, PARTNER].flatten(1) * SIGN


class Normalised(nn.Module):
    """A head behind a normaliser that saw an entry which never moved: noise there is 10,000 times too large."""

    spread: Tensor

    def __init__(self, least: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        spread = torch.ones(12)
        spread[1] = least  # y of the hip, which T keeps
        self.register_buffer("spread", spread)
        self.head = nn.Linear(12, 12)
        self.head.weight.data = torch.randn(12, 12) ** 3 / 3

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x / self.spread)


def converted(least: float) -> nn.Module:
    x = torch.randn(400, 12, generator=torch.Generator().manual_seed(1)) ** 3
    x[:, 1] *= least
    return chiralize.chiralize(Normalised(least).eval(), parse_spec(SPEC), (x[:2],), calibration=x, method="project")


def test_inputs_that_are_even_for_the_most_part_lose_no_sides() -> None:
    report = chiralize.verify(converted(1e-4))
    report.raise_for_failure()
    assert report.judgement.degeneracy is not None
    assert max(report.judgement.degeneracy.odd_after) < 1e-3  # a half or so of what it answers to real inputs


@pytest.mark.parametrize("left", [0.0, 0.1])
def test_weights_that_lost_the_sides_after_conversion_are_told(left: float) -> None:
    """W (1 + T) / 2 commutes with T as W does, and answers a pose and its mirror image alike."""
    result = converted(1.0)
    weight = result.get_parameter("head.weight")
    with torch.no_grad():
        even = (weight + mirrored(weight)) / 2
        weight.copy_(even + left * (weight - even))
    with pytest.warns(SidesWarning, match="lost the difference"):
        report = chiralize.verify(result)
    assert report.numeric.passed
    with pytest.raises(DegenerateError, match="since the file was written"):
        report.raise_for_failure()


@pytest.mark.parametrize("rows", mainly([[1], [3], [40]], [[1], [3]]))
def test_the_same_random_inputs_whatever_the_example(rows: int) -> None:
    """Of one row other numbers are drawn than of two; the file says which rows it was measured on."""
    result = converted(1.0)
    degeneracy = chiralize.verify(result, None, (torch.zeros(rows, 12),)).judgement.degeneracy
    assert degeneracy is not None and degeneracy.odd_after == pytest.approx(degeneracy.odd_before, abs=1e-9)
    doubled = chiralize.verify(result.double(), None, (torch.zeros(rows, 12).double(),)).judgement.degeneracy
    assert doubled is not None and doubled.odd_after == pytest.approx(degeneracy.odd_before, abs=1e-5)


def figures(network: object) -> dict[str, object]:
    """The figures of its passport, as a file has them."""
    passport = network.chirality.passport  # type: ignore[attr-defined]
    return dict(Passport.from_json(passport.to_json(), "a.pt2").figures)


def test_figures_of_an_earlier_conversion_stay() -> None:
    once = converted(1.0)
    again = chiralize.chiralize(once, parse_spec(SPEC), (torch.zeros(2, 12),))
    assert again.chirality.method == "project"  # type: ignore[union-attr]
    before, now = figures(once), figures(again)
    assert {"gap", "rho", "odd", "odd_random"} <= before.keys()
    assert {key: now[key] for key in ("gap", "rho", "odd", "odd_random")} == {
        key: before[key] for key in ("gap", "rho", "odd", "odd_random")
    }
    # On an example of other sizes the share is measured anew.
    other = figures(chiralize.chiralize(once, parse_spec(SPEC), (torch.zeros(3, 12),)))
    assert other["rho"] == before["rho"] and other["odd_random"] != before["odd_random"]


@pytest.mark.parametrize("rows", mainly([[2], [3]], [[3]]))
def test_sides_that_were_lost_are_not_the_measure_of_themselves(rows: int) -> None:
    result = converted(1.0)
    weight = result.get_parameter("head.weight")
    with torch.no_grad():
        weight.copy_((weight + mirrored(weight)) / 2)
    again = chiralize.chiralize(result, parse_spec(SPEC), (torch.zeros(rows, 12),), force=True)
    with pytest.warns(SidesWarning, match="lost the difference"):
        report = chiralize.verify(again)
    with pytest.raises(DegenerateError, match="since the file was written"):
        report.raise_for_failure()


@pytest.fixture(scope="module")
def of_two_mirrors() -> nn.Module:
    """The average over all views of two mirrors."""
    x = torch.randn(4, four_legs.SIZE, dtype=torch.float64)
    torch.manual_seed(0)
    network = nn.Linear(four_legs.SIZE, 4, bias=False).double().eval()
    return chiralize.chiralize(network, parse_spec(four_legs.SPEC), (x,), method="project", force=True)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("lost", four_legs._SWAPS)
def test_sides_that_are_lost_under_one_of_several_mirrors_are_told(of_two_mirrors: nn.Module, lost: str) -> None:
    result = copy.deepcopy(of_two_mirrors)
    report = chiralize.verify(result)
    rows = {row.name: row for row in report.judgement.mirrors}
    degeneracy = rows[lost].degeneracy
    assert report.passed and degeneracy is not None and min(degeneracy.odd_before) > 0.01
    assert degeneracy.odd_after == pytest.approx(degeneracy.odd_before, abs=1e-9)
    again = chiralize.chiralize(result, parse_spec(four_legs.SPEC), (torch.zeros(4, 10).double(),), force=True)
    assert figures(again)["odd_random_by_mirror"] == figures(result)["odd_random_by_mirror"]
    for network in (result, again):
        # What the mirror does not negate: W (1 + T) / 2 commutes with both, since they commute with one another.
        weight = next(network.parameters())
        with torch.no_grad():
            weight.copy_((weight + four_legs.turned_input(weight, lost)) / 2)
        with pytest.warns(SidesWarning, match="lost the difference"):
            report = chiralize.verify(network)
        with pytest.raises(DegenerateError, match="since the file was written"):
            report.raise_for_failure()
        rows = {row.name: row for row in report.judgement.mirrors}
        assert rows[lost].numeric.passed and not rows[lost].passed
        assert rows[lost].degeneracy.collapsed == (0,)  # type: ignore[union-attr]
