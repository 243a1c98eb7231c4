"""Networks that draw random numbers are refused; the same numbers as an argument are an input like any other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.errors import NoRuleError

SPEC = {
    "joints": ["hip", "l_arm", "l_leg", "r_arm", "r_leg", "head"],
    "pairs": [["l_arm", "r_arm"], ["l_leg", "r_leg"]],
    "dims": ["x", "y"],
    "inputs": [{"layout": "b j d"}],
    "outputs": [{"layout": "b j d"}],
}


class Noisy(nn.Module):
    """A small network that adds noise to the pose and drops its residual path for some samples, in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 12))

    def compute(self, x: Tensor, noise: Tensor, drops: Tensor) -> Tensor:
        x = x + 0.1 * noise
        return x + drops.view(-1, 1, 1) * self.body(x.flatten(1)).view(-1, 6, 2)


class Drawing(Noisy):
    def forward(self, x: Tensor) -> Tensor:
        return self.compute(x, torch.randn_like(x), torch.rand(len(x), 1).round())


class Given(Noisy):
    def forward(self, x: Tensor, noise: Tensor, drops: Tensor) -> Tensor:
        return self.compute(x, noise, drops)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("method", ["auto", "average", "match"])
def test_a_network_that_draws_is_refused(method: str) -> None:
    with pytest.raises(NoRuleError, match="draws random numbers") as caught:
        chiralize.chiralize(Drawing(), SPEC, torch.randn(2, 6, 2), method=method)
    assert "the mirror of x needs the mirror of the noise, which a seed does not give" in str(caught.value)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("method", ["average", "match"])
def test_numbers_as_arguments_are_mirrored(method: str) -> None:
    inputs = [{"layout": "b j d"}, {"layout": "b j d"}, {"free": True}]
    spec = {**SPEC, "inputs": inputs}
    x, noise = torch.randn(2, 2, 6, 2, dtype=torch.float64)
    drops = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    chiral = chiralize.chiralize(Given().double().eval(), spec, (x, noise, drops), method=method)
    image, signs = torch.tensor([0, 3, 4, 1, 2, 5]), torch.tensor([-1.0, 1.0], dtype=torch.float64)
    mirrored = chiral(x[:, image] * signs, noise[:, image] * signs, drops)
    torch.testing.assert_close(mirrored, chiral(x, noise, drops)[:, image] * signs, rtol=0, atol=1e-12)
