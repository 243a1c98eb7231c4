"""A body with two mirrors, small enough to write both by hand, without a word of the package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

SPEC = """
joints: [FL, FR, RL, RR]
dims: [q]
negate: []
mirrors:
  left_right: {pairs: [[FL, FR], [RL, RR]], signs: {FL: [-1], FR: [-1], RL: [-1], RR: [-1]}, lateral: y}
  front_back: {pairs: [[FL, RL], [FR, RR]], lateral: x}
inputs: [{fields: [{vector: velocity}, {axial: spin}, {joints: q}]}]
outputs: [{fields: [{joints: action}]}]
"""
SIZE = 10
_SIGNS = {"left_right": [1, -1, 1, -1, 1, -1, -1, -1, -1, -1], "front_back": [-1, 1, 1, 1, -1, -1, 1, 1, 1, 1]}
_SWAPS = {"left_right": [1, 0, 3, 2], "front_back": [2, 3, 0, 1]}


def turned_input(x: Tensor, name: str) -> Tensor:
    """T of a row of observations."""
    order = [*range(6), *(6 + joint for joint in _SWAPS[name])]
    return x[..., order] * torch.tensor(_SIGNS[name], dtype=x.dtype)


def turned_output(y: Tensor, name: str) -> Tensor:
    """T of a row of actions."""
    return y[..., _SWAPS[name]] * torch.tensor(_SIGNS[name][6:], dtype=y.dtype)


def residuals(model: Callable[[Tensor], Tensor], rows: int = 64) -> list[float]:
    """max |F(Tx) - T F(x)| under each mirror, and under both, over the size of the answers."""
    x = torch.randn(rows, SIZE, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    with torch.no_grad():
        y = model(x)
        off = []
        for names in (["left_right"], ["front_back"], ["left_right", "front_back"]):
            into, out = x, y
            for name in names:
                into, out = turned_input(into, name), turned_output(out, name)
            off.append(float((model(into) - out).abs().max() / y.abs().max()))
    return off


def average(model: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The mean over all four views."""
    total = model(x)
    for names in (["left_right"], ["front_back"], ["left_right", "front_back"]):
        into = x
        for name in names:
            into = turned_input(into, name)
        answer = model(into)
        for name in names:
            answer = turned_output(answer, name)
        total = total + answer
    return total / 4


def policy(seed: int = 0, hidden: int = 16) -> nn.Sequential:
    """A network that learned the body's symmetry less than perfectly."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Linear(SIZE, hidden), nn.ELU(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 4)
    )
    network = network.double()
    teacher: Any = nn.Sequential(nn.Linear(SIZE, 32), nn.Tanh(), nn.Linear(32, 4)).double()
    x = torch.randn(512, SIZE, dtype=torch.float64)
    with torch.no_grad():
        y = average(teacher, x)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(120):
        loss = (network(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()
