"""The certificate looks at every number of a weight, whatever its dtype; other proofs prove only what commutes."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from chiralize.graph.model import CapturedModel, Leaf, Node, Ref, Where
from chiralize.infer.records import RepMap
from chiralize.infer.symbolic import lower
from chiralize.symmetry import action
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.verification import certificate
from chiralize.verification.verdicts import Standing
from tests.support.small_body import IMAGE, POSE, Net, normal, trained, verdict_on

SWAP = Representation.of(SignedPermutation.of([(0, 1)], [2], size=4))


def passes(weight: Tensor, rep: TensorRepresentation) -> bool:
    node = Node("y", "aten.clone.default", {"self": Ref("w")}, (tuple(weight.shape),), frozenset({0}), Where("layer"))
    captured = CapturedModel({"w": Leaf("w", "parameter", ("w",), weight)}, (node,), (), ("y",), (), {})
    return certificate.prove(captured, RepMap({"w": lower(rep)}, {}, (), (), {}, {})).passed


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("planted", [1e-3, 1e-3j])
def test_complex_weights(dtype: torch.dtype, planted: complex) -> None:
    """An asymmetry of 1e-3 in either part is seen, rounding is not."""
    rep = TensorRepresentation((SWAP, Representation.trivial(3)))
    weight = action.project(torch.randn(4, 3, dtype=dtype), rep)
    assert passes(weight * (1 + torch.finfo(dtype).eps), rep)
    weight[0, 1] += planted
    assert not passes(weight, rep)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("row", [0, 3, 3000, 5999])
def test_every_block_is_looked_at(dtype: torch.dtype, row: int) -> None:
    """A weight that is taken in blocks of rows: one wrong entry is seen anywhere."""
    halves = SignedPermutation.of([(entry, entry + 3000) for entry in range(3000)], size=6000)
    rep = TensorRepresentation((Representation.of(halves), Representation.trivial(100)), -1)
    weight = action.project(torch.randn(6000, 100, generator=torch.Generator().manual_seed(0)).to(dtype), rep)
    assert len(list(action.blocks(weight))) > 2
    assert passes(weight, rep)
    weight[row, 3] += 0.5
    assert not passes(weight, rep)


def test_scalars_and_empty_weights() -> None:
    nothing = TensorRepresentation(())
    assert passes(torch.tensor(2.0), nothing)
    assert not passes(torch.tensor(2.0), TensorRepresentation((), -1))
    assert passes(torch.zeros(0, 4), TensorRepresentation((Representation.of(SignedPermutation.identity(0)), SWAP)))


# ---- averages that users write themselves ----------------------------------------------------------------------------
Mirror = Callable[[Tensor, Tensor], Tensor]
_signs, _image = torch.tensor([-1.0, 1.0], dtype=torch.float64), torch.tensor(IMAGE)


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
    verdict = verdict_on(trained(Average(mirror)))
    assert verdict.standing is Standing.PROVED and verdict.repmap is None


def test_two_networks_are_no_average() -> None:
    """They differ by less than rounding shows, and the proof looks at their weights."""
    network = trained(Average(_by_index))
    network.second = copy.deepcopy(network.net)
    with torch.no_grad():
        network.second[0].weight[0, 0] *= 1 + 1e-15
    assert not verdict_on(network).passed


@pytest.mark.parametrize("signs", [[1.0, -1.0], [-1.0, -1.0], [-1.0, 0.999]])
def test_an_average_over_another_mirror_fails(signs: list[float]) -> None:
    network = trained(Average(_by_axes, signs=torch.tensor(signs, dtype=torch.float64)))
    network.get_buffer("signs").copy_(torch.tensor(signs))
    assert not verdict_on(network).passed


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
    assert verdict_on(network, POSE, normal(2, 6, 2)).passed
