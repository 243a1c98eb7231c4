"""Descent among weights that commute with the mirror.

Steps (`steps.py`) down the distance from what is aimed at (`imitation.py`). Gradients are projected onto the symmetric
subspace in every step, weights, as steps round, whenever they are looked at, so that the network is equivariant to the
last bit. Statistics of normalisations stay as they are. The weights that do best on held-out inputs are kept.
`distillation` sets the rates, and `lessons` says what is learnt from.

Processes of `torch.distributed` that each see a part of the inputs average their gradients, in one sum a step: the
networks are small, and the projection wants whole gradients after the backward pass, so that there is nothing that
the buckets of DistributedDataParallel could overlap with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chiralize.graph import processes
from chiralize.graph.running import Call
from chiralize.methods.refine.imitation import Distance, Weights
from chiralize.methods.refine.lessons import Course, Lessons
from chiralize.methods.refine.steps import Steps

_WARM_UP, _WARMS_UP = 10, 20  # steps; of the steps, one part in
_LOOKS = 12
_ROOM = 256_000_000  # bytes, for what is aimed at for held-out inputs
Report = Callable[[int, int, float], None]
"""Called with the step, the number of steps and the loss on held-out inputs."""


def say_nothing(step: int, steps: int, loss: float) -> None:
    """A report for nobody."""


def never() -> bool:
    """That there is no limit of time."""
    return False


@dataclass(frozen=True)
class Distilled:
    """losses: on held-out inputs, as (step, loss): at the start and at every look.  best: the step that was kept."""

    losses: tuple[tuple[int, float], ...]
    best: int


def _share(step: int, steps: int) -> float:
    """Of the rate: rising at first, while momenta are of few gradients, then falling to 0 as a cosine does.

    step: from 1 on.  Of 400 steps the first has a twentieth, the 20th nearly all, the last next to nothing.
    """
    warm_up = max(_WARM_UP, steps // _WARMS_UP)
    return 0.5 * (1 + math.cos(math.pi * (step - 1) / steps)) * min(step / warm_up, 1.0)


class Training:
    """Descent among weights that commute with the mirror.

    uses: how many steps are taken with every lesson.
    """

    def __init__(
        self, distance: Distance, weights: Weights, lessons: Lessons, held: Sequence[Call], uses: int = 1
    ) -> None:
        self.distance, self.weights, self.lessons, self.held, self.uses = distance, weights, lessons, held, uses
        self.aims = list[Tensor]()
        """What is aimed at for the first of the held-out inputs, as many as there is room for."""
        room = _ROOM
        for call in held:
            self.aims.append(distance.targets(call))
            room -= self.aims[-1].nbytes
            if room <= 0:
                break

    def loss(self) -> float:
        """On held-out inputs."""
        return self.distance.on(self.held, self.aims)

    def run(
        self,
        steps: int,
        rate: float,
        report: Report = say_nothing,
        state: Mapping[str, Any] | None = None,
        save: Callable[[dict[str, Any]], None] = lambda state: None,
        looks: int = _LOOKS,
        lost: float | None = None,
        is_late: Callable[[], bool] = never,
    ) -> Distilled:
        """The weights end as those that did best on held-out inputs.

        state: of an interrupted run, as it was given to `save`.  looks: how often the held-out inputs are asked.
        lost: stop from half way on where the loss is above so many times the first.  is_late: asked after every look
        whether to stop there.
        """
        # 1. From the start, or from where an interrupted run had looked: the same numbers come next.
        descent = self._descent()
        generator = torch.Generator().manual_seed(0)
        if state is None:
            losses = [(0, self.loss())]
            best_weights, order = self.weights.copies(), list[int]()
        else:
            losses = [(int(step), float(loss)) for step, loss in state["losses"]]
            best_weights, order = state["kept"], list(state["order"])
            self.weights.restore(state["weights"])
            descent.resume(state["descent"])
            generator.set_state(state["generator"])
        # 2. Steps, with a look at held-out inputs after every `between` of them and after the last.
        best = min(losses, key=lambda look: look[1])
        between = max(steps // looks, 1)
        course = Course(self.lessons, generator, order, self.uses)
        for step in range(losses[-1][0] + 1, steps + 1):
            until_a_look = min(between - (step - 1) % between, steps - step + 1)
            call, wanted = course.next(until_a_look, (step - 1) / steps)
            self._step(descent, call, wanted, rate * _share(step, steps))
            # Gradients are symmetric, and so are steps but for rounding: weights are projected before looks only.
            if until_a_look == 1:
                self._project(lambda parameter: parameter.data)
                losses.append((step, self.loss()))
                if losses[-1][1] < best[1]:
                    best, best_weights = losses[-1], self.weights.copies()
                report(step, steps, losses[-1][1])
                save(
                    {
                        "losses": losses,
                        "kept": best_weights,
                        "order": order,
                        "weights": self.weights.copies(),
                        "descent": descent.states(),
                        "generator": generator.get_state(),
                    }
                )
                # "not <=": a loss that is no number is lost as well
                if lost is not None and 2 * step >= steps and not losses[-1][1] <= lost * losses[0][1]:
                    break
                if is_late():
                    break
        # 3. The best of all looks, which may be the start.
        self.weights.restore(best_weights)
        return Distilled(tuple(losses), best[0])

    def rehearse(self, call: Call) -> None:
        """Take one step, for its time alone: no weight has moved in the end."""
        before = self.weights.copies()
        self._step(
            Steps(self.weights.parameters.values(), self.weights.representations),
            call,
            self.distance.targets(call),
            1e-6,
        )
        self.weights.restore(before)
        self.weights.forget_gradients()

    def _descent(self) -> Steps:
        """The first step of a run is the next one."""
        return Steps(self.weights.parameters.values(), self.weights.representations)

    def _step(self, descent: Steps, call: Call, wanted: Tensor, rate: float) -> None:
        """One step down the distance from what is wanted for a call."""
        self.weights.forget_gradients()
        self.distance.error(call, wanted).backward()
        self._average()
        self._project(lambda parameter: parameter.grad)
        descent.take(rate)

    def _average(self) -> None:
        """The gradients' means over all processes."""
        gradients = [parameter.grad for parameter in self.weights.parameters.values() if parameter.grad is not None]
        processes.add_up(gradients)
        for gradient in gradients:
            gradient /= processes.count()

    def _project(self, part: Callable[[Tensor], Tensor | None]) -> None:
        """Something of every parameter made symmetric, in place."""
        with torch.no_grad():
            parts = {
                name: value
                for name, parameter in self.weights.parameters.items()
                if (value := part(parameter)) is not None
            }
            for name, image in self.weights.projected(parts).items():
                parts[name].copy_(image)
