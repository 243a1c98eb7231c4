"""Whether a network was trained is read off its weights: no mirror is refuted by one that was not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from chiralize.verification.evidence.distributions import dependence
from chiralize.verification.evidence.training import is_untrained

Initialise = Callable[[torch.Tensor], object]


def drawn_by(weights: Initialise | None, head: float = 1.0, keep_biases: bool = False) -> nn.Sequential:
    """A policy as reinforcement learners build them.  weights: None for PyTorch's own initialisation."""
    network = nn.Sequential(nn.Linear(27, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 8))
    for layer in network:
        if isinstance(layer, nn.Linear) and weights is not None:
            weights(layer.weight)
            if not keep_biases:
                nn.init.zeros_(layer.bias)
    with torch.no_grad():
        network[-1].weight *= head
    return network


def with_tiny_biases() -> nn.Module:
    """As vision transformers are initialised."""
    network = drawn_by(nn.init.xavier_uniform_)
    for layer in network[::2]:
        nn.init.normal_(layer.bias, std=1e-6)
    return network


def as_ddpg() -> nn.Module:
    """The last layer, and its bias, small."""
    network = drawn_by(None)
    for weight in network[-1].parameters():
        nn.init.uniform_(weight, -3e-3, 3e-3)
    return network


INITIAL: dict[str, Callable[[], nn.Module]] = {
    "PyTorch's": lambda: drawn_by(None),
    "orthogonal, head 0.01": lambda: drawn_by(lambda weight: nn.init.orthogonal_(weight, 2**0.5), head=0.01),
    "orthogonal, biases as they were": lambda: drawn_by(nn.init.orthogonal_, keep_biases=True),
    "Xavier, uniform": lambda: drawn_by(nn.init.xavier_uniform_),
    "Xavier, normal": lambda: drawn_by(nn.init.xavier_normal_),
    "Kaiming, normal": lambda: drawn_by(lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu")),
    "normal, cut off": lambda: drawn_by(lambda weight: nn.init.trunc_normal_(weight, std=0.02)),
    "tiny biases": with_tiny_biases,
    "DDPG's": as_ddpg,
    "LSTM": lambda: nn.LSTM(27, 64),
    "transformer": lambda: nn.TransformerEncoderLayer(64, 4, 128),
    "convolutions": lambda: nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.Conv2d(16, 32, 3, groups=16)),
    "embedding": lambda: nn.Sequential(nn.Embedding(100, 32, padding_idx=0), nn.Linear(32, 8)),
}


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", INITIAL)
def test_what_an_initialisation_leaves_is_untrained(name: str) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        assert is_untrained(INITIAL[name]()), seed


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", ["PyTorch's", "orthogonal, head 0.01", "Xavier, normal"])
def test_a_hundred_small_steps_are_seen(name: str) -> None:
    """At the rate that PPO is trained with; before, half of those that had been orthogonal passed for untrained."""
    torch.manual_seed(1)
    network, teacher = INITIAL[name](), drawn_by(None)
    optimizer = torch.optim.Adam(network.parameters(), 3e-4)
    for _ in range(100):
        x = torch.randn(32, 27)
        optimizer.zero_grad()
        (network(x) - teacher(x).detach()).square().mean().backward()
        optimizer.step()
    assert not is_untrained(network)


def test_a_matrix_that_was_orthogonal_and_is_moved_a_little_is_neither_orthogonal_nor_drawn() -> None:
    """Its entries still have the histogram of a normal distribution with a spread that is in use."""
    torch.manual_seed(0)
    network = drawn_by(nn.init.orthogonal_)
    with torch.no_grad():
        network[2].weight += 0.01 * torch.randn(64, 64)
    assert not is_untrained(network)
    assert dependence(network[2].weight.detach().double()) < -20


def test_one_layer_that_was_trained_on_is_enough() -> None:
    torch.manual_seed(0)
    network = drawn_by(nn.init.xavier_normal_)
    with torch.no_grad():
        network[2].weight += 0.1 * torch.outer(torch.randn(64), torch.randn(64))
    assert not is_untrained(network)
    network = drawn_by(nn.init.xavier_normal_)
    with torch.no_grad():
        network[-1].bias += torch.linspace(-0.9, 0.9, 8)  # more than any initialisation reaches
    assert not is_untrained(network)


@pytest.mark.parametrize("shape", [(2, 40), (3, 12), (8, 64), (64, 27)])
def test_independent_entries_have_no_dependence(shape: tuple[int, int]) -> None:
    """A standard normal number; uniform entries lie half a deviation below, since their squares vary less."""
    torch.manual_seed(0)
    for draw in (torch.randn, torch.rand):
        figures = torch.tensor(
            [dependence(draw(shape, dtype=torch.float64) - 0.5 * (draw is torch.rand)) for _ in range(40)]
        )
        assert -1.0 < float(figures.mean()) < 0.4
        assert 0.7 < float(figures.std()) < 1.3
    assert dependence(torch.randn(1, 40).double()) == dependence(torch.zeros(4, 4).double()) == 0.0
