"""What is aimed at: the mean of both views, where inputs and network show both sides; else the answers as they are."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from chiralize.commands import convert as command
from chiralize.commands.convert import Conversion, Request, convert
from chiralize.graph.running import Call
from chiralize.methods.refine.ready import aim_of
from chiralize.methods.targets import aimed
from tests.methods.test_reduce_trained import learnt, poses, ready, rho, seen
from tests.support.problems import posed
from tests.support.reduce_nets import Residual, subject_of
from tests.support.small_body import turned


def calls(x: Tensor) -> tuple[Call, ...]:
    return tuple(((part,), {}) for part in x.double().split(32))


def one_sided(count: int) -> Tensor:
    """Poses of bodies that all face one way."""
    lean = torch.randn(6, 2, generator=torch.Generator().manual_seed(2))
    return poses(count, 21) + 0.5 * (lean - turned(lean[None])[0])


class Averaged(nn.Module):
    """The flip average of a network: it knows both sides, wherever the inputs are."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + turned(self.net(turned(x)))


def test_both_views() -> None:
    found = aimed(posed(ready(), Request("reduce", calibration=seen())))
    assert found.both_views and not found.batches.remarks


@pytest.mark.one_in(2)
@pytest.mark.parametrize("method", ["auto", "match", "reduce", "project"])
def test_people_who_face_one_side(method: str) -> None:
    """How often T x occurs is what the raw answers weigh T f(T x) with."""
    options = Request(method, calibration=calls(one_sided(640)), distill=5)
    found = aimed(posed(subject_of(Averaged(learnt()), (6, 2), 32), options))
    assert not found.both_views
    (remark,) = found.batches.remarks
    assert remark.startswith("fitted to the answers to unmirrored inputs alone: ")
    assert "% of the inputs can be told from mirrored ones (50 % is symmetric). If it knows both sides, " in remark
    assert "walks from mirrored starts, as `--rollout` records them, are none" in remark


class OneSided(nn.Module):
    """Answers by the mean where a product of coordinates has one sign; no direction of the inputs tells that."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 + 0.3 * torch.sign(_side(x))[:, None, None])


def _side(x: Tensor) -> Tensor:
    """Negated by the mirror; both factors are symmetric about 0."""
    return (x - turned(x))[:, 1, 0] * x[:, 5, 1]


def test_a_network_that_knows_one_side() -> None:
    """In inputs that no direction tells from mirrored ones."""
    x = poses(4000, 4)
    x = x[_side(x) > 0][:1280]
    network = subject_of(OneSided().double(), (6, 2), 32)
    found = aimed(posed(network, Request("reduce", calibration=calls(x))))
    assert not found.both_views
    (remark,) = found.batches.remarks
    assert re.search(
        r": the original knows one side better \(gap 0\.\d+; its answers to .* spread 4\d\.\d% less\)\. With the",
        remark,
    )
    both = torch.cat([x, turned(x)])[torch.randperm(2 * len(x))]
    assert aimed(posed(network, Request("reduce", calibration=calls(both)))).both_views  # ... where both sides occur


def test_a_network_that_learnt_little() -> None:
    """Its two sides are far apart by noise, which the flip average takes out."""
    torch.manual_seed(0)
    found = aimed(posed(subject_of(Residual(16).double().eval(), (6, 2), 32), Request("reduce", calibration=seen())))
    assert found.both_views and not found.batches.remarks


@pytest.mark.parametrize("options", [Request("average", calibration=seen()), Request("project"), Request("reduce")])
def test_nothing_is_fitted(options: Request) -> None:
    problem = posed(ready(), options)
    assert aimed(problem) is problem


def reduced(samples: tuple[Call, ...], patch: pytest.MonkeyPatch | None = None) -> Conversion:
    """At ½; patch: to the raw answers, whatever the inputs are."""
    if patch is not None:
        patch.setattr(command, "aimed", lambda problem, is_tried: problem)
    return convert(ready(), "net", Request("reduce", width=0.5, samples=1, rounds=0, calibration=samples))


@pytest.mark.thorough
def test_the_same_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every input comes with its mirror image, raw answers and the mean of both views give the same weights."""
    monkeypatch.setattr(command, "with_scattered", lambda problem: problem)
    x = poses(640, 4).double().split(16)
    closed = tuple(((torch.cat([part, turned(part)]),), {}) for part in x)
    one, other = reduced(closed).module.state_dict(), reduced(closed, monkeypatch).module.state_dict()
    for name, own in one.items():
        torch.testing.assert_close(own, other[name], rtol=0, atol=1e-8 * float(own.abs().max()), msg=name)


@pytest.mark.thorough
def test_nearer_with_few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is lopsided in the original is noise that few samples do not average away."""
    few = calls(poses(320, 21))
    assert rho(reduced(few)) < 0.95 * rho(reduced(few, monkeypatch))


def test_what_distilling_aims_at() -> None:
    x = poses(8, 1).double()
    with torch.no_grad():
        raw, both = (aim_of(replace(posed(ready(), Request()), both_views=on))(((x,), {}))[0] for on in (False, True))
        assert torch.equal(raw, learnt()(x))
        torch.testing.assert_close(both, (raw + turned(learnt()(turned(x)))) / 2, rtol=0, atol=1e-12)
