"""A task of the studies that takes no data: poses are random, the answer is an equivariant function of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from chiralize.body.skeleton.catalog import load_skeleton
from chiralize.body.tensors import ConversionSpec, load_spec
from chiralize.nn import BatchNorm1d, Linear, Pointwise, hidden
from chiralize.symmetry.representation import Representation
from examples.study.task import Layout, Recipe, Reflection, Samples, Task

BODY = load_skeleton("h36m")
FLAT, DEEP = (Representation.of(BODY.merged_action(list(axes))) for axes in ("xy", "xyz"))
SWAP = Reflection([4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16])


class Net(nn.Module):
    def __init__(self, layout: Layout, width: int = 12) -> None:
        super().__init__()
        wide = hidden(width)
        layers: list[nn.Module] = [nn.Linear(34, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 51)]
        if layout != "plain":
            layers = [Linear(FLAT, wide), BatchNorm1d(wide), Pointwise(nn.ReLU(), wide), Linear(wide, DEEP)]
        self.first, self.norm, self.bend, self.last = layers

    def forward(self, poses: Tensor) -> Tensor:
        return self.last(self.bend(self.norm(self.first(poses.flatten(1))))).unflatten(1, (17, 3))


class Toy(Task):
    name, figure, better = "toy, 12", "error", -1

    @property
    def spec(self) -> ConversionSpec:
        return load_spec("h36m", input_layouts=["b j d"], output_layouts=["b j d"])

    def build(self, layout: Layout) -> nn.Module:
        return Net(layout)

    def recipe(self, layout: Layout) -> Recipe:
        return Recipe(
            30,
            16,
            lambda own: torch.optim.Adam(own, 1e-2),
            lambda share: 1 - share,
            1.0,
            lambda share: 0.1 * (1 - share),
        )

    def fine_tuning(self) -> Recipe:
        return self.recipe("plain").shortened(0.2)

    def draw(self, rng: np.random.Generator, count: int) -> Samples:
        poses = torch.from_numpy(rng.normal(size=(count, 17, 2)).astype(np.float32))
        return Samples(poses, torch.cat([poses, poses.square().sum(-1, keepdim=True)], -1))

    def mirror_inputs(self, inputs: Tensor) -> Tensor:
        return SWAP(inputs)

    def mirror_targets(self, targets: Tensor) -> Tensor:
        return SWAP(targets)

    def mirror_answers(self, answers: Tensor) -> Tensor:
        return SWAP(answers)

    def loss(self, network: nn.Module, samples: Samples) -> Tensor:
        return (network(samples.inputs) - samples.targets).square().mean()

    def test_samples(self) -> Samples:
        return self.draw(np.random.default_rng(99), 40)

    def figures(self, answers: Tensor) -> dict[str, float]:
        error = (answers - self.test_samples().targets).norm(dim=-1)
        return {"error": float(error.mean()), "error/hip": float(error[:, 0].mean())}


def tasks(smoke: bool) -> Sequence[Task]:
    return [Toy()]
