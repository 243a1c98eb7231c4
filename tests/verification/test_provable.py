"""Networks that are equivariant in ways that are easily missed: both verdicts say so, and not of what is close by."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import chiralize

JOINTS = 5
SPEC = {
    "name": "body", "joints": [f"p{i}" for i in range(JOINTS)], "pairs": [[1, 2], [3, 4]],
    "dims": ["x", "y", "z"], "negate": ["x"], "lateral": "x",
}  # fmt: skip
POSE = {**SPEC, "inputs": [{"layout": "b t j d"}], "outputs": [{"layout": "b t j d"}]}
SCORES = {**SPEC, "inputs": [{"layout": "b t j d"}], "outputs": [{"invariant": True}]}
PARTNER, SIGNS = [0, 2, 1, 4, 3], torch.tensor([-1.0, 1.0, 1.0])


def mirror(x: Tensor) -> Tensor:
    return x[:, :, PARTNER] * SIGNS.to(x)


class Net(nn.Module):
    """Features of every joint that the mirror only moves, then whatever is to be tried, then a head."""

    def __init__(self, way: Callable[[Net, Tensor, Tensor], Tensor], scores: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.way = way
        self.a, self.gate, self.rest = nn.Linear(3, 8), nn.Linear(8, 1), nn.Linear(8, 2)
        self.head = nn.Linear(scores, 4) if scores else None
        for own in self.parameters():
            nn.init.normal_(own, std=0.5)
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        h = self.way(self, x, self.a(torch.cat([x[..., 1:], x[..., :1].abs()], -1)))
        if self.head is not None:
            return self.head(h)
        return torch.cat([x[..., :1] * self.gate(h), self.rest(h)], -1)


def residual(net: nn.Module, after: Callable[[Tensor], Tensor]) -> float:
    x = torch.randn(2, 3, JOINTS, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        return float((net(mirror(x)) - after(net(x))).abs().max())


def verdicts(net: nn.Module, spec: dict[str, object]) -> tuple[bool, bool]:
    x = torch.randn(2, 3, JOINTS, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    report = chiralize.verify(net, spec, (x,))
    assert report.judgement.certificate is not None
    return report.judgement.numeric.passed, report.judgement.certificate.passed


# ---- chains of one operation over all joints -----------------------------------------------------------------------
def chained(op: Callable[[Tensor, Tensor], Tensor], joints: range) -> Callable[[Net, Tensor, Tensor], Tensor]:
    def way(net: Net, x: Tensor, h: Tensor) -> Tensor:
        whole = h[:, :, joints[0]]
        for joint in joints[1:]:
            whole = op(whole, h[:, :, joint])
        return h + whole[:, :, None].tanh()

    return way


@pytest.mark.one_in(6)
@pytest.mark.parametrize("op", [torch.add, torch.mul, torch.maximum, torch.minimum])
def test_chain_over_all_joints(op: Callable[[Tensor, Tensor], Tensor]) -> None:
    net = Net(chained(op, range(JOINTS)))
    assert residual(net, mirror) < 1e-9
    assert verdicts(net, POSE) == (True, True)


@pytest.mark.one_in(6)
@pytest.mark.parametrize("op", [torch.add, torch.mul, torch.maximum])
def test_chain_that_leaves_a_joint_out(op: Callable[[Tensor, Tensor], Tensor]) -> None:
    net = Net(chained(op, range(JOINTS - 1)))
    assert residual(net, mirror) > 1e-3
    assert verdicts(net, POSE) == (False, False)


def test_chain_of_two_operations() -> None:
    """(a + b) * c is not a product of a, b and c."""

    def way(net: Net, x: Tensor, h: Tensor) -> Tensor:
        return h + ((h[:, :, 1] + h[:, :, 3]) * h[:, :, 2] * h[:, :, 4])[:, :, None]

    net = Net(way)
    assert residual(net, mirror) > 1e-3
    assert verdicts(net, POSE) == (False, False)


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
    assert verdicts(net, POSE) == (True, True)


def test_differences_of_which_one_is_treated_otherwise() -> None:
    net = Net(sided(lambda left, right: ((left - right).relu(), (right - left).tanh())))
    assert residual(net, mirror) > 1e-3
    assert verdicts(net, POSE) == (False, False)


# ---- functions whose rule knows more than that they are neither odd nor even ---------------------------------------
def _zeros_stay(net: Net, x: Tensor, h: Tensor) -> Tensor:
    return h + torch.where(x == 0, x, x / x.norm(dim=-1, keepdim=True))[..., 1:].sum(-1, keepdim=True)


def _about_median(net: Net, x: Tensor, h: Tensor) -> Tensor:
    return h + (x - x.median(2, keepdim=True)[0]).square().sum(-1, keepdim=True)


def _sized(net: Net, x: Tensor, h: Tensor) -> Tensor:
    return h + (torch.copysign(x.norm(dim=-1, keepdim=True), x) * x).sum(-1, keepdim=True)


def _bessel(net: Net, x: Tensor, h: Tensor) -> Tensor:
    return h + (torch.i0(x) + torch.special.i1(x) * x).sum(-1, keepdim=True)


@pytest.mark.one_in(6)
@pytest.mark.parametrize("way", [_zeros_stay, _about_median, _sized, _bessel])
def test_signed_numbers_pass(way: Callable[[Net, Tensor, Tensor], Tensor]) -> None:
    net = Net(way)
    assert residual(net, mirror) < 1e-9
    assert verdicts(net, POSE) == (True, True)


def _lower_median(net: Net, x: Tensor, h: Tensor) -> Tensor:
    return h + (x - x[:, :, :4].median(2, keepdim=True)[0]).square().sum(-1, keepdim=True)


def _one_value(net: Net, x: Tensor, h: Tensor) -> Tensor:
    return h + (x.round() == 1).to(h.dtype).sum(-1, keepdim=True)


@pytest.mark.parametrize("way", [_lower_median, _one_value])
def test_signed_numbers_that_do_not(way: Callable[[Net, Tensor, Tensor], Tensor]) -> None:
    net = Net(way)
    assert residual(net, mirror) > 1e-3
    assert verdicts(net, POSE) == (False, False)


# ---- one number of all joints ----------------------------------------------------------------------------------------
def _counted(net: Net, x: Tensor, h: Tensor) -> Tensor:
    return torch.stack([torch.histc(row, 8, -2.0, 2.0) for row in h.unbind(0)])


def _labelled(net: Net, x: Tensor, h: Tensor) -> Tensor:
    bins = h[..., 0].round().clamp(0, 7).long()
    return torch.bincount(bins.flatten(), x[..., 1].flatten(), 8).expand(len(x), 8)


def _spectrum(net: Net, x: Tensor, h: Tensor) -> Tensor:
    return torch.linalg.svdvals(x).flatten(1)[:, :8]


def _volume(net: Net, x: Tensor, h: Tensor) -> Tensor:
    return torch.linalg.slogdet(x.transpose(2, 3) @ x)[1].sum(1, keepdim=True).expand(-1, 8)


def _sampled(net: Net, x: Tensor, h: Tensor) -> Tensor:
    places = torch.stack(torch.meshgrid(torch.zeros(1).to(x), torch.linspace(-0.8, 0.8, 4).to(x), indexing="xy"), -1)
    picture = h.mean(2).transpose(1, 2)[..., None]
    return nn.functional.grid_sample(picture, places[None].expand(len(x), 4, 1, 2), align_corners=True).mean((2, 3))


@pytest.mark.one_in(8)
@pytest.mark.parametrize("way", [_counted, _labelled, _spectrum, _volume, _sampled])
def test_scores_of_all_joints(way: Callable[[Net, Tensor, Tensor], Tensor]) -> None:
    net = Net(way, scores=8)
    assert residual(net, lambda y: y) < 1e-9
    assert verdicts(net, SCORES) == (True, True)


def test_singular_vectors_are_refused_by_name() -> None:
    net = Net(lambda net, x, h: torch.linalg.svd(x, full_matrices=False)[0].flatten(2)[..., :8].mean(1), scores=8)
    x = torch.randn(2, 3, JOINTS, 3, dtype=torch.float64)
    report = chiralize.verify(net, SCORES, (x,))
    assert not report.passed
    assert report.judgement.certificate is not None
    assert "singular vectors are not determined by the matrix alone" in report.judgement.certificate.broken
