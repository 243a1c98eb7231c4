"""Where the tensors of a call go: which arguments a pose may be."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from chiralize.body.tensors import parse_spec
from chiralize.errors import UsageError
from chiralize.problem.readings.arguments import arrangements
from chiralize.problem.readings.derive import derive
from tests.support.small_body import BODY, POSE


class Numbers(nn.Module):
    """Sizes beside the pose, which it has defaults for."""

    def forward(self, pose: torch.Tensor, frames: int = 10, scale: float = 1.0) -> torch.Tensor:
        return pose * scale


def test_a_pose_is_not_given_to_an_argument_that_is_a_number() -> None:
    """One layout too many is refused with what there is; a free tensor may take its place."""
    two = parse_spec(BODY + 'inputs: [{layout: "b j d"}, {layout: "b j d"}]\noutputs: [{layout: "b j d"}]\n')
    with pytest.raises(UsageError) as caught:
        derive(Numbers(), two, torch.float32, "forward", "numbers", "--input-shape")
    assert caught.value.facts.endswith(
        "2 inputs are described, the network's arguments are: pose (and, with numbers as defaults, frames=10, "
        "scale=1.0)"
    )
    described = [[way.groups for way in arrangements(Numbers(), spec)] for spec in (parse_spec(POSE), two)]
    assert described == [[(0,)], []]
    free = parse_spec(BODY + "inputs: [{layout: b j d}, free]\noutputs: [{layout: b j d}]\n")
    assert [way.groups for way in arrangements(Numbers(), free)] == [(0, 0)]
