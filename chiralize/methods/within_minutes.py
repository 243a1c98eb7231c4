"""Costly networks: how many inputs `auto` fits them on, and how long a fit takes.

A fit runs the network a dozen times on every input. A recogniser of clips may take sixteen thousand million
multiplications for each: a day for two thousand clips. But every weight works on all joints and frames of a clip. A
graph network calibrated on 48 clips has a rho of 3.0 at width 0.5, on ten times as many 2.7 (decision 0088).

Two kinds of estimates. What `auto` does (how many inputs, which widths) depends on multiplications alone, so that it is
the same on every machine; what is said of its time (`forecast`, `how_long`) is measured on one run. A network of 1e9
multiplications is fitted on 100 inputs if these use its weights often enough, else on more.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import ceil, prod

from chiralize.graph import processes
from chiralize.graph.running import Call, Runner
from chiralize.problem.cost import CLIP, affordable_samples, multiplications_a_sample, uses_of_a_weight
from chiralize.problem.data.cutting import thinned
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.request import WIDTHS

_WORK = 1e11
"""Multiplications of one run over all inputs: about five seconds of one core."""
_USES, _LEAST = 20_000, 60
"""How often every weight is used on all of them together, and how many they are at least."""
_RUNS = 12
"""What a fit takes on every input, in runs of the network: 5 to 21 where these are costly (decision 0088)."""
_RUNS_TO_MEASURE = 6
"""The same to measure its result, on inputs of other kinds, too."""
_ROWS, _A_MINUTE = 12_000, 6e11
"""Multiplications to solve a layer for, times the square of what it reads; and those of a minute, in float64."""
_RUNS_BESIDE, _WORK_BESIDE = 600, 1.5e12
"""What a conversion does beside its fit, in runs of one sample and in multiplications: to look at the network and its
mirror, and to verify the result in float64 (decision 0089)."""
_COSTLY = 2e8
"""Multiplications of a sample from which on that takes minutes."""
_MINUTES = 4e12
"""Multiplications of a fit and its figures, about three minutes, above which one fit has to do."""
_HERE = " with the machine as busy as now"
_WORTH_TELLING = 5e11
"""Multiplications of a fit, about half a minute, above which its time is told."""


def are_too_many(problem: Problem) -> bool:
    """Whether `auto` is to fit on fewer inputs than there are. Whoever names a method has everything fitted.

    The same in all processes that share the inputs.
    """
    network, inputs = problem.network, problem.batches.inputs
    if problem.method.drafts is not None or network.carried or not inputs:
        return False
    return processes.total(_samples(network, inputs)) > _most(network) * processes.count()


def with_fewer_inputs(problem: Problem) -> Problem:
    """The problem with as many inputs as can be fitted within minutes, and a remark that says so."""
    network, batches = problem.network, problem.batches
    most = _most(network)
    given, drawn = thinned(network, batches.given, most), thinned(network, batches.drawn, most)
    count, left = (processes.total(_samples(network, calls)) for calls in (batches.inputs, drawn or given))
    cost = f"{multiplications_a_sample(network) / 1e6:,.1f} million multiplications"
    remark = f"fitted on {left:,.0f} of {count:,.0f} inputs, each of {cost}: --method reduce takes all"
    return problem.with_batches(given=given, drawn=drawn).with_remarks(remark)


def takes_minutes(problem: Problem) -> bool:
    """Whether one fit takes so long that there is to be no other beside it: of another width, or with mixed units.

    The same in all processes that share the inputs.
    """
    network, inputs = problem.network, problem.batches.inputs
    if network.carried or not inputs:
        return False
    samples = processes.total(_samples(network, inputs))
    if problem.method.drafts is None:  # `auto`, which thins them; a method that was named takes all
        samples = min(samples, _most(network) * processes.count())
    return (_RUNS + _RUNS_TO_MEASURE) * samples * multiplications_a_sample(network) > _MINUTES


def affordable_widths(problem: Problem) -> tuple[float, ...]:
    """The widths that `auto` tries: of a network whose fit takes minutes one alone.

    That is the one that is likelier to do: of networks that read clips the wider one, else half (decision 0089).
    """
    if not takes_minutes(problem):
        return WIDTHS
    return WIDTHS[-1:] if uses_of_a_weight(problem.network) >= CLIP else WIDTHS[:1]


def forecast(problem: Problem) -> str:
    """` (auto takes 5 to 9 minutes; --method average 3)` for a network of which that takes minutes, else "".

    One sample is run; a conversion takes so many runs of it, with one width of `reduce` or with both.
    """
    network, inputs = problem.network, problem.batches.inputs
    work = multiplications_a_sample(network)
    is_auto, is_average = problem.method.drafts is None, problem.method.averages == "whole"
    if not (is_auto or is_average) or network.carried or not inputs or work < _COSTLY:
        return ""
    # runs that every conversion makes, then the fit of one width; the longest way is all widths and the average after
    of_a_run = _minutes_of(network, (tuple(network.args), dict(network.kwargs)))
    average = (_RUNS_BESIDE + _WORK_BESIDE / work) * of_a_run
    if not is_auto:
        return f" (that and all that follows take about {average:.0f} minutes{_HERE})" if average >= 1.5 else ""
    samples = min(_samples(network, inputs), _most(network))
    fit = (_RUNS + _RUNS_TO_MEASURE) * samples * of_a_run + _minutes_to_solve(network)
    if average + 2 * fit < 1.5:
        return ""
    longest = average + len(affordable_widths(problem)) * fit
    least, most, without = (max(round(minutes), 1) for minutes in (average + fit, longest, average))
    span = f"{least} to {most}" if least < most else f"{most}"
    return f" (auto takes about {span} minutes{_HERE}; --method average {without})"


def how_long(problem: Problem) -> str:
    """` (the fit takes about a minute)` where it takes half of one and more, else ""; measured on one call."""
    network, calls = problem.network, problem.batches.fitted
    count = _samples(network, calls)
    if network.carried or _RUNS * count * multiplications_a_sample(network) < _WORTH_TELLING:
        return ""
    minutes = _RUNS * count * _minutes_of(network, calls[0]) + _minutes_to_solve(network)
    if minutes < 1.5:
        return " (the fit takes about a minute)"
    return f" (the fit takes about {minutes:.0f} minutes; --method average needs none)"


def _minutes_of(network: Network, call: Call) -> float:
    """The minutes that a run of one sample takes, on the clock, as the machine is now."""
    with Runner(network.module) as runner:
        runner.run([call])  # the first takes longer
        start = time.perf_counter()
        runner.run([call])
    return (time.perf_counter() - start) / 60 / max(network.samples_in(call), 1)


def _minutes_to_solve(network: Network) -> float:
    """The minutes that the normal equations of all layers take, however many inputs there are."""
    # "out in *kernel": a layer that reads n features has normal equations of n x n
    weights = (weight.shape for weight in network.module.parameters() if weight.ndim > 1)
    return sum(_ROWS * prod(shape[1:]) ** 2 for shape in weights) / _A_MINUTE


def _most(network: Network) -> int:
    """How many inputs `auto` fits a network on: fewer of costly ones, but enough of them for every weight."""
    return affordable_samples(network, _WORK, max(_LEAST, ceil(_USES / max(uses_of_a_weight(network), 1))))


def _samples(network: Network, calls: Sequence[Call]) -> int:
    """The number of samples in calls of one size, of which the first alone is read."""
    return len(calls) * network.samples_in(calls[0]) if calls else 0
