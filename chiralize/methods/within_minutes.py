"""Costly networks: how many inputs `auto` fits them on, and how long a fit takes.

A fit runs the network a dozen times on every input. A recogniser of clips may take sixteen thousand million
multiplications for each: a day for two thousand clips. But every weight works on all joints and frames of a clip. A
graph network calibrated on 48 clips has a rho of 3.0 at width 0.5, on ten times as many 2.7 (decision 0088).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import ceil

from chiralize.graph import processes
from chiralize.graph.running import Call, Runner
from chiralize.problem.cost import affordable_samples, multiplications_a_sample
from chiralize.problem.data.cutting import thinned
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem

_WORK = 2e11
"""Multiplications of one run over all inputs: about ten seconds of one core."""
_USES, _LEAST = 100_000, 60
"""How often every weight is used on all of them together, and how many they are at least."""
_RUNS = 12
"""What a fit takes on every input, in runs of the network: 5 to 21 where these are costly (decision 0088)."""
_WORTH_TELLING = 5e11
"""Multiplications of a fit, about half a minute, above which its time is told."""


def with_fewer_inputs(problem: Problem) -> Problem:
    """The problem of `auto` with as many inputs as can be fitted within minutes, and a remark where they are fewer.

    What was made beside the inputs gets what these leave. Whoever names a method has everything fitted.
    """
    network, batches = problem.network, problem.batches
    if problem.method.drafts is not None or network.carried or not batches.inputs:
        return problem
    count, most = processes.total(_samples(network, batches.inputs)), _most(network)
    if count <= most * processes.count():
        return problem
    given, drawn = thinned(network, batches.given, most), thinned(network, batches.drawn, most)
    left = _samples(network, drawn or given)
    beside = max(affordable_samples(network, _WORK) - left, 0)
    scattered, posed = _few(network, batches.scattered, beside), _few(network, batches.posed, beside)
    cost = f"{multiplications_a_sample(network) / 1e6:,.1f} million multiplications"
    remark = f"fitted on {processes.total(left):,.0f} of {count:,.0f} inputs, each of {cost}"
    fewer = problem.with_batches(given=given, drawn=drawn, scattered=scattered, posed=posed)
    return fewer.with_remarks(f"{remark}: --method reduce takes all")


def how_long(problem: Problem) -> str:
    """` (the fit takes about a minute)` where it takes half of one and more, else ""; measured on one call."""
    network, calls = problem.network, problem.batches.fitted
    count = _samples(network, calls)
    if network.carried or _RUNS * count * multiplications_a_sample(network) < _WORTH_TELLING:
        return ""
    with Runner(network.module) as runner:
        runner.run([calls[0]])  # the first takes longer
        start = time.perf_counter()
        runner.run([calls[0]])
    minutes = _RUNS * count / network.samples_in(calls[0]) * (time.perf_counter() - start) / 60
    if minutes < 1.5:
        return " (the fit takes about a minute)"
    return f" (the fit takes about {minutes:.0f} minutes; --method average needs none)"


def _most(network: Network) -> int:
    """How many inputs `auto` fits a network on: fewer of costly ones, but enough of them for every weight."""
    uses = multiplications_a_sample(network) / max(network.parameter_count, 1)
    return affordable_samples(network, _WORK, max(_LEAST, ceil(_USES / max(uses, 1))))


def _few(network: Network, calls: Sequence[Call], most: int) -> Sequence[Call]:
    return thinned(network, calls, most) if most else ()


def _samples(network: Network, calls: Sequence[Call]) -> int:
    """The number of samples in calls of one size, of which the first alone is read."""
    return len(calls) * network.samples_in(calls[0]) if calls else 0
