"""The page of public models says what was measured."""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.public_models.page import page

ROOT = Path(__file__).parents[1]


def test_page_is_in_step() -> None:
    with (ROOT / "benchmarks" / "public_models" / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert (ROOT / "docs" / "public-models.md").read_text(encoding="utf-8") == page(rows), (
        "run: python -m benchmarks.public_models.page benchmarks/public_models/results.csv docs/public-models.md"
    )
    assert not [row["model"] for row in rows if float(row["match_residual"] or 0) > 1e-10]
