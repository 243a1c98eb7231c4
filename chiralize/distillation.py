"""A converted network brought closer to the original by gradient descent, without labels and without leaving symmetry.

    min  mean |g(x) - f(x)|^2 / variance of f        over weights that commute with the mirror

f is the original's raw answer on the inputs as they are: g averages over both views by construction. Gradients are
projected onto the symmetric subspace, and the weights again after each step, so that g stays equivariant to the last
bit. Statistics of normalisations stay as they are. The weights that do best on held-out inputs are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from chiralize import reynolds
from chiralize.representation import TensorRepresentation
from chiralize.running import Call, results

RATES = (2e-2, 5e-3, 1.5e-3, 5e-4)  # of a parameter's own root mean square
_TRIAL = 6  # of the steps, one part in
_WARM_UP = 10
_LOOKS = 12
Told = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Distilled:
    """losses: on held-out inputs, as (step, loss): at the start and at every look.  best: the step that was kept."""

    losses: tuple[tuple[int, float], ...]
    best: int


def distill(
    original: nn.Module,
    result: nn.Module,
    representations: Mapping[str, TensorRepresentation],
    exchanged: Mapping[str, str],
    seen: Sequence[Call],
    held: Sequence[Call],
    steps: int,
    outputs: Sequence[int],
    told: Told = lambda step, steps, loss: None,
) -> Distilled:
    """Train `result` in place, `steps` steps of Adam with a rate that falls to 0, in units of each parameter's size.

    The rate is the one that does best in a short trial.
    representations: of its parameters, by name.  exchanged: those that the mirror takes to another one.
    seen, held: batches of inputs to learn from, and others, which decide on the rate and on when to stop.
    outputs: those that count, by position.  told: step, steps, loss on held-out inputs.
    """
    parameters = {name: own for name, own in result.named_parameters() if own.is_floating_point()}
    loss = _Loss(original, result, held, outputs)
    training = _Training(parameters, representations, exchanged, loss, seen, held)
    start = training.kept()
    trials = [
        (training.run(max(steps // _TRIAL, 1), rate).losses[-1][1], rate) for rate in _each(RATES, training, start)
    ]
    training.restore(start)
    return training.run(steps, min(trials)[1], told)


def _each(rates: Sequence[float], training: _Training, start: Mapping[str, Tensor]) -> Iterator[float]:
    for rate in rates:
        training.restore(start)
        yield rate


class _Training:
    """Adam on weights that commute with the mirror."""

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        representations: Mapping[str, TensorRepresentation],
        exchanged: Mapping[str, str],
        loss: _Loss,
        seen: Sequence[Call],
        held: Sequence[Call],
    ) -> None:
        self.parameters, self.representations, self.exchanged = parameters, representations, exchanged
        self.loss, self.seen, self.held = loss, seen, held

    def run(self, steps: int, rate: float, told: Told = lambda step, steps, loss: None) -> Distilled:
        """The weights end as those that did best on held-out inputs."""
        optimizer = torch.optim.Adam([
            {"params": [own], "size": float(own.detach().double().square().mean().sqrt())}
            for own in self.parameters.values()
        ])  # fmt: skip
        generator = torch.Generator().manual_seed(0)
        losses = [(0, self.loss.on(self.held))]
        best, kept = losses[0], self.kept()
        order: list[int] = []
        for step in range(1, steps + 1):
            order = order or torch.randperm(len(self.seen), generator=generator).tolist()
            fall = 0.5 * (1 + math.cos(math.pi * (step - 1) / steps)) * min(step / _WARM_UP, 1.0)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["size"] * fall
            optimizer.zero_grad()
            self.loss.of(self.seen[order.pop()]).backward()
            self._project(lambda own: own.grad)
            optimizer.step()
            self._project(lambda own: own.data)
            if step == steps or step % max(steps // _LOOKS, 1) == 0:
                losses.append((step, self.loss.on(self.held)))
                if losses[-1][1] < best[1]:
                    best, kept = losses[-1], self.kept()
                told(step, steps, losses[-1][1])
        self.restore(kept)
        return Distilled(tuple(losses), best[0])

    def kept(self) -> dict[str, Tensor]:
        """The weights as they are."""
        return {name: own.detach().clone() for name, own in self.parameters.items()}

    def restore(self, values: Mapping[str, Tensor]) -> None:
        """Give the weights other values."""
        with torch.no_grad():
            for name, own in self.parameters.items():
                own.copy_(values[name])
                own.grad = None

    def _project(self, part: Callable[[nn.Parameter], Tensor | None]) -> None:
        """Something of every parameter made symmetric, in place."""
        with torch.no_grad():
            found = {name: value for name, own in self.parameters.items() if (value := part(own)) is not None}
            images = {
                name: reynolds.project(value, self.representations[name], found.get(self.exchanged.get(name, "")))
                for name, value in found.items()
                if name in self.representations
            }
            for name, image in images.items():
                found[name].copy_(image)


class _Loss:
    """Squared distance of the answers, in units of the original's variance, averaged over the outputs."""

    def __init__(self, original: nn.Module, result: nn.Module, calls: Sequence[Call], outputs: Sequence[int]) -> None:
        self.original, self.result, self.outputs = original, result, outputs
        with torch.no_grad():
            own = [self._answers(original, call) for call in calls]
        self.variances = [
            float(torch.cat([answers[place].flatten() for answers in own]).double().var().clamp_min(1e-30))
            for place in range(len(outputs))
        ]

    def of(self, call: Call) -> Tensor:
        with torch.no_grad():
            targets = self._answers(self.original, call)
        answers = self._answers(self.result, call)
        parts = [
            (own - target).square().mean() / variance
            for own, target, variance in zip(answers, targets, self.variances, strict=True)
        ]
        return torch.stack(parts).mean()

    def on(self, calls: Sequence[Call]) -> float:
        with torch.no_grad():
            return sum(float(self.of(call)) for call in calls) / len(calls)

    def _answers(self, module: nn.Module, call: Call) -> list[Tensor]:
        tensors = results(module(*call[0], **call[1]))[0]
        return [tensors[place] for place in self.outputs]
