"""`match`: hidden units in pairs that resemble each other's mirror image, and all weights made symmetric for them.

With inputs the pairs are found by what units do, and the weights are refitted; without, both come from the weights.
Class, names and shapes stay. A unit without a partner is its own (a fixed point), which keeps its even part alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from chiralize.errors import UnsupportedError
from chiralize.graph.copies import is_large
from chiralize.methods.fill.projection import projected
from chiralize.methods.pairing import pairing_of
from chiralize.methods.reduce.reduce import rematched
from chiralize.methods.replaced_parts import with_replaced_parts
from chiralize.problem.problem import Fallback, Method, Problem
from chiralize.problem.result import Draft


def _drafts(problem: Problem) -> Iterator[Draft]:
    """A draft with fixed points and one without. Large networks begin with pairs only, which keep more of the odd
    part.
    """
    refit = rematched(problem)
    for fixed_points in (False, True) if is_large(problem.network.module) else (True, False):
        yield _refitted(problem, refit, fixed_points)


def _refitted(problem: Problem, refit: Callable[[bool], Draft], fixed_points: bool) -> Draft:
    """The draft, refitted where there are inputs to fit on and the network can be fitted."""
    chooser_of = partial(pairing_of, fixed_points=fixed_points)
    if not problem.batches.given:
        return projected(problem, "match", chooser_of)
    # a network that cannot be fitted (it is too large, say) is still matched, and a note says so
    try:
        return refit(fixed_points)
    except UnsupportedError as error:
        network = problem.network.with_notes(f"weights projected, not refitted: {error.where}: {error.facts}")
        return projected(replace(problem, network=network), "match", chooser_of)


METHOD = Method(
    "match",
    _drafts,
    partial(with_replaced_parts, method="match"),
    Fallback(
        "project",
        "match, with imposed pairs",
        "pairs of similar units lose much of what tells left from right: imposed ones, as of project, were taken",
    ),
    pairing_of,
    is_fitted=True,
    averages="part",
    keeps_units=True,
    on_weights="project weights",
)
