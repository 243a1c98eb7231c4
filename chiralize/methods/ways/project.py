"""`project`: pairs of units that the specification names, or guesses, and all weights projected for them.

Nothing of what the network learned is looked at, so that the result is a start for training, as in the paper.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from chiralize.body.tensors import ConversionSpec
from chiralize.infer.hidden.impose import Imposed
from chiralize.methods.fill.projection import projected
from chiralize.methods.pairing import pairing_of
from chiralize.methods.replaced_parts import with_replaced_parts
from chiralize.problem.earlier import keeping
from chiralize.problem.problem import Fallback, Method, Problem
from chiralize.problem.result import Draft


def _drafts(problem: Problem) -> Iterator[Draft]:
    """In the pairs that the specification names, or in one guess after the other."""
    spec = problem.network.resolved.spec
    for hidden in spec.hidden.alternatives:
        imposed = replace(spec, hidden=hidden)
        yield projected(problem, "project", partial(_imposed, imposed))


def _imposed(spec: ConversionSpec, problem: Problem) -> Imposed:
    """The chooser that imposes a layout; spaces that it leaves to `match` are paired as that pairs them."""
    graph = problem.network.graph()
    return Imposed(spec, pairing_of(problem), keeping(graph, problem.network.others.earlier))


METHOD = Method(
    "project",
    _drafts,
    partial(with_replaced_parts, method="project"),
    Fallback(
        "match",
        "project, with matched pairs",
        "imposed pairs lose much of what tells left from right: pairs of similar units, as of match, were taken",
    ),
    lambda problem: _imposed(problem.network.resolved.spec, problem),
    averages="part",
    keeps_units=True,
    is_trained_on=True,
    on_weights="project weights",
)
