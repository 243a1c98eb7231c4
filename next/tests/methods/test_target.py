"""What is aimed at: the mean of both views, where inputs and network show both sides; else the answers as they are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.spec import parse_spec
from chiralize.methods import method_of
from chiralize.methods.target import Target, aimed
from chiralize.problem.checks import with_inputs
from chiralize.problem.prepare import prepare
from chiralize.problem.problem import Problem
from chiralize.problem.request import Request
from tests.support.small_body import POSE, normal, trained, turned


def problem_of(net: nn.Module, data: Tensor, target: str | None = None) -> Problem:
    network = prepare(net.double().eval(), (data[:2].clone(),), None, parse_spec(POSE))
    return with_inputs(Problem(network, Request(method="reduce", data=data, target=target), method_of("reduce")))


def poses(count: int, seed: int) -> Tensor:
    """Bodies that face anywhere."""
    return normal(count, 6, 2, seed=seed)


class Averaged(nn.Module):
    """The flip average of a network: it knows both sides, wherever the inputs are."""

    def __init__(self) -> None:
        super().__init__()
        self.net = trained(nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 12)))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).view(x.shape) + turned(self.net(turned(x)).view(x.shape))


class OneSided(nn.Module):
    """Answers by the mean where a product of coordinates has one sign; no direction of the inputs tells that."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 + 0.3 * torch.sign(_side(x))[:, None, None])


def _side(x: Tensor) -> Tensor:
    """Negated by the mirror; both factors are symmetric about 0."""
    return (x - turned(x))[:, 1, 0] * x[:, 5, 1]


def test_both_views() -> None:
    assert aimed(problem_of(Averaged(), poses(640, 4))) == (Target.VIEWS, ())


def test_people_who_face_one_side() -> None:
    """How often T x occurs is what the raw answers weigh T f(T x) with."""
    lean = normal(1, 6, 2, seed=2)
    data = poses(640, 21) * 0.5 + 2 * (lean - turned(lean))
    target, (finding,) = aimed(problem_of(Averaged(), data))
    assert target is Target.ANSWERS and finding.topic == "sides"


def test_a_network_that_knows_one_side() -> None:
    """In inputs that no direction tells from mirrored ones; where both sides occur, the mean is aimed at."""
    x = poses(4000, 4)
    x = x[_side(x) > 0][:1280]
    target, (finding,) = aimed(problem_of(OneSided(), x))
    assert target is Target.ANSWERS and finding.topic == "sides"
    both = torch.cat([x[:640], turned(x[640:])])[torch.randperm(1280)]
    assert aimed(problem_of(OneSided(), both))[0] is Target.VIEWS


def test_a_network_that_learnt_little() -> None:
    """Its two sides are far apart by noise, which the flip average takes out."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 12), nn.Unflatten(1, (6, 2)))
    assert aimed(problem_of(net, poses(640, 3)))[0] is Target.VIEWS


@pytest.mark.parametrize("target", ["views", "answers"])
def test_what_the_user_says(target: str) -> None:
    assert aimed(problem_of(OneSided(), poses(200, 1), target)) == (Target(target), ())
