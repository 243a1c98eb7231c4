"""A body of six joints for small networks; its T is written with torch alone, nothing of chiralize judges here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from chiralize.body.spec import parse_spec
from chiralize.infer.hidden.match import FromWeights
from chiralize.methods.match import projected
from chiralize.problem.network import Network
from chiralize.problem.prepare import prepare
from chiralize.storage.passport import Passport
from chiralize.verification.judge import judge
from chiralize.verification.verdicts import Trial, Verdict
from tests.support.zoo.case import scrambled

BODY = """\
joints: [hip, l_arm, l_leg, r_arm, r_leg, head]
pairs: [[l_arm, r_arm], [l_leg, r_leg]]
dims: [x, y]
"""
POSE = BODY + 'inputs: [{layout: "b j d"}]\noutputs: [{layout: "b j d"}]\n'
CLIP = BODY + 'inputs: [{layout: "b t j d"}]\noutputs: [{layout: "b t j d"}]\n'
IMAGE = (0, 3, 4, 1, 2, 5)  # which joint every joint becomes
ROUNDING = 1e-9


class Net(nn.Module):
    """Parts, and a function that puts them together."""

    def __init__(self, compute: Callable[[Any, Tensor], Any], **parts: Any) -> None:
        super().__init__()
        self.compute = compute
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        return self.compute(self, x)


def trained(net: nn.Module, seed: int = 0) -> nn.Module:
    """The network in float64 with random weights and statistics."""
    return scrambled(net.double(), seed).eval()


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def turned(x: Tensor) -> Tensor:
    """T on "... joint coord"."""
    return x[..., list(IMAGE), :] * torch.tensor([-1.0, 1.0], dtype=x.dtype)


def residual(net: nn.Module, shape: Sequence[int], turn: Callable[[Tensor], Tensor] = turned) -> float:
    """max |F(T x) - T F(x)| over max |F(x)|."""
    x = normal(*shape, seed=5)
    with torch.no_grad():
        plain, there = net(x), net(turned(x))
    assert plain.isfinite().all() and plain.abs().max() > 0
    return float((there - turn(plain)).abs().max() / plain.abs().max())


def prepared(net: nn.Module, spec: str = POSE, x: Tensor | None = None) -> Network:
    return prepare(net, (normal(3, 6, 2) if x is None else x,), None, parse_spec(spec))


def verdict_on(
    net: nn.Module, spec: str = POSE, x: Tensor | None = None, passport: Passport | None = None, samples: int = 3
) -> Verdict:
    """Both verdicts on a network as it stands."""
    return judge(prepared(net, spec, x), passport, trial=Trial(samples=samples))


def symmetric(net: nn.Module, spec: str = POSE, x: Tensor | None = None) -> tuple[nn.Module, Passport]:
    """The network with the nearest symmetric weights, partners by similarity, and what is claimed of them."""
    network = prepared(net, spec, x)
    draft = projected(network, "match", FromWeights(network.graph()))
    passport = Passport(network.spec, "match", "folded", draft.action.hidden, draft.action.exchanged)
    return draft.module, passport
