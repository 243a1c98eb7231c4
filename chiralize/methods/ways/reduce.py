"""`reduce`: a share of the hidden units, each with its mirror image, and what reads them refitted by least squares.

At width 1 every unit stays, with its mirror image beside it: that is the average.

The width is a share of the units of the flip average, which runs both views. A layer of 8 units has 16 in the average;
at width 0.5, 4 of the 8 stay, each with its mirror image: 8 units, which T swaps in pairs.

`methods.drafts` asks the record at the end of this file: first `prepare`, then the drafts. The work is in
`methods/reduce`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from chiralize.methods.fill.both_views import averaged
from chiralize.methods.pairing import pairing_of
from chiralize.methods.reduce.reduce import reduced
from chiralize.methods.symmetric_norms import normalised
from chiralize.problem.problem import MAX_DRIFT, Method, Problem
from chiralize.problem.result import Draft

_HALF = 0.5
"""The width where the user gives none: as many units as the original has."""


def _prepared(problem: Problem) -> Problem:
    """The problem with symmetric normalisers; as it is where both views run, each with the normalisers that it had."""
    if problem.request.width == 1:
        return problem
    return replace(problem, network=normalised(problem, "reduce"))


def _drafts(problem: Problem) -> Iterator[Draft]:
    """The drafts of half the width, or of the one that was asked for."""
    width = problem.request.width
    # Nothing is refitted at width 1, so that it needs no inputs, which `reduced` asks for.
    if width == 1:
        yield Draft(averaged(problem.network))
    else:
        yield from reduced(problem, _HALF if width is None else width)


METHOD = Method(
    "reduce",
    _drafts,
    _prepared,
    pairing=pairing_of,
    is_fitted=True,
    takes_width=True,
    max_drift=MAX_DRIFT,
    on_weights="refit weights",
)
