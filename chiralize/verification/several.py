"""How far a result is from the average over all views of its original, where there are several mirrors.

    views: f(x), A f(A x), B f(B x), A B f(A B x), ...        average: their mean, which commutes with every mirror

Figures are those of one mirror, in its words: where f and the average stand for f and its flip average, the other view
is what would make that average of two, 2 mean - f(x). So gap / 2 is how far f is from the average, and rho what it was.

Example: two mirrors A and B, one number that neither changes. The answers to x, A x, B x and A B x are 1, 2, 3 and 6:
their mean is 3. The other view is 2 * 3 - 1 = 5, whose mean with f(x) = 1 is 3 again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, combinations

from torch import Tensor
from torch.nn import Module

from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Call, Runner, results
from chiralize.verification.drift_sums import Tally
from chiralize.verification.verdicts import Degeneracy, Drift

Mirrors = Mapping[str, NetworkMirror]
"""Every mirror by name."""


def measure_all(
    original: Module, converted: Module, mirrors: Mirrors, inputs: Sequence[Call], source: str
) -> tuple[Drift, dict[str, Degeneracy]]:
    """Drift of the result from the average over all views, and whether it tells the sides of every mirror apart.

    The drift is that of the first mirror. Under each the other view, turned back, is 2 mean - f(x), so that gap, drift
    and lean are the same; joints differ.  Degeneracy by the name of the mirror.  Raises ModelRunError, UsageError.
    """
    tallies = {name: Tally(mirror) for name, mirror in mirrors.items()}
    with Runner(original) as first, Runner(converted) as second:
        for call in inputs:
            plain = _answers(first, call)
            means = _average(first, call, plain, tuple(mirrors.values()))
            theirs = _answers(second, call)
            for name, mirror in mirrors.items():
                tallies[name].add(plain, _opposite(mirror, plain, means), theirs)
    figures = {name: tally.result(source) for name, tally in tallies.items()}
    drift = next(iter(figures.values()))[0]
    return drift, {name: degeneracy for name, (_, degeneracy) in figures.items()}


def views(mirrors: Sequence[NetworkMirror]) -> Iterator[tuple[NetworkMirror, ...]]:
    """Every choice of mirrors to apply one after the other, none of them first."""
    yield from chain.from_iterable(combinations(mirrors, count) for count in range(len(mirrors) + 1))


def _average(runner: Runner, call: Call, plain: Sequence[Tensor], mirrors: Sequence[NetworkMirror]) -> list[Tensor]:
    """The mean over all views of every answer that has one; others as they are."""
    means = list(plain)
    count = 2 ** len(mirrors)  # of views, of which `plain` is the first: no mirror at all
    for chosen in views(mirrors):
        if not chosen:
            continue
        turned = call
        for mirror in chosen:
            turned = mirror.turned(turned)
        for index, answer in enumerate(_answers(runner, turned)):
            # Turned back in the same order: mirrors of one body commute, so A B f(A B x) is one view.
            for mirror in chosen:
                answer = mirror.turned_output(index, answer)
            if answer.is_floating_point():
                means[index] = means[index] + answer
    for index, total in enumerate(means):
        if total.is_floating_point():
            means[index] = total / count
    return means


def _opposite(mirror: NetworkMirror, plain: Sequence[Tensor], means: Sequence[Tensor]) -> list[Tensor]:
    """The answer to T x whose mean with the first answer is the mean over all views."""
    opposite = list(plain)
    for index, (answer, mean) in enumerate(zip(plain, means, strict=True)):
        if answer.is_floating_point():
            opposite[index] = mirror.turned_output(index, 2 * mean - answer)
    return opposite


def _answers(runner: Runner, call: Call) -> list[Tensor]:
    """The tensors that a network answers to one call. Raises ModelRunError."""
    return results(runner.run([call]).steps[0])[0]
