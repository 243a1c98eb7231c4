"""What `verify` says of left and right: of the file's weights as they are, not of inputs that tell nothing of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import DegenerateError, SidesWarning
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
