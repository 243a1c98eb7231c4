"""What the tasks of this example have in common: scores of classes, which the mirror leaves alone or permutes."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from chiralize.body.tensors import ConversionSpec, parse_spec
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation
from examples.study.task import Recipe, Reflection, Samples, Task

WARM_UP = 0.05
"""Share of the steps in which the learning rate rises."""


def top_percent(scores: Tensor, labels: Tensor, count: int) -> float:
    """How often the label is among the `count` highest scores, in percent. scores: `sample class`."""
    best = scores.topk(min(count, scores.shape[-1])).indices
    return 100 * (best == labels[:, None]).any(-1).double().mean().item()


def changed_percent(direct: Tensor, seen: Tensor) -> float:
    """How often the predicted class is another one when the sample is mirrored, in percent.

    direct: F(x).  seen: T F(T x), mirrored back to the classes of x.  Both `sample class`.
    """
    return 100 * (direct.argmax(-1) != seen.argmax(-1)).double().mean().item()


def cosine(share: float) -> float:
    """Factor on the learning rate: rises linearly over WARM_UP, then falls to 0 along a cosine."""
    if share < WARM_UP:
        return (share + 1e-3) / WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP))


def adam(steps: int, batch: int, rate: float, weight_decay: float = 0.0) -> Recipe:
    optimizer = partial(torch.optim.AdamW, lr=rate, weight_decay=weight_decay, fused=True)
    return Recipe(steps, batch, optimizer, cosine, clip=1.0)


class Classification(Task):
    """Skeletons `sample ... joint coord` to scores `sample class`.

    classes: their names.  swap: pairs of classes that the mirror exchanges.  dims: names of the coordinates.
    input_layout: of the samples, as in a specification.  skeleton: a shipped one.
    """

    figure = "top1_percent"
    better = 1
    classes: Sequence[str]
    swap: Sequence[tuple[int, int]] = ()
    dims: Sequence[str] = ("x", "y", "c")
    skeleton = "openpose"
    input_layout: str
    smoothing = 0.1
    """Of the labels."""

    @property
    def spec(self) -> ConversionSpec:
        names = ", ".join(f'"{name}"' for name in self.classes)
        scores = f"{{classes: {{swap: {[list(pair) for pair in self.swap]}, names: [{names}]}}}}"
        return parse_spec(
            f"name: {self.skeleton}-{''.join(self.dims)}\n"
            f"skeleton: {self.skeleton}\n"
            f'inputs: [{{layout: "{self.input_layout}", dims: [{", ".join(self.dims)}]}}]\n'
            f"outputs: [{scores if self.swap else '{invariant: true}'}]\n"
        )

    @cached_property
    def scores(self) -> Representation:
        """How the mirror acts on the classes."""
        return Representation.of(SignedPermutation.of(self.swap, size=len(self.classes)))

    @cached_property
    def partner(self) -> Tensor:
        """The class that every class becomes in the mirror."""
        return torch.from_numpy(self.scores.action.partner.copy())

    @cached_property
    def reflection(self) -> Reflection:
        body = self.spec.skeleton
        left, right = zip(*body.pairs, strict=True)
        return Reflection(left, right, [place for place, name in enumerate(self.dims) if name in body.negate])

    def mirror_inputs(self, inputs: Tensor) -> Tensor:
        return self.reflection(inputs)

    def mirror_targets(self, targets: Tensor) -> Tensor:
        return self.partner[targets]

    def mirror_answers(self, answers: Tensor) -> Tensor:
        return answers[:, self.partner] if self.swap else answers

    def loss(self, network: nn.Module, samples: Samples) -> Tensor:
        return functional.cross_entropy(network(samples.inputs), samples.targets, label_smoothing=self.smoothing)

    def figures(self, answers: Tensor) -> dict[str, float]:
        labels = self.test_samples().targets
        return {"top1_percent": top_percent(answers, labels, 1), "top5_percent": top_percent(answers, labels, 5)}

    def agreement(self, direct: Tensor, seen: Tensor) -> dict[str, float]:
        return super().agreement(direct, seen) | {"changed_percent": changed_percent(direct, seen)}

    def test_samples(self) -> Samples:
        return self._tested

    @cached_property
    def _tested(self) -> Samples:
        return self.read_test()

    @abstractmethod
    def read_test(self) -> Samples:
        """The test samples."""


def balanced(rng: np.random.Generator, by_class: Sequence[np.ndarray], count: int) -> np.ndarray:
    """Random places, every class equally often on average."""
    return np.array([rng.choice(by_class[own]) for own in rng.integers(len(by_class), size=count)])
