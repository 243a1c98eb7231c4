"""More ways to a proof: averages that users write themselves, and units whose weights do not tell who mirrors whom."""
# pyright: basic, reportAttributeAccessIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from tests.support.small_body import IMAGE, POSE, Net, normal, trained

SPEC = parse_spec(POSE)
Mirror = Callable[[Tensor, Tensor], Tensor]
_signs = torch.tensor([-1.0, 1.0], dtype=torch.float64)
_image = torch.tensor(IMAGE)


def _by_index(x: Tensor, signs: Tensor) -> Tensor:
    return x[:, _image] * signs.view(1, 1, -1)


def _by_axes(x: Tensor, signs: Tensor) -> Tensor:
    return (x.transpose(1, 2)[..., _image] * signs.view(1, -1, 1)).permute(0, 2, 1)


def _by_entries(x: Tensor, signs: Tensor) -> Tensor:
    joints = torch.stack([x.select(1, joint) for joint in IMAGE], 1)
    return torch.stack([-joints[..., 0], joints[..., 1]], -1)


class Average(nn.Module):
    """Half the sum of both views, as users write it; `second` may be another network for the second view."""

    def __init__(self, mirror: Mirror, second: nn.Module | None = None, signs: Tensor = _signs) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 8), nn.Flatten(), nn.ReLU(), nn.Linear(48, 12), nn.Unflatten(1, (6, 2)))
        self.second = second
        self.mirror = mirror
        self.register_buffer("signs", signs.clone())

    def forward(self, x: Tensor) -> Tensor:
        second = self.second if self.second is not None else self.net
        return (self.net(x) + self.mirror(second(self.mirror(x, self.signs)), self.signs)) / 2


@pytest.mark.parametrize("mirror", [_by_index, _by_axes, _by_entries])
def test_averages_that_users_write_are_proved(mirror: Mirror) -> None:
    report = chiralize.verify(trained(Average(mirror)), SPEC, normal(2, 6, 2))
    assert report.passed
    assert "two views averaged" in " ".join(report.judgement.certificate.notes)


def test_two_networks_are_no_average() -> None:
    """They differ by less than rounding shows, and the proof looks at their weights."""
    network = trained(Average(_by_index))
    network.second = copy.deepcopy(network.net)
    with torch.no_grad():
        network.second[0].weight[0, 0] *= 1 + 1e-15
    assert not chiralize.verify(network, SPEC, normal(2, 6, 2)).passed


@pytest.mark.parametrize("signs", [[1.0, -1.0], [-1.0, -1.0], [-1.0, 0.999]])
def test_an_average_over_another_mirror_fails(signs: list[float]) -> None:
    network = trained(Average(_by_axes, signs=torch.tensor(signs, dtype=torch.float64)))
    network.signs.copy_(torch.tensor(signs))
    assert not chiralize.verify(network, SPEC, normal(2, 6, 2)).passed


def test_channels_that_the_mirror_leaves_alone() -> None:
    """Half of them are copies of the others, so that they could be taken for pairs; what reads them has none."""

    def compute(net: Net, x: Tensor) -> Tensor:
        hidden = torch.relu(net.first(x[..., 1:]))
        gate = torch.sigmoid(net.gate(hidden.mean(1, keepdim=True)))
        return torch.cat([x[..., :1], net.last(net.mix(hidden * gate))], -1)

    parts = {"first": nn.Linear(1, 8), "gate": nn.Linear(8, 8), "mix": nn.Linear(8, 8), "last": nn.Linear(8, 1)}
    network = trained(Net(compute, **parts))
    with torch.no_grad():
        network.first.weight[4:] = network.first.weight[:4]
        network.first.bias[4:] = network.first.bias[:4]
    assert chiralize.verify(network, SPEC, normal(2, 6, 2)).passed
