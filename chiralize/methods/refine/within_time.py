"""Rounds of Gauss-Newton and steps of descent within a limit of time: on how many batches, and when to end.

Multiplications tell what arithmetic takes. A small network can take a hundred times as long all the same: read op by
op, called one sample at a time, unrolled over many steps. So one batch is taken through a round beforehand, to be
timed. Where all rounds would take longer than they may, each has fewer batches, down to some 200 samples (few are
enough, since every round moves them anew), and fewer held-out inputs decide. After the first round its time is known.

Steps of descent are timed likewise: one is taken beforehand. Where all of them would take longer than they may, there
are fewer, over which the rate falls as over many. Where time is not short, there are as many as without a limit.

`gauss_newton.refine` asks, and `refine` for descent. Rounds and steps that a user asked for have no limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chiralize.graph import processes
from chiralize.graph.running import Arguments, Call
from chiralize.graph.time_limit import Stopwatch

_SAMPLES, _FEWEST = 2000, 200
"""Samples of a round, about; and the fewest, of a round and of those held out, where time is short."""
_SHARE_HELD = 0.25
"""Of a round's time, for the held-out inputs."""
_LOOKS = 3
"""How often a round looks at the held-out inputs: once for every share of its step."""
_LOOKS_OF_DESCENT = 13
"""How often descent looks at the held-out inputs, the start included."""
_LATE = 2.0
"""Of the time that descent has: what it may take where its steps turn out longer than they were."""
_TICK = 1e-6
"""Seconds that anything takes at least."""


@dataclass(frozen=True)
class Plan:
    """What rounds work on, and how long they may go on, from now on.

    batches: of a round.  held: the held-out inputs that decide.  each: the seconds that a round should take.
    seconds: those that are left for all rounds.  watch: the time since then.
    """

    batches: int
    held: Sequence[Call]
    each: float = 0.0
    seconds: float = math.inf
    watch: Stopwatch = field(default_factory=Stopwatch)

    def holds_another(self, done: int) -> bool:
        """Whether one more round ends in time, if it takes as long as those done.  The same in all processes."""
        if self.seconds == math.inf:
            return True
        elapsed = _mean_of(self.watch.seconds)
        each = self.each if done == 0 else elapsed / done
        return elapsed + each <= self.seconds


def unlimited(seen: Sequence[Call], held: Sequence[Call], rows: bool) -> Plan:
    """The plan for rounds that may take as long as they do: about 2,000 samples each, in all processes together.

    seen, held: batches of inputs to fit on, and held-out ones.  rows: their leading axis holds independent samples.
    """
    return Plan(_batches_of(_SAMPLES, seen, rows), held)


def limited(
    plan: Plan,
    seen: Sequence[Call],
    rows: bool,
    seconds: float,
    rounds: int,
    look: Callable[[Sequence[Call]], object],
    rehearse: Callable[[], object],
) -> Plan:
    """The plan for rounds that have so many seconds: with as many batches and held-out inputs, or fewer.

    plan: of rounds without a limit, of batches `seen` with these rows.  look: at held-out inputs.  rehearse: takes one
    batch through a round.  Both are timed, and leave everything as it was.  The same in all processes.
    """
    # 1. What one batch takes, of either kind.
    look(plan.held[:1])  # the first is not timed: it sets kernels up
    watch = Stopwatch()
    look(plan.held[:1])
    of_a_look = max(_mean_of(watch.seconds), _TICK)
    rehearse()
    spent = _mean_of(watch.seconds)
    of_a_batch, of_held = max(spent - of_a_look, _TICK), _LOOKS * of_a_look
    # 2. As many as there is time for in a round: first the held-out ones, which have a share of it.
    left = max(seconds - spent, 0.0)
    most = max(int(_SHARE_HELD * left / rounds / of_held), _batches_of(_FEWEST, plan.held, rows))
    held = plan.held[:: -(-len(plan.held) // most)]
    in_rounds = left - of_a_look * len(held)  # without the look before the first round
    most = max(int((in_rounds / rounds - of_held * len(held)) / of_a_batch), _batches_of(_FEWEST, seen, rows))
    batches = min(plan.batches, most)
    return Plan(batches, held, of_a_batch * batches + of_held * len(held), left, Stopwatch())


@dataclass(frozen=True)
class Descent:
    """How much descent there is time for.

    steps: of it.  held: the held-out inputs that decide.  seconds: it has.  watch: the time since then.
    """

    steps: int
    held: Sequence[Call]
    seconds: float
    watch: Stopwatch

    def is_late(self) -> bool:
        """Whether it takes much longer than it has, so that it ends at this look.  The same in all processes."""
        return _mean_of(self.watch.seconds) > _LATE * self.seconds


def descent_within(
    seconds: float,
    steps: int,
    held: Sequence[Call],
    rows: bool,
    look: Callable[[Sequence[Call]], object],
    rehearse: Callable[[], object],
) -> Descent:
    """As many steps as so many seconds hold, of `steps` at most, and as many held-out inputs.

    look, rows: see `limited`.  rehearse: takes one step. It is timed, and leaves everything as it was.
    """
    look(held[:1])  # the first of either is not timed: it sets kernels up
    rehearse()
    watch = Stopwatch()
    look(held[:1])
    of_held = max(_mean_of(watch.seconds), _TICK)
    rehearse()
    of_a_step = max(_mean_of(watch.seconds) - of_held, _TICK)
    most = max(int(_SHARE_HELD * seconds / _LOOKS_OF_DESCENT / of_held), _batches_of(_FEWEST, held, rows))
    held = held[:: -(-len(held) // most)]
    left = max(seconds - _LOOKS_OF_DESCENT * of_held * len(held), 0.0)
    return Descent(min(steps, int(left / of_a_step)), held, seconds, Stopwatch())


def _batches_of(samples: int, calls: Sequence[Call], rows: bool) -> int:
    """How many batches of these hold about so many samples, in all processes together; one at least."""
    each = len(Arguments.of(*calls[0]).tensors[0]) if rows else 1
    return min(max(samples // (each * processes.count()), 1), len(calls))


def _mean_of(number: float) -> float:
    """The mean of a number over all processes."""
    return processes.total(number) / processes.count()
