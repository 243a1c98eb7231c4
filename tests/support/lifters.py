"""Lifters that are trained in a second: random features of built-in poses, and an output by least squares."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from chiralize.problem.poses.camera import Scene, scene
from chiralize.problem.poses.motion import draw

FEATURES, POSES, TESTED = 440, 8000, 1000
"""Too few for a batch norm to determine the moments of the poses: 459 channels would."""


@cache
def scene_of(count: int, seed: int) -> Scene:
    """Single poses before cameras."""
    return scene(draw(count, 1, seed), seed)


def pairs(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Poses in the image "pose 17 2" and in space "pose 17 3", relative to the hip."""
    view = scene_of(count, seed)
    space = view.camera[:, 0] - view.camera[:, 0, :1]
    return torch.from_numpy(view.image[:, 0]).float(), torch.from_numpy(space).float()


@cache
def lifter(norm: bool = False) -> nn.Module:
    """From poses "b 17 2" in the image to "b 17 3", metres. norm: with a batch norm that remembers them."""
    torch.manual_seed(0)
    given, wanted = pairs(POSES, 9)
    x, y = given.flatten(1).double(), wanted.flatten(1).double()
    white = torch.linalg.cholesky(torch.linalg.inv(torch.cov(x.T) + 1e-4 * torch.eye(34, dtype=x.dtype)))
    weight = 1.5 * white @ torch.randn(34, FEATURES, dtype=x.dtype) / 34**0.5
    bias = 0.7 * torch.randn(FEATURES, dtype=x.dtype) - x.mean(0) @ weight
    before = x @ weight + bias
    features = torch.cat([before.relu(), torch.ones(len(x), 1, dtype=x.dtype)], 1)
    ridge = 1e-5 * len(x) * features.var() * torch.eye(FEATURES + 1, dtype=x.dtype)
    solution = torch.linalg.solve(features.T @ features + ridge, features.T @ y)
    first, last = nn.Linear(34, FEATURES), nn.Linear(FEATURES, 51)
    layers: list[nn.Module] = [nn.Flatten(), first]
    with torch.no_grad():
        first.weight.copy_(weight.T)
        first.bias.copy_(bias)
        last.weight.copy_(solution[:-1].T)
        last.bias.copy_(solution[-1])
        if norm:
            layers.append(_remembering(before.float()))
    return nn.Sequential(*layers, nn.ReLU(), last, nn.Unflatten(1, (17, 3))).eval()


def _remembering(values: Tensor) -> nn.BatchNorm1d:
    """A batch norm that has seen these values, and leaves them as they are."""
    layer = nn.BatchNorm1d(values.shape[1])
    assert layer.running_mean is not None and layer.running_var is not None
    layer.running_mean.copy_(values.mean(0))
    layer.running_var.copy_(values.var(0))
    layer.weight.copy_((layer.running_var + layer.eps).sqrt())
    layer.bias.copy_(layer.running_mean)
    return layer


class Dressed(nn.Module):
    """A lifter that takes factor x + offset, and joints in another order."""

    def __init__(self, network: nn.Module, factor: tuple[float, float], offset: tuple[float, float] = (0, 0)) -> None:
        super().__init__()
        self.network, self.order = network, list(range(17))
        self.factor: Tensor
        self.offset: Tensor
        self.register_buffer("factor", torch.tensor(factor))
        self.register_buffer("offset", torch.tensor(offset, dtype=torch.float32))

    def forward(self, poses: Tensor) -> Tensor:
        return self.network(((poses - self.offset) / self.factor)[:, self.order])


def error(network: nn.Module) -> float:
    """Mean distance of the joints from the truth on other poses, metres."""
    given, wanted = pairs(TESTED, 19)
    with torch.no_grad():
        return float((network(given) - wanted).norm(dim=-1).mean())
