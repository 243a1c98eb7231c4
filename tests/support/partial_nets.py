"""Policies with a handed arm beside legs, and others in which the two cannot be told apart."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from chiralize.body.tensors import ConversionSpec, load_spec

LEGS, ARM, WIDTH = 4, 3, 12
INPUTS = LEGS + ARM
ROBOT = {
    "joints": ["left_hip", "left_knee", "right_hip", "right_knee"],
    "pairs": [["left_hip", "right_hip"], ["left_knee", "right_knee"]],
    "dims": ["q"],
    "negate": [],
    "signs": {"left_hip": [-1], "right_hip": [-1]},
    "lateral": "y",
}


def spec_of(*outputs: Mapping[str, object]) -> ConversionSpec:
    """The robot with these blocks of output; by default its legs, and an arm of which nothing is claimed."""
    blocks = list(outputs) or [{"joints": "legs"}, {"unclaimed": ARM, "name": "arm"}]
    inputs = [{"fields": [{"joints": "q"}, {"scalar": ARM, "name": "arm_q"}]}]
    return load_spec({**ROBOT, "inputs": inputs, "outputs": [{"fields": blocks}]})


class Policy(nn.Module):
    """Legs and arm from the rows of one layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Linear(INPUTS, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.ELU())
        self.head = nn.Linear(WIDTH, LEGS + ARM)
        self.register_buffer("scale", torch.rand(LEGS + ARM) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x))


class Squashed(Policy):
    """Through a squashing and a scale for every entry."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.head(self.trunk(x))) * self.scale


class TwoHeads(Policy):
    """Legs and arm from layers of their own, the arm first."""

    def __init__(self) -> None:
        super().__init__()
        self.legs, self.arm = nn.Linear(WIDTH, LEGS), nn.Linear(WIDTH, ARM)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.trunk(x)
        return torch.cat([self.arm(hidden), self.legs(hidden)], -1)


class SoftmaxOverBoth(Policy):
    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.head(self.trunk(x)), -1)


class ScaledByTheSum(Policy):
    """Every entry times a gate of all of them."""

    def forward(self, x: Tensor) -> Tensor:
        answer = self.head(self.trunk(x))
        return answer * torch.sigmoid(answer.sum(-1, keepdim=True))


class LegsReadTheArm(Policy):
    """The arm's answer is added to the legs'."""

    def forward(self, x: Tensor) -> Tensor:
        answer = self.head(self.trunk(x))
        return torch.cat([answer[:, :LEGS] + answer[:, LEGS : LEGS + 1], answer[:, LEGS:]], -1)


class LegsReadTheArmLater(Policy):
    """The arm's layer is read once more, by a layer before the legs."""

    def __init__(self) -> None:
        super().__init__()
        self.legs, self.arm, self.back = nn.Linear(WIDTH, LEGS), nn.Linear(WIDTH, ARM), nn.Linear(ARM, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.trunk(x)
        arm = self.arm(hidden)
        return torch.cat([self.legs(hidden + self.back(arm)), arm], -1)


class SharedWeights(Policy):
    """The head's weights lead back into the trunk, too."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.trunk(x)
        return self.head(hidden + self.head(hidden) @ self.head.weight)


class FedBack(Policy):
    """What the arm did last is read by the trunk, from a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.last: Tensor
        self.register_buffer("last", torch.zeros(1, LEGS + ARM))
        self.feedback = nn.Linear(LEGS + ARM, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        answer = self.head(self.trunk(x) + self.feedback(self.last))
        self.last.copy_(answer[:1])
        return answer


class WithCode(Policy):
    """The legs from a code, which it returns as well, with what a head beside it computes.

    is_first: whether the two stand in front of the legs.
    """

    def __init__(self, is_first: bool = False) -> None:
        super().__init__()
        self.is_first = is_first
        self.latent, self.legs = nn.Linear(WIDTH, 3), nn.Linear(3, LEGS)
        self.beside = nn.Sequential(nn.Linear(WIDTH, 5), nn.LayerNorm(5))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = self.trunk(x)
        code = self.latent(hidden)
        legs, beside = self.legs(code), self.beside(hidden)
        return (code, beside, legs) if self.is_first else (legs, code, beside)


def spec_of_legs(is_first: bool = False) -> ConversionSpec:
    """The robot with its legs alone, the two other outputs of `WithCode` left out as a whole."""
    inputs = [{"fields": [{"joints": "q"}, {"scalar": ARM, "name": "arm_q"}]}]
    legs, others = {"fields": [{"joints": "legs"}]}, ["unclaimed", {"unclaimed": True, "name": "beside"}]
    return load_spec({**ROBOT, "inputs": inputs, "outputs": [*others, legs] if is_first else [legs, *others]})
