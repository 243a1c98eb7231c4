"""What a study asks of a task: its mirror, its data, its networks and how they are trained and judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from chiralize.body.tensors import ConversionSpec

Layout = Literal["plain", "free", "paper"]
"""plain: an ordinary network.  free: of chiral layers whose hidden units are plain pairs, so that ReLU stays.
paper: of chiral layers in the layout of the paper: joints times channels, a share of them negated, tanh."""


def rate_factor(layout: Layout) -> float:
    """On the rate of an ordinary network: √2 for chiral ones.

    A chiral layer's even and odd blocks are orthonormal coordinates of the dense weight, half as many as it has
    entries. A step of Adam moves each by about the rate: at √2 of it the weight's step is as long as an ordinary one.
    """
    return 1.0 if layout == "plain" else 2**0.5


class Samples(NamedTuple):
    """Inputs and what is to be said about them; the first axis of both is the sample."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Reflection:
    """T on `... joint coord`, as a user would write it: left and right joints change places, some axes their sign.

    >>> Reflection([1], [2])(torch.tensor([[1.0, 5.0], [2.0, 6.0], [3.0, 7.0]])).tolist()
    [[-1.0, 5.0], [-3.0, 7.0], [-2.0, 6.0]]
    """

    left: Sequence[int]
    right: Sequence[int]
    negated: Sequence[int] = (0,)

    def __call__(self, values: Tensor) -> Tensor:
        seen = values.clone()
        seen[..., [*self.left, *self.right], :] = values[..., [*self.right, *self.left], :]
        seen[..., list(self.negated)] *= -1
        return seen


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    steps: updates of `batch` samples.  optimizer: made from the parameters, at the rate that the training starts with.
    decay: factor on that rate when a share (0 to 1) of the steps is done.  clip: largest gradient norm.
    momentum: of the batch norms at that share.
    """

    steps: int
    batch: int
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    decay: Callable[[float], float] = lambda share: 1.0
    clip: float | None = None
    momentum: Callable[[float], float] | None = None

    def shortened(self, factor: float) -> Recipe:
        """The same schedule in fewer steps, at least 2."""
        return replace(self, steps=max(2, round(factor * self.steps)))


class Task(ABC):
    """One network on one task. Everything is drawn from `rng`, so that a run can be repeated."""

    name: str
    """Of the rows in the table, for example `lifting, 1 frame, 512`."""
    figure: str
    """The figure that counts, a key of `figures`."""
    better: int
    """1 where a larger figure is better, −1 where a smaller one is."""
    samples: int = 2000
    """Unlabelled inputs for a conversion."""
    ways: Sequence[str] | None = None
    """Those of `ways.WAYS` that are of interest; None for `USUAL`."""

    @property
    @abstractmethod
    def spec(self) -> ConversionSpec:
        """The mirror, as `chiralize(network, task.spec, ...)` takes it."""

    @abstractmethod
    def build(self, layout: Layout) -> nn.Module:
        """A network that nobody has trained; torch's generator is seeded before."""

    @abstractmethod
    def recipe(self, layout: Layout) -> Recipe:
        """From scratch."""

    @abstractmethod
    def fine_tuning(self) -> Recipe:
        """With labels, after a conversion."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, count: int) -> Samples:
        """Training samples as they were seen; tensors that nobody else holds."""

    @abstractmethod
    def mirror_inputs(self, inputs: Tensor) -> Tensor:
        """T on inputs."""

    @abstractmethod
    def mirror_targets(self, targets: Tensor) -> Tensor:
        """T on the targets of training samples; the identity for labels that the mirror leaves alone."""

    @abstractmethod
    def mirror_answers(self, answers: Tensor) -> Tensor:
        """T on what a network says; the identity for scores of labels that the mirror leaves alone."""

    @abstractmethod
    def loss(self, network: nn.Module, samples: Samples) -> Tensor:
        """What training minimises."""

    @abstractmethod
    def test_samples(self) -> Samples:
        """Of people (or clips) whom no training sample shows; kept after the first call."""

    @abstractmethod
    def figures(self, answers: Tensor) -> dict[str, float]:
        """Figures of the answers to all test inputs, `figure` first; parts are named `figure/part`."""

    def agreement(self, direct: Tensor, seen: Tensor) -> dict[str, float]:
        """What is said of F(x) beside T F(T x), for all test inputs; gap: RMS difference over the answers' spread."""
        spread = (direct - direct.mean(0)).square().mean().sqrt()
        return {"gap": float((direct - seen).square().mean().sqrt() / spread)}

    def trials(self, network: nn.Module, averaged: bool) -> dict[str, float]:
        """Figures that need the network at work rather than its answers to the test inputs, such as roll-outs; none.

        averaged: its answers are to be the mean of both views.
        """
        return {}

    def calibration(self, count: int, seed: int = 0) -> Tensor:
        """Unlabelled inputs of the training set, not mirrored."""
        return self.draw(np.random.default_rng([seed, 7]), count).inputs
