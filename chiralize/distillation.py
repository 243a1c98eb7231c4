"""A converted network brought closer to the original by gradient descent, without labels and without leaving symmetry.

    min  mean |g(x) - f(x)|^2 / variance of f        over weights that commute with the mirror

f is the original's raw answer on the inputs as they are: g averages over both views by construction. Gradients are
projected onto the symmetric subspace, and the weights again after each step, so that g stays equivariant to the last
bit. Statistics of normalisations stay as they are. The weights that do best on held-out inputs are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from chiralize import reynolds
from chiralize.representation import TensorRepresentation
from chiralize.running import Call, results

RATE = 1e-3
_LOOKS = 12
_HELD = 6
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
    calls: Sequence[Call],
    steps: int,
    outputs: Sequence[int],
    told: Told = lambda step, steps, loss: None,
) -> Distilled:
    """Train `result` in place, `steps` steps of Adam with a rate that falls to 0.

    representations: of its parameters, by name.  exchanged: those that the mirror takes to another one.
    calls: batches of inputs; every sixth is held out.  outputs: those that count, by position.
    told: step, steps, loss on held-out inputs.
    """
    held = calls[::_HELD] if len(calls) >= _HELD else calls
    seen = [call for place, call in enumerate(calls) if place % _HELD or len(calls) < _HELD]
    parameters = {name: own for name, own in result.named_parameters() if own.is_floating_point()}
    loss = _Loss(original, result, held, outputs)
    optimizer = torch.optim.Adam(parameters.values(), RATE)
    generator = torch.Generator().manual_seed(0)
    start = loss.on(held)
    best, kept, losses = (start, 0), _values(parameters), [(0, start)]
    order: list[int] = []
    for step in range(1, steps + 1):
        order = order or torch.randperm(len(seen), generator=generator).tolist()
        for group in optimizer.param_groups:
            group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * (step - 1) / steps)) * min(step / 10, 1.0)
        optimizer.zero_grad()
        loss.of(seen[order.pop()]).backward()
        _project(parameters, representations, exchanged, lambda own: own.grad)
        optimizer.step()
        _project(parameters, representations, exchanged, lambda own: own.data)
        if step == steps or step % max(steps // _LOOKS, 1) == 0:
            now = loss.on(held)
            losses.append((step, now))
            if now < best[0]:
                best, kept = (now, step), _values(parameters)
            told(step, steps, now)
    with torch.no_grad():
        for name, own in parameters.items():
            own.copy_(kept[name])
            own.grad = None
    return Distilled(tuple(losses), best[1])


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


def _project(
    parameters: Mapping[str, nn.Parameter],
    representations: Mapping[str, TensorRepresentation],
    exchanged: Mapping[str, str],
    part: Callable[[nn.Parameter], Tensor | None],
) -> None:
    """Something of every parameter made symmetric, in place."""
    with torch.no_grad():
        found = {name: value for name, own in parameters.items() if (value := part(own)) is not None}
        images = {
            name: reynolds.project(value, representations[name], found.get(exchanged.get(name, "")))
            for name, value in found.items()
            if name in representations
        }
        for name, image in images.items():
            found[name].copy_(image)


def _values(parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    return {name: own.detach().clone() for name, own in parameters.items()}
