"""What reports say of networks that act on what they did before is what benchmarks/closed_loop has measured."""

from __future__ import annotations

from itertools import pairwise

from scipy.stats import spearmanr

from benchmarks.accuracy.summary import read
from benchmarks.closed_loop.run import RESULTS
from chiralize.report.meaning import LOOP_MEANING, LOOPS, meaning_in_the_loop

ROWS = read(RESULTS)
PROMISES = ("within a few percent", "the same answers")


def test_the_table_is_that_of_the_file() -> None:
    assert len(ROWS) == LOOPS
    lower = -1.0
    for upper, factors in LOOP_MEANING:
        ratios = [float(row["ratio"]) for row in ROWS if lower < float(row["rho"]) <= upper]
        assert factors == f"{min(ratios):.2f} to {max(ratios):.2f}", upper
        lower = upper
    assert all(before < after for (before, _), (after, _) in pairwise(LOOP_MEANING))
    assert meaning_in_the_loop(1.1).startswith(f"Of {LOOPS} conversions of recurrent networks that ran in the loop, ")


def test_no_promise_is_broken() -> None:
    promised = [row for row in ROWS if any(words in row["verdict"] for words in PROMISES)]
    assert len(promised) >= 18
    assert max(float(row["ratio"]) for row in promised) <= 1.1


def test_rho_along_sequences_orders_the_errors() -> None:
    rhos, ratios = ([float(row[name]) for row in ROWS] for name in ("rho", "ratio"))
    assert float(spearmanr(rhos, ratios).statistic) > 0.9  # type: ignore[union-attr]
