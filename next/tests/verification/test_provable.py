"""Networks that are equivariant in ways that are easily missed: both verdicts say so, and not of what is close by."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.spec import load_spec
from chiralize.problem.prepare import prepare
from chiralize.verification.judge import judge
from chiralize.verification.verdicts import Standing, Trial

JOINTS = 5
POSE = {
    "joints": [f"p{i}" for i in range(JOINTS)], "pairs": [[1, 2], [3, 4]],
    "dims": ["x", "y", "z"], "negate": ["x"], "lateral": "x",
    "inputs": [{"layout": "b t j d"}], "outputs": [{"layout": "b t j d"}],
}  # fmt: skip
PARTNER, SIGNS = [0, 2, 1, 4, 3], torch.tensor([-1.0, 1.0, 1.0])


def mirror(x: Tensor) -> Tensor:
    return x[:, :, PARTNER] * SIGNS.to(x)


class Net(nn.Module):
    """Features of every joint that the mirror only moves, then whatever is to be tried, then a head."""

    def __init__(self, way: Callable[[Net, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.way = way
        self.a, self.gate, self.rest = nn.Linear(3, 8), nn.Linear(8, 1), nn.Linear(8, 2)
        for weight in self.parameters():
            nn.init.normal_(weight, std=0.5)
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        h = self.way(self, x, self.a(torch.cat([x[..., 1:], x[..., :1].abs()], -1)))
        return torch.cat([x[..., :1] * self.gate(h), self.rest(h)], -1)


def residual(net: nn.Module, after: Callable[[Tensor], Tensor]) -> float:
    x = torch.randn(2, 3, JOINTS, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        return float((net(mirror(x)) - after(net(x))).abs().max())


def standing(net: nn.Module) -> Standing:
    x = torch.randn(2, 3, JOINTS, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return judge(prepare(net, (x,), None, load_spec(POSE)), trial=Trial(samples=2)).standing


# ---- chains of one operation over all joints -----------------------------------------------------------------------
def chained(op: Callable[[Tensor, Tensor], Tensor], joints: range) -> Callable[[Net, Tensor, Tensor], Tensor]:
    def way(net: Net, x: Tensor, h: Tensor) -> Tensor:
        whole = h[:, :, joints[0]]
        for joint in joints[1:]:
            whole = op(whole, h[:, :, joint])
        return h + whole[:, :, None].tanh()

    return way


@pytest.mark.parametrize("op", [torch.add, torch.mul, torch.maximum, torch.minimum])
def test_chain_over_all_joints(op: Callable[[Tensor, Tensor], Tensor]) -> None:
    net = Net(chained(op, range(JOINTS)))
    assert residual(net, mirror) < 1e-9
    assert standing(net) is Standing.PROVED


@pytest.mark.parametrize("op", [torch.add, torch.mul, torch.maximum])
def test_chain_that_leaves_a_joint_out(op: Callable[[Tensor, Tensor], Tensor]) -> None:
    net = Net(chained(op, range(JOINTS - 1)))
    assert residual(net, mirror) > 1e-3
    assert standing(net) is Standing.FAILED


def test_chain_of_two_operations() -> None:
    """(a + b) * c is not a product of a, b and c."""

    def way(net: Net, x: Tensor, h: Tensor) -> Tensor:
        return h + ((h[:, :, 1] + h[:, :, 3]) * h[:, :, 2] * h[:, :, 4])[:, :, None]

    net = Net(way)
    assert residual(net, mirror) > 1e-3
    assert standing(net) is Standing.FAILED


def sided(both: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Callable[[Net, Tensor, Tensor], Tensor]:
    def way(net: Net, x: Tensor, h: Tensor) -> Tensor:
        left, right = both(h[:, :, [1, 3]].flatten(2), h[:, :, [2, 4]].flatten(2))
        sides = torch.cat([h[:, :, :1], left.unflatten(2, (2, 8)), right.unflatten(2, (2, 8))], 2)
        return sides[:, :, [0, 1, 3, 2, 4]]

    return way


def test_differences_both_ways() -> None:
    """The mirror negates a - b, and it exchanges a - b and b - a: a ReLU passes in the second way only."""
    net = Net(sided(lambda left, right: ((left - right).relu(), (right - left).relu())))
    assert residual(net, mirror) < 1e-9
    assert standing(net) is Standing.PROVED


def test_differences_of_which_one_is_treated_otherwise() -> None:
    net = Net(sided(lambda left, right: ((left - right).relu(), (right - left).tanh())))
    assert residual(net, mirror) > 1e-3
    assert standing(net) is Standing.FAILED


# ---- functions whose rule knows more than that they are neither odd nor even ---------------------------------------
def _zeros_stay(net: Net, x: Tensor, h: Tensor) -> Tensor:
    return h + torch.where(x == 0, x, x / x.norm(dim=-1, keepdim=True))[..., 1:].sum(-1, keepdim=True)


def _sized(net: Net, x: Tensor, h: Tensor) -> Tensor:
    return h + (torch.copysign(x.norm(dim=-1, keepdim=True), x) * x).sum(-1, keepdim=True)


@pytest.mark.parametrize("way", [_zeros_stay, _sized])
def test_signed_numbers_pass(way: Callable[[Net, Tensor, Tensor], Tensor]) -> None:
    net = Net(way)
    assert residual(net, mirror) < 1e-9
    assert standing(net) is Standing.PROVED


def _one_value(net: Net, x: Tensor, h: Tensor) -> Tensor:
    return h + (x.round() == 1).to(h.dtype).sum(-1, keepdim=True)


@pytest.mark.parametrize("way", [_one_value])
def test_signed_numbers_that_do_not(way: Callable[[Net, Tensor, Tensor], Tensor]) -> None:
    net = Net(way)
    assert residual(net, mirror) > 1e-3
    assert standing(net) is Standing.FAILED


# ---- without a rule --------------------------------------------------------------------------------------------------
def test_what_nobody_can_prove_has_a_standing_of_its_own() -> None:
    """Singular vectors are not determined by the matrix alone: their squares are here, and no rule says so."""

    def way(net: Net, x: Tensor, h: Tensor) -> Tensor:
        values = torch.linalg.svd(x, full_matrices=False)[0].square().sum((2, 3))
        return h + values[..., None, None]

    net = Net(way)
    x = torch.randn(2, 3, JOINTS, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    verdict = judge(prepare(net, (x,), None, load_spec(POSE)), trial=Trial(samples=2))
    assert verdict.numeric.passed and verdict.standing is Standing.UNPROVED
    assert not verdict.passed and verdict.gap_of_proof in verdict.summary
