"""What a rho means for the error: what conversions with such a rho came to in the benchmarks.

rho is the distance of a result from the original's flip average, in units of half the original's gap. Reports say of it
what was seen of other networks (`parts`), pages draw it (`dial`, `facts`). A row of a table holds up to its rho:

    rho 0.7    above 0.5, up to 1.0    "0.98 to 1.08": of ten such results nine had 0.98 to 1.08 times the error

Whether that is a prediction for the network at hand is decided elsewhere (`distance`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf, isinf

from chiralize.report.document import plain

CONVERSIONS = 924
MEANING = (
    (0.5, "0.97 to 1.02"),
    (1.0, "0.98 to 1.08"),
    (1.25, "0.99 to 1.09"),
    (1.5, "1.00 to 1.09"),
    (2.0, "1.01 to 2.11"),
    (5.0, "1.03 to 3.50"),
    (inf, "1.75 to 10.52"),
)
"""Of the conversions in benchmarks/accuracy/results.csv, and those on narrow inputs in benchmarks/narrow/forced.csv:
upper end of rho, and between which multiples of the original's error nine of ten results lie."""
LOOPS = 91
LOOP_MEANING = (
    (0.01, "0.95 to 1.00"),
    (1.25, "0.96 to 1.05"),
    (2.0, "0.97 to 1.13"),
    (4.0, "1.01 to 1.99"),
    (inf, "1.14 to 12.19"),
)
"""The same of benchmarks/closed_loop/results.csv, where recurrent networks act on what they did before: rho is measured
along sequences, and all results lie within these multiples of the original's error in the loop."""


def meaning(rho: float) -> str:
    """A sentence on the error that conversions of the benchmark with such a rho had."""
    between, factors = _range_around(rho, MEANING)
    return f"Of {CONVERSIONS} conversions, nine of ten with a rho {between} had {factors} times the original's error."


def meaning_in_the_loop(rho: float) -> str:
    """A sentence on the error that recurrent networks with such a rho along sequences had when they ran in the loop."""
    between, factors = _range_around(rho, LOOP_MEANING)
    return (
        f"Of {LOOPS} conversions of recurrent networks that ran in the loop, all with a rho {between} along sequences "
        f"had {factors} times the original's error there."
    )


def _range_around(rho: float, table: Sequence[tuple[float, str]]) -> tuple[str, str]:
    """The row of a table that a rho falls into: the bounds in words, and the multiples of the error.

    table: rows of an upper end of rho and the multiples up to it, the last of infinity.
    """
    lower, upper, factors = 0.0, *table[0]
    for (end, _), (next_end, next_factors) in pairwise(table):
        if not rho <= end:  # a rho that is no number belongs to the last row
            lower, upper, factors = end, next_end, next_factors
    if isinf(upper):
        between = f"above {plain(lower)}"
    else:
        between = f"of {plain(lower)} to {plain(upper)}"
    return between, factors


def factors(rho: float, in_the_loop: bool) -> tuple[float, float]:
    """Between which multiples of the original's error the results with such a rho lay."""
    low, _, high = _range_around(rho, LOOP_MEANING if in_the_loop else MEANING)[1].partition(" to ")
    return float(low), float(high)
