"""Networks that hold their own `forward`: what comes back does what was converted."""

from __future__ import annotations

import types

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from tests.support.command import library_warnings
from tests.support.small_body import POSE, normal, trained, turned


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.other = nn.Linear(12, 16), nn.Linear(16, 12), nn.Linear(16, 12)

    def single(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x.flatten(1)))).unflatten(1, (6, 2))

    def second(self, x: Tensor) -> Tensor:
        return self.other(torch.tanh(self.first(x.flatten(1)))).unflatten(1, (6, 2))


class WithClass(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(x)


def chosen(kind: type[Base]) -> nn.Module:
    net = kind()
    net.forward = net.single
    return trained(net)


def patched() -> nn.Module:
    net = trained(WithClass())
    net.forward = types.MethodType(Base.single, net)
    return net


def compiled() -> nn.Module:
    with library_warnings():
        return torch.compile(trained(WithClass()))  # type: ignore[return-value]


NETWORKS = {
    "chosen in place of the class's": lambda: chosen(WithClass), "the only one": lambda: chosen(Base),
    "patched": patched, "compiled": compiled,
}  # fmt: skip


@pytest.mark.one_in(12)
@pytest.mark.parametrize(
    ("name", "method"),
    [
        *((name, "match") for name in NETWORKS),
        ("the only one", "reduce"),
        ("patched", "average"),
        ("compiled", "project"),
    ],
)
def test_the_result_is_what_was_judged(name: str, method: str) -> None:
    """Near the mean of both views, as rho says, and equivariant, judged from outside."""
    net, x = NETWORKS[name](), normal(200, 6, 2, seed=1)
    data = normal(400, 6, 2)
    found = chiralize.chiralize(
        net, parse_spec(POSE), (data[:1],), method=method, width=1.0 if method == "reduce" else None,
        calibration=data, rounds=0, samples=1, force=True,
    )  # fmt: skip
    torch.testing.assert_close(found(turned(x)), turned(found(x)), rtol=0, atol=1e-9)
    mean = (net(x) + turned(net(turned(x)))) / 2
    gap = (net(x) - turned(net(turned(x)))).square().mean().sqrt() / 2
    rho = float((found(x) - mean).square().mean().sqrt().detach() / gap.detach())
    report = found.chirality.report
    assert report.drift is None or rho == pytest.approx(report.drift.rho, rel=0.3, abs=1e-6)


def test_a_compiled_network_comes_back_as_what_was_compiled() -> None:
    found = chiralize.chiralize(compiled(), parse_spec(POSE), (normal(1, 6, 2),), method="match", samples=1)
    assert type(found) is WithClass and "first.weight" in found.state_dict()


def test_another_entry_leaves_forward_alone() -> None:
    net, x = chosen(Base), normal(5, 6, 2)
    found = chiralize.chiralize(net, parse_spec(POSE), (x[:1],), method="match", entry="second", samples=1)
    torch.testing.assert_close(found.second(turned(x)), turned(found.second(x)), rtol=0, atol=1e-9)
    assert torch.equal(found(x), found.single(x))
