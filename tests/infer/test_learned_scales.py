"""Factors that no specification describes, on outputs with signs: those stay with what comes from the inputs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.support.small_body import ROUNDING, Net, converted, normal, residual, trained, verdicts

RUNS: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "scale": lambda s, y: y * s.scale,
    "scale, first": lambda s, y: s.scale.view(1, 1, -1) * y,
    "per joint and coordinate": lambda s, y: s.each * y,
    "units of the data": lambda s, y: y * s.std + s.mean,
    "scaled bias": lambda s, y: y + s.scale * s.shift,
    "scaled weight": lambda s, y: y @ (s.turn * s.scale),
    "squares over a learned spread": lambda s, y: y * (y.square() * s.scale.exp()).sum(-1, keepdim=True),
    "two views of the input": lambda s, y: y * s.other(y.tanh()),
}


def scaled(run: Callable[[Net, Tensor], Tensor]) -> nn.Module:
    """An MLP per joint, then some product."""
    parts = {
        "first": nn.Linear(2, 16), "last": nn.Linear(16, 2), "other": nn.Linear(2, 2),
        "scale": nn.Parameter(torch.ones(2)), "shift": nn.Parameter(torch.ones(2)),
        "each": nn.Parameter(torch.ones(6, 2)), "turn": nn.Parameter(torch.eye(2)),
        "std": torch.ones(2), "mean": torch.zeros(2),
    }  # fmt: skip
    return trained(Net(lambda s, x: run(s, s.last(s.first(x).tanh())), **parts))


@pytest.mark.one_in(24)
@pytest.mark.parametrize("method", ["match", "project"])
@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_a_factor_leaves_the_signs_to_the_other(run: Callable[[Net, Tensor], Tensor], method: str) -> None:
    found = converted(scaled(run), method=method)
    assert residual(found, (3, 6, 2)) <= ROUNDING
    assert verdicts(found)[:2] == (True, True)
    x = normal(64, 6, 2)
    with torch.no_grad():
        assert (found(x)[..., 0].std(0) > 0).all(), "x coordinates have become constant"


class Modulated(nn.Module):
    """A graph convolution with two weights in one tensor, and a factor for every joint and channel."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weights, self.bias = nn.Parameter(torch.ones(2, n_in, n_out)), nn.Parameter(torch.ones(n_out))
        self.graph, self.factors = nn.Parameter(torch.ones(6, 6)), nn.Parameter(torch.ones(6, n_out))

    def forward(self, x: Tensor) -> Tensor:
        own, others = self.factors * (x @ self.weights[0]), self.factors * (x @ self.weights[1])
        return own + self.graph @ others + self.bias.view(1, 1, -1)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("method", ["match", "project"])
def test_what_readers_say_of_a_value_whose_rule_waits_is_kept(method: str) -> None:
    found = converted(trained(nn.Sequential(Modulated(2, 16), nn.ReLU(), Modulated(16, 2))), method=method)
    assert residual(found, (3, 6, 2)) <= ROUNDING
    assert verdicts(found)[:2] == (True, True)
