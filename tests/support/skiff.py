"""A small boat with two oars that is steered along a line, in plain Python: what it does can be computed by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Array = npt.NDArray[np.float64]
SPEC = """
joints: [left_oar, right_oar]
pairs: [[left_oar, right_oar]]
dims: [q]
negate: []
inputs: [{layout: b f, fields: [{signs: [-1], name: offset}, {signs: [-1], name: heading}, {scalar: 1, name: speed}]}]
outputs: [{layout: "b (j d)"}]
"""
WRONG = SPEC.replace("{signs: [-1], name: heading}", "{signs: [1], name: heading}")
"""Leaves the heading as it is."""


@dataclass(frozen=True)
class Water:
    """What may be wrong with the environment.

    right: how much stronger the right oar is.  slant: what the reward has of the offset itself.  spin: of turning, to
    either side.  noise: of the heading.
    edge: offset at which an episode ends.  same: whether every start is the same.
    """

    right: float = 1.0
    slant: float = 0.0
    spin: float = 0.0
    noise: float = 0.0
    edge: float = 5.0
    same: bool = False


class Skiff(gymnasium.Env[Array, Array]):
    """offset, heading and speed are seen; the oars turn it and drive it; being near the line is rewarded."""

    def __init__(self, water: Water = Water()) -> None:
        self.water = water
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float64)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float64)
        self.state = np.zeros(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = start(0 if self.water.same else seed or 0)
        return self.state.copy(), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        self.state, reward = step(self.state, action, self.water)
        self.state[1] += self.water.noise * np.random.default_rng().standard_normal()
        return self.state.copy(), reward, bool(abs(self.state[0]) > self.water.edge), False, {}


class Mirrored(Skiff):
    """The same, which begins at mirror images of its starts when it is asked to."""

    def mirrored_reset(self, *, seed: int) -> tuple[Array, dict[str, Any]]:
        self.reset(seed=seed)
        self.state = self.state * [-1.0, -1.0, 1.0]
        return self.state.copy(), {}


def start(seed: int) -> Array:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, 3)


def step(state: Array, action: Array, water: Water) -> tuple[Array, float]:
    """The next state and the reward."""
    left, right = np.clip(action, -1.0, 1.0) * [1.0, water.right]
    offset, heading, speed = state
    speed = 0.9 * speed + 0.1 * (left + right)
    heading = heading + 0.2 * (right - left)
    offset = offset + 0.2 * speed * np.sin(heading)
    return np.array([offset, heading, speed]), float(
        1.0 - abs(offset) + water.slant * offset + water.spin * abs(right - left)
    )


class Rower(nn.Module):
    """A policy that steers towards the line, and pulls the left oar harder than the right by `bias`."""

    def __init__(self, bias: float = 0.0) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2).double()
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[0.3, 0.4, -0.1], [-0.3, -0.4, -0.1]], dtype=torch.float64))
            self.layer.bias.copy_(torch.tensor([0.5 + bias, 0.5], dtype=torch.float64))

    def forward(self, seen: Tensor) -> Tensor:
        return self.layer(seen)


class Counting(nn.Module):
    """A policy that pulls harder with every call, as its state says."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.inner = Rower(0.2)
        self.register_buffer("calls", torch.zeros(1, 2, dtype=torch.float64))

    def forward(self, seen: Tensor) -> Tensor:
        answer = self.inner(seen) + 0.02 * self.calls
        self.calls.add_(1.0)
        return answer


EXAMPLE = torch.zeros(1, 3, dtype=torch.float64)
