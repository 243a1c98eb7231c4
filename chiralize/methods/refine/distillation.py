"""A converted network brought closer to the original by gradient descent, without labels and without leaving symmetry.

Steps (`steps.py`) down the distance from what is aimed at (`imitation.py`), over weights that commute with the mirror.
Gradients are projected onto the symmetric subspace in every step, weights, as steps round, whenever they are looked at,
so that the network is equivariant to the last bit. Statistics of normalisations stay as they are. The weights that do
best on held-out inputs are kept.

Processes of `torch.distributed` that each see a part of the inputs average their gradients, in one sum a step: the
networks are small, and the projection wants whole gradients after the backward pass, so that there is nothing that
the buckets of DistributedDataParallel could overlap with.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from chiralize.graph import processes
from chiralize.graph.copies import raw_bytes
from chiralize.graph.running import Call
from chiralize.methods.refine.imitation import Distance, Weights
from chiralize.methods.refine.lessons import Lessons
from chiralize.methods.refine.steps import Steps
from chiralize.problem.data.perturbation import SHARE

RATES = (2e-2, 5e-3, 1.5e-3, 5e-4)  # of a parameter's own root mean square
RATES_AT_ONCE = (1e-2, 2.5e-3, 6e-4)
_TRIAL = 6  # of the steps, one part in
_WARM_UP, _WARMS_UP = 10, 20  # steps; of the steps, one part in
_LOOKS = 12
_ROOM = 256_000_000  # bytes, for what is aimed at for held-out inputs
_LOST = 2.0
"""Of the loss at the start: what it may not be above half way, or training at one rate is given up."""
Report = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Distilled:
    """losses: on held-out inputs, as (step, loss): at the start and at every look.  best: the step that was kept."""

    losses: tuple[tuple[int, float], ...]
    best: int


class Keeper(Protocol):
    """Where the state of runs is kept, by name, so that an interrupted one can go on."""

    def load(self, run: str) -> dict[str, Any] | None:
        """The state of a run of this name, None where there is none."""
        ...

    def save(self, run: str, state: dict[str, Any]) -> None:
        """Keep the state of a run, in place of an earlier one."""
        ...


def distill(
    distance: Distance,
    weights: Weights,
    lessons: Lessons,
    held: Sequence[Call],
    steps: int,
    report: Report = lambda step, steps, loss: None,
    keeper: Keeper | None = None,
) -> Distilled:
    """Train the weights in place, `steps` steps with a rate that falls to 0, in units of each parameter's size.

    The rate is the one that does best in a short trial. The largest is tried first. Where one brought the loss down and
    the next does worse, those below are not tried.
    held: batches of inputs that no lesson holds, which decide on the rate and on when to stop.
    report: step, steps, loss on held-out inputs.  keeper: asked for the state of an interrupted run, and given it after
    every trial and every look.
    """
    training = _Training(distance, weights, lessons, held)
    start = weights.copies()
    run = fingerprint(list(start.values()), steps)
    known = _together((keeper.load(run) if keeper else None) or {})
    trials: list[float] = known.get("trials", [])
    first = training.loss()
    for rate in RATES[len(trials) :]:
        if len(trials) > 1 and trials[-2] < min(trials[-1], first):
            break
        weights.restore(start)
        trials = [*trials, training.run(max(steps // _TRIAL, 1), rate, looks=1).losses[-1][1]]
        if keeper:
            keeper.save(run, {"trials": trials})
    weights.restore(start)

    def save(state: dict[str, Any]) -> None:
        """Hand the state on, where somebody keeps it."""
        if keeper:
            keeper.save(run, {"trials": trials, "state": state})

    best = min(zip(trials, RATES, strict=False), key=lambda trial: (math.isnan(trial[0]), trial))[1]
    return training.run(steps, best, report, known.get("state"), save)


def distill_at_once(
    distance: Distance,
    weights: Weights,
    lessons: Lessons,
    held: Sequence[Call],
    steps: int,
    report: Report = lambda step, steps, loss: None,
    keeper: Keeper | None = None,
) -> Distilled:
    """The same without trials, for inputs that are always new: at a rate that suits them, and at a lower one only where
    the loss did not come down at the one before.
    """
    training = _Training(distance, weights, lessons, held)
    start = weights.copies()
    run = f"{fingerprint(list(start.values()), steps)} {RATES_AT_ONCE}"
    known = _together((keeper.load(run) if keeper else None) or {})
    trials: list[float] = known.get("trials", [])

    def save(state: dict[str, Any]) -> None:
        """Hand the state on, where somebody keeps it."""
        if keeper:
            keeper.save(run, {"trials": trials, "state": state})

    outcome = Distilled(((0, math.nan),), 0)
    for rate in RATES_AT_ONCE[len(trials) :]:
        weights.restore(start)
        outcome = training.run(steps, rate, report, known.get("state"), save, lost=_LOST)
        if outcome.best > 0 and outcome.losses[-1][0] == steps:
            break
        trials, known = [*trials, outcome.losses[-1][1]], {}
    return outcome


def train(
    distance: Distance,
    weights: Weights,
    lessons: Lessons,
    held: Sequence[Call],
    steps: int,
    rate: float,
    report: Report = lambda step, steps, loss: None,
) -> Distilled:
    """The same at a rate that suits most networks, or at a tenth of it.

    Where errors add up along many steps of time, the loss stays far above the first although the rate falls. Half way
    that is told from a loss that falls in time.
    """
    start, training = weights.copies(), _Training(distance, weights, lessons, held)
    done = training.run(steps, rate, report, lost=_LOST)
    if done.losses[-1][0] == steps:
        return done
    weights.restore(start)
    return training.run(steps, rate / 10, report)


def _together(known: dict[str, Any]) -> dict[str, Any]:
    """A state that was kept, if all processes stopped at the same place; else a new beginning for each."""
    step = len(known.get("trials", ())) + (known["state"]["losses"][-1][0] if "state" in known else 0)
    spread = processes.count() * processes.total(step**2) - processes.total(step) ** 2
    return {} if spread else known


def fingerprint(tensors: Sequence[Tensor], steps: int) -> str:
    """SHA-256 of tensors and a number of steps."""
    digest = hashlib.sha256(f"{steps} {RATES} {SHARE}".encode())
    for tensor in tensors:
        digest.update(raw_bytes(tensor))
    return digest.hexdigest()


def _share(step: int, steps: int) -> float:
    """Of the rate: rising at first, while momenta are of few gradients, then falling to 0 as a cosine does."""
    warm_up = max(_WARM_UP, steps // _WARMS_UP)
    return 0.5 * (1 + math.cos(math.pi * (step - 1) / steps)) * min(step / warm_up, 1.0)


class _Training:
    """Descent among weights that commute with the mirror."""

    def __init__(self, distance: Distance, weights: Weights, lessons: Lessons, held: Sequence[Call]) -> None:
        self.distance, self.weights, self.lessons, self.held = distance, weights, lessons, held
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
        report: Report = lambda step, steps, loss: None,
        state: Mapping[str, Any] | None = None,
        save: Callable[[dict[str, Any]], None] = lambda state: None,
        looks: int = _LOOKS,
        lost: float | None = None,
    ) -> Distilled:
        """The weights end as those that did best on held-out inputs.

        state: of an interrupted run, as it was given to `save`.  looks: how often the held-out inputs are asked.
        lost: stop from half way on where the loss is above so many times the first.
        """
        descent = Steps(self.weights.parameters.values())
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
        best = min(losses, key=lambda look: look[1])
        for step in range(losses[-1][0] + 1, steps + 1):
            order = order or torch.randperm(len(self.lessons), generator=generator).tolist()
            call, wanted = self.lessons.take(order.pop(), generator)
            self.weights.forget_gradients()
            self.distance.error(call, wanted).backward()
            self._average()
            self._project(lambda parameter: parameter.grad)
            descent.take(rate * _share(step, steps))
            if step == steps or step % max(steps // looks, 1) == 0:
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
                if lost is not None and 2 * step >= steps and not losses[-1][1] <= lost * losses[0][1]:
                    break
        self.weights.restore(best_weights)
        return Distilled(tuple(losses), best[0])

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
