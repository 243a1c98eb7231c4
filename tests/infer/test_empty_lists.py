"""Lists that begin with an empty vector, which torch takes beside tensors of any axes and which adds nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.small_body import ROUNDING, Net, converted, residual, trained, verdicts


def grown(net: Any, x: Tensor) -> Tensor:
    """The answers of one layer after another, in a list that a loop grows."""
    parts = torch.tensor([])
    for part in (net.first, net.second):
        parts = torch.cat([parts, torch.relu(part(x.flatten(1)))], 1)
    return net.last(parts).view(-1, 6, 2)


def beside(net: Any, x: Tensor) -> Tensor:
    """An empty vector behind what a layer answers."""
    parts = torch.cat([net.first(x.flatten(1)), net.second(x.flatten(1)), torch.empty(0)], 1)
    return net.last(torch.relu(parts)).view(-1, 6, 2)


@pytest.mark.parametrize("compute", [grown, beside])
def test_an_empty_vector_in_a_list(compute: Any) -> None:
    net = Net(compute, first=nn.Linear(12, 6), second=nn.Linear(12, 6), last=nn.Linear(12, 12))
    result = converted(trained(net), method="project", force=True)
    assert residual(result, (3, 6, 2)) <= ROUNDING and verdicts(result)[:2] == (True, True)
