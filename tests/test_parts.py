"""Parts of the body along an axis that only a graph knows to be the joints: graphs choose before parts are cut off."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.spec import parse_spec
from tests.small_body import ROUNDING, Net, normal, trained, verdicts

SPEC = """
skeleton: {joints: [hip, neck, l1, l2, r1, r2, head, tail], pairs: [[l1, r1], [l2, r2]]}
inputs: [{layout: "b j d", dims: [x, y]}]
outputs: [{invariant: true}]
"""
IMAGE = [0, 1, 4, 5, 2, 3, 6, 7]
PARTS = [slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8)]
BONES = [(0, 1), (1, 2), (2, 3), (1, 4), (4, 5), (1, 6), (0, 7)]


def weighted(mixed: bool) -> Net:
    """A graph with learned weights for its bones, then a weight for every part from the sum of all parts.

    mixed: a layer and a second graph between the two.
    """

    def compute(s: Net, x: Tensor) -> Tensor:
        x = torch.einsum("vw,bvc->bwc", (s.graphs * s.first_bones)[0], s.first(x)).relu()
        if mixed:
            x = x + torch.einsum("vw,bvc->bwc", (s.graphs * s.second_bones)[1], s.second(x)).relu()
        pooled = torch.stack([s.pool(x[:, part]).mean(1) for part in PARTS]).sum(0)
        weights = s.score(pooled).unflatten(-1, (-1, 4)).softmax(-1).split(1, -1)
        spread = [weights[joint // 2].squeeze(-1).expand_as(x[:, joint]) for joint in range(8)]
        return s.last((x * torch.stack(spread, 1) + x).mean(1))

    graphs = torch.eye(8).repeat(2, 1, 1)
    for a, b in BONES:
        graphs[1, a, b] = graphs[1, b, a] = 1.0
    bones = {name: nn.Parameter(torch.ones(2, 8, 8)) for name in ("first_bones", "second_bones")}
    layers = {"first": nn.Linear(2, 8), "second": nn.Linear(8, 8), "score": nn.Linear(4, 32), "last": nn.Linear(8, 3)}
    net = trained(Net(compute, **layers, **bones, pool=nn.Sequential(nn.Linear(8, 4), nn.ReLU()), graphs=graphs))
    net.get_buffer("graphs").copy_(graphs)
    return net


@pytest.mark.parametrize("mixed", [False, True])
def test_parts_of_joints_that_a_graph_knows(mixed: bool) -> None:
    """A part cut off an unknown axis would close it: no mirror could take one leg to the other any more."""
    own = chiralize.chiralize(weighted(mixed), parse_spec(SPEC), (normal(3, 8, 2),), method="match", samples=1)
    assert own.chirality.report.certificate.passed
    x = normal(3, 8, 2, seed=5)
    with torch.no_grad():
        plain, there = own(x), own(x[:, IMAGE] * torch.tensor([-1.0, 1.0]))
        assert (there - plain).abs().max() < ROUNDING * plain.abs().max()
        own.get_parameter("first_bones")[0, 2, 2] *= 1 + 1e-3
    assert verdicts(own, (3, 8, 2))[:2] == (False, False)
