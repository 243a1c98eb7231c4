"""What docs/closed-loop-measured.md says of trained policies is what benchmarks/robots has measured."""

from __future__ import annotations

from benchmarks.accuracy.summary import read
from benchmarks.robots.run import RESULTS
from benchmarks.robots.table import LEAST, PAGE, filled, is_within_error, violations

ROWS = read(RESULTS)


def test_the_tables_are_those_of_the_file() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == filled(text, ROWS), "python -m benchmarks.robots.table --write"


def test_conversions_that_lose_the_gait_are_told() -> None:
    """A row of which the report promised something, and that returned less than nine tenths, is listed on the page."""
    lost = [row for row in ROWS if row["outcome"] and row["ratio"] and float(row["ratio"]) < LEAST]
    assert len(lost) >= 4
    page = PAGE.read_text(encoding="utf-8")
    assert all(map(is_within_error, violations(ROWS))), "beyond the error of its return, none is handed over unwarned"
    for row in violations(ROWS):
        assert f"- {row['policy']}, {row['way']}, calibration {row['calibration']}:" in page
