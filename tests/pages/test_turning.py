"""The stored conversions of policies that learned one side or both: what was promised, and what came of it."""

from __future__ import annotations

import csv
from collections.abc import Callable

from benchmarks.narrow.turning import COLUMNS, RESULTS

ROWS = [dict(row) for row in csv.DictReader(RESULTS.open(encoding="utf-8"))]
Row = dict[str, str]


def rows(test: Callable[[Row], bool]) -> list[Row]:
    found = [row for row in ROWS if test(row)]
    assert found
    return found


def test_every_policy_was_converted_in_every_way() -> None:
    assert tuple(ROWS[0]) == COLUMNS and len(ROWS) == 2 * 3 * 4 * 7


def test_nothing_unconditional_is_promised_of_a_policy_that_learned_one_side() -> None:
    for row in rows(lambda row: row["learned"] == "left" and row["method"] != "average"):
        assert "few percent" not in row["said"] or row["said"].endswith("if that learned both sides")


def test_what_a_normaliser_remembers_is_fitted_to() -> None:
    """Not worse than the original by more than a fifth on the side that it knows, whatever inputs are given."""
    for row in rows(lambda row: row["learned"] == "left" and row["normaliser"] == "True"):
        if row["method"] == "average":
            assert float(row["left"]) > 1
        else:
            assert row["said"].startswith("its distance from the original is unknown")
        if row["method"] == "reduce":
            assert float(row["left"]) <= 1.2 and float(row["right"]) <= 0.5


def test_policies_that_learned_both_sides_lose_nothing() -> None:
    for row in rows(lambda row: row["learned"] == "both"):
        assert float(row["left"]) <= 1.05 and float(row["right"]) <= 1.05
