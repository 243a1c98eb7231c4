"""How a conversion changed the answers: drift from the original's flip average, and whether left and right survived.

    s = RMS(f(x) - mean f)        gap = RMS(f(x) - T f(T x)) / s        TTA = (f(x) + T f(T x)) / 2
    drift = RMS(g(x) - TTA) / s   rho = drift / max(gap / 2, 0.01)      lean = RMS(mean(f(x) - T f(T x))) / s

f is the original, g the result; s is that of every unit where an output has several (`graph.units`). `drift_sums` adds
everything up batch by batch, and has a small example.

rho compares with gap / 2, which is how far f itself is from its flip average: at rho = 1 the result has moved as far
from the average as the original was. The least of 0.01 keeps rho finite for networks that commute already.

`figures` calls `measure` for every candidate of a conversion; `commands` do for `verify`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import torch

from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.graph import processes
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.rollouts import HORIZONS, LONGEST, Carried, Steps, roll, roll_both_views
from chiralize.graph.running import Arguments, Around, Call, Runner, check_outputs, placed, random_calls, results
from chiralize.verification.drift_sums import Tally
from chiralize.verification.influence import influence
from chiralize.verification.verdicts import Degeneracy, Drift

Adapt = Callable[[Call], Call]
DEAD, ALIVE = 1e-7, 1e-4
"""Of the largest reaction to any entry: an entry with less is ignored, and one with more is reacted to."""
_ABOUT_0 = Around()


# ---- one pass over the inputs ---------------------------------------------------------------------------------
def measure(
    original: torch.nn.Module,
    converted: torch.nn.Module,
    mirror: NetworkMirror,
    inputs: Sequence[Call],
    source: str,
    *,
    adapt: Adapt | None = None,
    probes: int = 2,
    tensors: Sequence[ResolvedTensor] = (),
) -> tuple[Drift, Degeneracy]:
    """Drift of `converted` from the flip average of `original`, and whether it still tells left from right.

    inputs: held-out calls (args, kwargs), each a batch; axis 0 of the outputs counts as samples.  source: where they
    came from, for the report.  adapt: turns a call of the original into one of the converted network where they
    differ (an averaged network has two copies of every state).  Outputs that are states or integers are left out.
    tensors: what the outputs are, so that scores of classes are known.

    Odd share of an output: the variance over inputs of its odd part (y - T y) / 2 in that of y; of the original's
    flip average (the original's own odd part also holds what is merely asymmetric) and of the result.  dead inputs:
    entries that the original reacts to and the result does not, looked for on the first `probes` calls.
    Raises ModelRunError, UsageError.
    """
    tally, adapted = Tally(mirror, tensors=tensors), inputs
    if adapt is not None:
        adapted = list(map(adapt, inputs))
    with Runner(original) as first, Runner(converted) as second:
        for call, adapted_call in zip(inputs, adapted, strict=True):
            plain = _outputs(first, call, mirror)
            turned = _outputs(first, mirror.turned(call), mirror, turned=True)
            tally.add(plain, turned, results(second.run([adapted_call]).steps[0])[0])
        dead, live = _dead_inputs(first, second, mirror, inputs[:probes], adapted[:probes])
    drift, degeneracy = tally.result(source)
    return drift, replace(degeneracy, dead_inputs=dead, live_inputs=live)


def measure_along(
    original: torch.nn.Module,
    converted: torch.nn.Module,
    mirror: NetworkMirror,
    sequences: Sequence[Steps],
    source: str,
    carried: Carried,
    *,
    two_view: bool = False,
    tensors: Sequence[ResolvedTensor] = (),
) -> tuple[Drift, Degeneracy]:
    """The same along sequences, where both views of the original and the result each carry their own states.

    sequences: held-out ones.  mirror: leaves states alone, since every view starts from the one that is stored.
    two_view: the result takes and returns the states of both views, side by side on their last axis.
    Drift has one figure for every length of `HORIZONS`, up to that which half of the sequences have.
    Raises ModelRunError, UsageError.
    """
    lengths = sorted(chain.from_iterable(processes.gathered(list(map(len, sequences)))))
    longest = min(lengths[len(lengths) // 2], LONGEST)  # the median length, 200 at most
    horizons = tuple(sorted({min(steps, longest) for steps in HORIZONS}))
    tally, sizes = Tally(mirror, horizons, tensors), _of_both_views if two_view else tuple
    with Runner(original) as first, Runner(converted) as second:
        for steps in sequences:
            steps = steps[:longest]
            views = list(roll_both_views(first, steps, carried, mirror))  # both may have one module's state
            answers = roll(second, steps, carried, state_sizes=sizes)
            for number, ((plain, turned), result) in enumerate(zip(views, answers, strict=True)):
                tally.add(plain.answers, turned.answers, result.answers, step=number)
    return tally.result(source)


def _of_both_views(shape: Sequence[int]) -> tuple[int, ...]:
    """The sizes of two states of this shape, side by side on their last axis."""
    return (*shape[:-1], 2 * shape[-1])


def _dead_inputs(
    first: Runner, second: Runner, mirror: NetworkMirror, inputs: Sequence[Call], adapted: Sequence[Call]
) -> tuple[tuple[str, ...], int]:
    """Labels of the entries that only the first network reacts to, and the number of entries that it reacts to.

    An entry counts as ignored below `DEAD` of the result's largest reaction, where the original's is above `ALIVE`.
    """
    before, after = influence(first, mirror, inputs), influence(second, mirror, adapted)
    alive, floor = ALIVE * _highest(before), DEAD * _highest(after)
    is_dead: dict[str, bool] = {}
    for index, (reaction, theirs) in enumerate(zip(before, after, strict=False)):
        if reaction is None or theirs is None or reaction.shape != theirs.shape:
            continue  # integers, and states of which an average has both views'
        # Several entries may have one label, which is dead where all of them are.
        for entry in (reaction > alive).nonzero().tolist():
            label = mirror.label("input", index, tuple(entry))
            is_dead[label] = is_dead.get(label, True) and bool(theirs[tuple(entry)] <= floor)
    return tuple(label for label, dead in is_dead.items() if dead), len(is_dead)


def _highest(reactions: Sequence[torch.Tensor | None]) -> float:
    """The largest reaction to any entry of any input, 0 where there are none."""
    return max((float(reaction.max()) for reaction in reactions if reaction is not None), default=0.0)


# ---- inputs ---------------------------------------------------------------------------------------------------
def random_inputs(
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    count: int,
    seed: int = 0,
    around: Around = _ABOUT_0,
) -> list[Call]:
    """`count` calls in the examples' shapes with N(0, 1) in place of floating-point tensors; integers are kept.

    around: where inputs lie instead.
    """
    return [placed(call, around) for call in random_calls(Arguments.of(args, kwargs), count, seed)]


# ---- running --------------------------------------------------------------------------------------------------
def _outputs(runner: Runner, call: Call, mirror: NetworkMirror, *, turned: bool = False) -> list[torch.Tensor]:
    """The answers to one call from the stored states s, or from T s where `turned`."""
    tensors = results(runner.run([call], mirror.states, turned=turned).steps[0])[0]
    check_outputs(tensors, mirror.outputs)
    return tensors
