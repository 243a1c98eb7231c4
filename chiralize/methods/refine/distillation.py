"""A converted network brought closer to the original by gradient descent, without labels and without leaving symmetry.

How large the steps are is settled here: by short trials (`distill`), or at once (`distill_at_once`, `train`). An
interrupted run does neither its trials nor its steps again. `refine` chooses among the three:

    distill             --distill on poses, and along sequences: up to four trials of a sixth of the steps each
    distill_at_once     --distill on pictures: 1e-2, and a lower rate only where the loss did not come down
    train               unasked: the rate that `budget` says, or a tenth of it
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import Tensor

from chiralize.graph import processes
from chiralize.graph.copies import raw_bytes
from chiralize.methods.refine.training import Distilled, Report, Training, never, say_nothing
from chiralize.problem.data.perturbation import SHARE

RATES = (2e-2, 5e-3, 1.5e-3, 5e-4)  # of a parameter's own root mean square
RATES_AT_ONCE = (1e-2, 2.5e-3, 6e-4)
_TRIAL = 6  # of the steps, one part in
TRIALS = 1 + len(RATES) / _TRIAL
"""How many times the steps `distill` takes with its trials, at most."""
_LOST = 2.0
"""Of the loss at the start: what it may not be above half way, or training at one rate is given up."""


class Keeper(Protocol):
    """Where the state of runs is kept, by name, so that an interrupted one can go on."""

    def load(self, run: str) -> dict[str, Any] | None:
        """The state of a run of this name, None where there is none."""
        ...

    def save(self, run: str, state: dict[str, Any]) -> None:
        """Keep the state of a run, in place of an earlier one."""
        ...


class Journal:
    """What an interrupted run had done: the losses of its trials, and the state in which it goes on.

    keeper: None where nobody keeps anything.  run: its name.
    """

    def __init__(self, keeper: Keeper | None, run: str) -> None:
        self._keeper, self._run = keeper, run
        known = _together((keeper.load(run) if keeper else None) or {})
        self.trials: list[float] = known.get("trials", [])
        self.state: dict[str, Any] | None = known.get("state")

    def add_trial(self, loss: float) -> None:
        """A trial that ended with this loss; what comes next begins anew."""
        self.trials, self.state = [*self.trials, loss], None
        if self._keeper:
            self._keeper.save(self._run, {"trials": self.trials})

    def save(self, state: dict[str, Any]) -> None:
        """The state of training after a look."""
        if self._keeper:
            self._keeper.save(self._run, {"trials": self.trials, "state": state})


def distill(
    training: Training,
    steps: int,
    report: Report = say_nothing,
    keeper: Keeper | None = None,
    is_late: Callable[[], bool] = never,
) -> Distilled:
    """Train the weights in place, `steps` steps with a rate that falls to 0, in units of each parameter's size.

    The rate is the one that does best in a short trial. The largest is tried first. Where one brought the loss down and
    the next does worse, those below are not tried.
    keeper: asked for the state of an interrupted run, and given it after every trial and every look.  is_late: whether
    to stop at a look.
    """
    start = training.weights.copies()
    journal = Journal(keeper, fingerprint(list(start.values()), steps))
    first = training.loss()
    for rate in RATES[len(journal.trials) :]:
        # the trial before the last did better than the last, and than no step at all: lower rates would do worse still
        trials = journal.trials
        if len(trials) > 1 and trials[-2] < min(trials[-1], first):
            break
        training.weights.restore(start)
        journal.add_trial(training.run(max(steps // _TRIAL, 1), rate, looks=1).losses[-1][1])
    training.weights.restore(start)
    # a trial that left the range of numbers is the worst; there may be fewer trials than rates
    best = min(zip(journal.trials, RATES, strict=False), key=lambda trial: (math.isnan(trial[0]), trial))[1]
    return training.run(steps, best, report, journal.state, journal.save, is_late=is_late)


def distill_at_once(
    training: Training, steps: int, report: Report = say_nothing, keeper: Keeper | None = None
) -> Distilled:
    """The same without trials, for inputs that are always new: at a rate that suits them, and at a lower one only where
    the loss did not come down at the one before.
    """
    start = training.weights.copies()
    journal = Journal(keeper, f"{fingerprint(list(start.values()), steps)} {RATES_AT_ONCE}")
    outcome = Distilled(((0, math.nan),), 0)
    for rate in RATES_AT_ONCE[len(journal.trials) :]:
        training.weights.restore(start)
        outcome = training.run(steps, rate, report, journal.state, journal.save, lost=_LOST)
        if outcome.best > 0 and outcome.losses[-1][0] == steps:  # better than at the start, and not given up half way
            break
        journal.add_trial(outcome.losses[-1][1])
    return outcome


def train(
    training: Training, steps: int, rate: float, report: Report = say_nothing, is_late: Callable[[], bool] = never
) -> Distilled:
    """The same at a rate that suits most networks, or at a tenth of it.

    Where errors add up along many steps of time, the loss stays far above the first although the rate falls. Half way
    that is told from a loss that falls in time.  is_late: whether to stop at a look.
    """
    start = training.weights.copies()
    done = training.run(steps, rate, report, lost=_LOST, is_late=is_late)
    if done.losses[-1][0] == steps or is_late():  # not given up
        return done
    training.weights.restore(start)
    return training.run(steps, rate / 10, report, is_late=is_late)


def _together(known: dict[str, Any]) -> dict[str, Any]:
    """A state that was kept, if all processes stopped at the same place; else a new beginning for each."""
    # n sum s^2 - (sum s)^2 is n^2 times the variance of the steps over the processes: 0 where all are the same
    step = len(known.get("trials", ())) + (known["state"]["losses"][-1][0] if "state" in known else 0)
    spread = processes.count() * processes.total(step**2) - processes.total(step) ** 2
    return {} if spread else known


def fingerprint(tensors: Sequence[Tensor], steps: int) -> str:
    """SHA-256 of tensors and a number of steps."""
    digest = hashlib.sha256(f"{steps} {RATES} {SHARE}".encode())
    for tensor in tensors:
        digest.update(raw_bytes(tensor))
    return digest.hexdigest()
