"""Inputs in another unit than the network's: answers hint at it, where nothing in the network tells its unit."""

from __future__ import annotations

import warnings
from functools import cache

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import ChiralizeError
from chiralize.problem.data import units
from chiralize.problem.data.units import QUESTION, unit_in_question
from chiralize.problem.network import Network
from chiralize.problem.partial import prepare
from tests.support.small_body import BODY, POSE


class Lifter(nn.Module):
    """Two hidden layers on inputs of spread 1, as a network in metres; weights and biases of their size."""

    def __init__(self, activation: type[nn.Module] = nn.ReLU, norm: bool = False, bias: float = 0.5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.last = nn.Linear(12, 24), nn.Linear(24, 24), nn.Linear(24, 12)
        self.norm = nn.LayerNorm(24) if norm else nn.Identity()
        self.act = activation()
        for layer in (self.first, self.second, self.last):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.normal_(layer.bias, std=bias)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.act(self.norm(self.first(x.flatten(1))))
        return self.last(self.act(self.second(hidden))).view_as(x)


class Residual(Lifter):
    """Adds to its input, as a forecaster to the last frame."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x) / 4


class Scaled(Lifter):
    """Takes the scale out of its input first."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x / x.flatten(1).norm(dim=1)[:, None, None] * 3)


NETS = {
    "ReLU": Lifter(),
    "tanh": Lifter(nn.Tanh),
    "ELU": Lifter(nn.ELU),
    "layer norm": Lifter(norm=True),
    "residual ReLU": Residual(),
    "residual tanh": Residual(nn.Tanh),
}
TELL_NOTHING = {
    "linear": Lifter(nn.Identity),
    "without biases": Lifter(bias=0.0),
    "scale taken out": Scaled(),
}


@cache
def ready(name: str) -> Network:
    """Made ready once: it is asked about inputs of many units."""
    return prepare((NETS | TELL_NOTHING)[name].eval(), parse_spec(POSE), torch.ones(2, 6, 2))


def question(name: str, unit: float) -> str:
    x = torch.randn(64, 6, 2, generator=torch.Generator().manual_seed(1)) * unit
    return unit_in_question(ready(name), [((rows,), {}) for rows in x.split(16)])


@pytest.mark.parametrize("name", NETS)
def test_inputs_a_thousand_times_too_large_or_small(name: str) -> None:
    for unit in (0.3, 1.0, 3.0):
        assert not question(name, unit)
    large, small = question(name, 1e3), question(name, 1e-3)
    saturates = name in ("tanh", "layer norm", "residual tanh")
    assert large.startswith(f"warning: {QUESTION}: ")
    assert ("its units saturate on them" if saturates else "they are so large that its biases have no say") in large
    assert "they are so small that the answers stay within" in small
    for text in (large, small):
        assert "Nothing in the network tells its unit: check that they are in that of its training" in text


@pytest.mark.parametrize("name", TELL_NOTHING)
def test_networks_that_cannot_tell_are_not_asked_for_a_unit(name: str) -> None:
    for unit in (1e-3, 1.0, 1e3):
        assert not question(name, unit)


def test_pictures_have_no_unit_to_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What saturates on them may be a score. Planted: were they asked for, there would be a question."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 4 * 5, 2), nn.Tanh())
    spec = BODY + "inputs: ['b c h ~w']\noutputs: [{invariant: true}]\n"
    pictures = 1e4 * torch.rand(64, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    network = prepare(net.eval(), parse_spec(spec), pictures[:2])
    calls = [((pictures[row : row + 2],), {}) for row in range(0, 64, 2)]
    assert not unit_in_question(network, calls)
    monkeypatch.setattr(units, "are_pictures", lambda resolved: False)
    assert "saturate" in unit_in_question(network, calls)


@pytest.mark.parametrize("method", [pytest.param("match", marks=pytest.mark.thorough), "average"])
def test_the_report_opens_with_it(method: str) -> None:
    net, x = Lifter(), torch.randn(600, 6, 2, generator=torch.Generator().manual_seed(1))
    for unit, asked in ((1.0, False), (1e3, True)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            converted = chiralize.chiralize(
                net, parse_spec(POSE), x[:2], calibration=x * unit, method=method, force=True
            )
        report = chiralize.chirality(converted)
        assert (QUESTION in str(report)) == asked, str(report)


def test_a_side_that_another_unit_may_explain_is_not_blamed_on_the_network() -> None:
    """`auto` stops for a wide gap; the reason that it gives is the question, and `audit` has it, too."""
    torch.manual_seed(2)
    x = (torch.randn(600, 3) @ torch.randn(3, 12)).unflatten(1, (6, 2))
    net = Lifter()
    with pytest.raises(ChiralizeError) as refused:
        chiralize.chiralize(net, parse_spec(POSE), x[:2], calibration=x * 1e3)
    assert QUESTION in str(refused.value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for unit, asked in ((1.0, False), (1e3, True)):
            report = chiralize.audit(net, parse_spec(POSE), x[:2], calibration=x * unit)
            assert (QUESTION in str(report)) == asked
