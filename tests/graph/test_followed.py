"""What a walk follows reaches results of an op that is not the first one, and no number that a mask chooses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.methods.symmetric_norms import normalised
from chiralize.problem.preparation import prepare
from chiralize.problem.request import Request
from tests.support.problems import posed
from tests.support.reflect_nets import C, pixels, spec
from tests.support.reflect_nets import trained as trained_in_pixels
from tests.support.small_body import POSE, Net, normal, trained


def test_only_the_second_part_of_a_split_is_shifted() -> None:
    """The mean of y leans to one side, that of x is 0: the layer behind y alone makes up for it."""

    def compute(s: Net, x: Tensor) -> Tensor:
        across, up = (x - s.mean).chunk(2, 2)
        return s.last(torch.cat([s.first(across.flatten(1)), s.second(up.flatten(1))], 1).relu()).unflatten(1, (6, 2))

    mean = torch.zeros(6, 2, dtype=torch.float64)
    layers = {"first": nn.Linear(6, 8), "second": nn.Linear(6, 8), "last": nn.Linear(16, 12)}
    net: Any = trained(Net(compute, mean=mean, **layers))
    net.mean[:, 0], net.mean[:, 1] = 0.0, torch.arange(1.0, 7.0, dtype=torch.float64)
    network = prepare(net, parse_spec(POSE), (normal(3, 6, 2),))
    after: Any = normalised(posed(network, Request("project"))).module
    assert not torch.equal(after.mean, net.mean)
    assert not torch.equal(after.second.bias, net.second.bias)
    torch.testing.assert_close(after(normal(5, 6, 2)), net(normal(5, 6, 2)), rtol=0, atol=1e-12)


class Chosen(nn.Module):
    """1 in place of the coordinates of the first joint."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", (torch.arange(17) > 0)[:, None].expand(17, 2).clone())
        self.first, self.last = nn.Linear(34, 16), nn.Linear(16, 34)

    def forward(self, x: Tensor) -> Tensor:
        chosen = torch.where(self.get_buffer("mask"), x, 1.0)
        return self.last(self.first(chosen.flatten(1)).relu()).unflatten(1, (17, 2))


def test_a_chosen_number_is_no_offset() -> None:
    """The bias takes up W c of the coordinates that pass, and nothing of the 1."""
    net: Any = trained_in_pixels(Chosen(), torch.float64)
    network = prepare(net, spec(), (pixels(2, 17, 2, dtype=torch.float64),))
    leaves = {leaf.names[0]: leaf for leaf in network.graph().leaves.values()}
    offset = torch.where(net.mask, torch.tensor([float(C), 0.0], dtype=torch.float64), 0.0).flatten()
    with torch.no_grad():
        expected = net.first.bias + net.first.weight @ offset
    torch.testing.assert_close(leaves["first.bias"].tensor.detach(), expected, rtol=1e-9, atol=1e-9)
