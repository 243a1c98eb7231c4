"""`average`: (f(x) + T f(T x)) / 2, both views in one module. It is exact whatever the network is, at two passes."""

from __future__ import annotations

from collections.abc import Iterator

from chiralize.methods.fill.both_views import averaged
from chiralize.problem.problem import Method, Problem
from chiralize.problem.result import Draft


def _drafts(problem: Problem) -> Iterator[Draft]:
    """The one draft that there is."""
    yield Draft(averaged(problem.network))


METHOD = Method("average", _drafts, averages="whole")
