"""Parts of the body along an axis that only a graph knows to be the joints: graphs choose before parts are cut off."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import AsymmetricConstantError
from tests.support.small_body import ROUNDING, Net, normal, trained, verdicts

SPEC = """
skeleton: {joints: [hip, neck, l1, l2, r1, r2, head, tail], pairs: [[l1, r1], [l2, r2]]}
inputs: [{layout: "b j d", dims: [x, y]}]
outputs: [{invariant: true}]
"""
IMAGE = [0, 1, 4, 5, 2, 3, 6, 7]
PARTS = [slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8)]
BONES = [(0, 1), (1, 2), (2, 3), (1, 4), (4, 5), (1, 6), (0, 7)]


def pooled(s: Net, x: Tensor) -> Tensor:
    """Parts are mixed and spread to their joints again: the axis is parts by two before the graph is asked."""
    x = torch.einsum("vw,bvc->bwc", (s.graphs * s.first_bones)[0], s.first(x)).relu()
    parts = torch.stack([x[:, part].mean(1) for part in PARTS], 1)
    parts = torch.einsum("vw,bvc->bwc", s.mix, parts).relu().repeat_interleave(2, 1)
    return s.last((x + parts).mean(1))


def weighted(mixed: bool) -> Net:
    """A graph with learned weights for its bones, then a weight for every part from the sum of all parts.

    mixed: a layer and a second graph between the two.
    """

    def compute(s: Net, x: Tensor) -> Tensor:
        x = torch.einsum("vw,bvc->bwc", (s.graphs * s.first_bones)[0], s.first(x)).relu()
        if mixed:
            x = x + torch.einsum("vw,bvc->bwc", (s.graphs * s.second_bones)[1], s.second(x)).relu()
        whole = torch.stack([s.pool(x[:, part]).mean(1) for part in PARTS]).sum(0)
        weights = s.score(whole).unflatten(-1, (-1, 4)).softmax(-1).split(1, -1)
        spread = [weights[joint // 2].squeeze(-1).expand_as(x[:, joint]) for joint in range(8)]
        return s.last((x * torch.stack(spread, 1) + x).mean(1))

    layers = {"second": nn.Linear(8, 8), "score": nn.Linear(4, 32), "pool": nn.Sequential(nn.Linear(8, 4), nn.ReLU())}
    return with_graphs(compute, second_bones=nn.Parameter(torch.ones(2, 8, 8)), **layers)


def with_graphs(compute: Callable[[Net, Tensor], Tensor], **parts: nn.Module | nn.Parameter) -> Net:
    """Two graphs, of every joint with itself and of the bones; what is learned of them has no symmetry."""
    graphs = torch.eye(8).repeat(2, 1, 1)
    for a, b in BONES:
        graphs[1, a, b] = graphs[1, b, a] = 1.0
    parts |= {"first": nn.Linear(2, 8), "last": nn.Linear(8, 3), "first_bones": nn.Parameter(torch.ones(2, 8, 8))}
    net = trained(Net(compute, **parts, graphs=graphs))
    net.get_buffer("graphs").copy_(graphs)
    return net


NETWORKS = {
    "weights for parts": lambda: weighted(mixed=False),
    "weights for parts, two graphs": lambda: weighted(mixed=True),
    "parts and back": lambda: with_graphs(pooled, mix=nn.Parameter(torch.ones(4, 4))),
}


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", NETWORKS)
def test_parts_of_joints_that_a_graph_knows(name: str) -> None:
    """A part cut off an unknown axis would close it: no mirror could take one leg to the other any more."""
    own = chiralize.chiralize(NETWORKS[name](), parse_spec(SPEC), (normal(3, 8, 2),), method="match", samples=1)
    assert own.chirality.report.judgement.certificate.passed
    x = normal(3, 8, 2, seed=5)
    with torch.no_grad():
        plain, there = own(x), own(x[:, IMAGE] * torch.tensor([-1.0, 1.0]))
        assert (there - plain).abs().max() < ROUNDING * plain.abs().max()
        own.get_parameter("first_bones")[0, 2, 2] *= 1 + 1e-3
    assert verdicts(own, (3, 8, 2))[:2] == (False, False)


def test_a_slip_in_a_graph_is_named() -> None:
    """No representation leaves the graph alone: the message is about the one that a single bone contradicts."""
    net = weighted(mixed=True)
    net.get_buffer("graphs")[1, 2, 3] = 0.0
    place = r"changes by 1 under the mirror: 0 stands at \[1, 2, 3\], 1 comes from \[1, 4, 5\]"
    with pytest.raises(AsymmetricConstantError, match=rf"constant graphs \(2, 8, 8\) {place}"):
        chiralize.chiralize(net, parse_spec(SPEC), (normal(3, 8, 2),), method="match")
