"""Policies: two hidden layers, inputs in units of their spread over the demonstrations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chiralize.nn import Linear, Pointwise, hidden, negated_share
from chiralize.symmetry.representation import Representation

LEGS_AND_TORSO = (2, 2, 1)
"""Left, right and centre parts of the Ant, for the layout of the paper."""
NEGATED = 0.5
"""Share of the entries of an observation that the mirror negates (16 of 30, rounded), and of the paper's layout."""


class Policy(nn.Module):
    """observations `batch 30` to torques `batch 8`, as a share of the largest.

    mean, scale: of the observations, `30`.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, layers: nn.Module, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.layers = layers

    def forward(self, observation: Tensor) -> Tensor:
        return self.layers((observation - self.mean) / self.scale)


def plain_layers(observation: Representation, action: Representation, width: int) -> nn.Module:
    """Linear, ReLU, Linear, ReLU, Linear, of the same sizes and nothing else of the representations."""
    return nn.Sequential(
        nn.Linear(observation.size, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, action.size),
    )  # fmt: skip


def chiral_layers(observation: Representation, action: Representation, width: int) -> nn.Module:
    """The same of equivariant layers; hidden units are pairs without signs, so that ReLU stays."""
    wide = hidden(width)
    return nn.Sequential(
        Linear(observation, wide), Pointwise(nn.ReLU(), wide), Linear(wide, wide), Pointwise(nn.ReLU(), wide),
        Linear(wide, action),
    )  # fmt: skip


def paper_layers(observation: Representation, action: Representation, width: int) -> nn.Module:
    """In the paper's layout: legs and torso times channels, half of them negated, tanh.

    width: rounded to a multiple of the five parts.
    """
    parts = sum(LEGS_AND_TORSO)
    wide = negated_share(LEGS_AND_TORSO, parts * round(width / parts), NEGATED)
    return nn.Sequential(
        Linear(observation, wide), Pointwise(nn.Tanh(), wide), Linear(wide, wide), Pointwise(nn.Tanh(), wide),
        Linear(wide, action),
    )  # fmt: skip


def statistics(observations: Tensor, rep: Representation) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of observations `sample 30` and of their mirror images together.

    Those of the observations alone lean to the side that was shown, and no equivariant network has such
    a normaliser.
    """
    partner, sign = torch.tensor(rep.action.partner), torch.tensor(rep.action.sign).to(observations)
    both = torch.cat([observations, observations[:, partner] * sign]).double()
    mean, scale = both.mean(0), both.std(0) + 1e-3
    mean, scale = (mean + mean[partner] * sign) / 2, (scale + scale[partner]) / 2  # the sums are rounded
    return mean.float(), scale.float()
