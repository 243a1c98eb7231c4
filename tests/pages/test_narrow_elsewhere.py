"""Bounds on narrow inputs, judged by rows that no bound was chosen on."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.narrow import elsewhere
from benchmarks.narrow.elsewhere import as_they_are, drift_of, judged

ROW = {"gap": "0.1", "rho": "0.5", "poses": "", "others": ""}


@pytest.mark.parametrize(
    ("row", "is_taken"),
    [
        ({"rho": "1.2"}, True),
        ({"rho": "1.3"}, False),
        ({"poses": "0.8"}, True),
        ({"poses": "1.2"}, False),
        ({"rho": "1.2", "poses": "1.2"}, True),
        ({"others": "1.2"}, True),
        ({"poses": "0.8", "others": "1.3"}, False),
    ],
)
def test_a_row_is_judged_as_auto_would(row: dict[str, str], is_taken: bool) -> None:
    assert as_they_are(drift_of(ROW | row)) == is_taken


def test_counts_of_rows() -> None:
    """Taken though they err, refused though they do not, and the largest error that was taken."""
    rows = [
        ROW | {"rho": rho, "error": error}
        for rho, error in (("0.4", "1.00"), ("0.5", "1.04"), ("0.6", "1.02"), ("1.3", "1.01"), ("1.4", "1.5"))
    ]
    assert judged(rows, as_they_are) == (3, 1, 1, 1.04)


def test_the_decision_says_what_the_rows_say() -> None:
    page = Path(__file__).parents[2] / "docs" / "decisions" / "0078-bounds-judged-elsewhere.md"
    text = " ".join(page.read_text(encoding="utf-8").split())
    for line in elsewhere.tell(elsewhere.RESULTS):
        assert line in text
