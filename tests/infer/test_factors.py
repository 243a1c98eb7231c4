"""Products of a value whose signs nobody has told yet: whoever reads it, or the product, may tell."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.support.small_body import CLIP, POSE, ROUNDING, Net, converted, residual, trained, verdicts

Function = Callable[[Net, Tensor], Tensor]


def spread(x: Tensor) -> Tensor:
    """A size of every coordinate, which the mirror moves and does not negate."""
    return (x * x + 0.1).sqrt()


def hidden(s: Net, x: Tensor) -> Tensor:
    return s.last(s.first(x.flatten(1)).relu()).view(x.shape)


def by_frames(s: Net, x: Tensor) -> Tensor:
    """Coordinates in units of their own spread over the frames, and back (as RevIN does)."""
    mean, size = x.mean(1, keepdim=True), (x.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    return hidden(s, (x - mean) / size) * size + mean


POSES: dict[str, Function] = {
    "spread behind": lambda s, x: hidden(s, x) * spread(x),
    "spread before": lambda s, x: spread(x) * hidden(s, x),
    "and moved": lambda s, x: hidden(s, x) * spread(x) + x,
    "divided": lambda s, x: hidden(s, x) / spread(x),
    "a gate": lambda s, x: x * torch.tanh(hidden(s, x)).abs(),
    "an odd factor": lambda s, x: spread(x) * torch.tanh(hidden(s, x)) * 0.5 + x,
    "signs that cancel": lambda s, x: s.end((x * hidden(s, x)).flatten(1)).view(x.shape),
}


@pytest.mark.one_in(12)
@pytest.mark.parametrize("method", ["project", "match"])
@pytest.mark.parametrize("name", POSES)
def test_factors(name: str, method: str) -> None:
    layers = {"first": nn.Linear(12, 16), "last": nn.Linear(16, 12), "end": nn.Linear(12, 12)}
    own = converted(trained(Net(POSES[name], **layers)), method=method)
    assert own.chirality.report.judgement.certificate.passed and residual(own, (3, 6, 2)) < ROUNDING


def test_normalised_and_back() -> None:
    shape = (2, 4, 6, 2)
    net = trained(Net(by_frames, first=nn.Linear(48, 16), last=nn.Linear(16, 48)))
    own = converted(net, CLIP, shape)
    assert residual(net, shape) > 1e-3 and residual(own, shape) < ROUNDING
    with torch.no_grad():
        own.last.weight[2] *= 1 + 1e-3
    assert verdicts(own, shape, CLIP)[:2] == (False, False)


def test_nobody_tells() -> None:
    """Beside a constant that the mirror leaves alone, and read by what takes any signs: none are taken."""

    def compute(s: Net, x: Tensor) -> Tensor:
        return s.last(torch.tanh(s.first(x.flatten(1)) * s.scale)).view(x.shape)

    parts = {"first": nn.Linear(12, 4), "last": nn.Linear(4, 12), "scale": torch.tensor([2.0, 1.0, 1.0, 2.0]).double()}
    own = converted(trained(Net(compute, **parts)), POSE)
    assert residual(own, (3, 6, 2)) < ROUNDING
