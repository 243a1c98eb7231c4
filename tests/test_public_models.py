"""The page of public models says what was measured."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from benchmarks.public_models.page import page
from benchmarks.public_models.trial import _together

ROOT = Path(__file__).parents[1]


def test_page_is_in_step() -> None:
    with (ROOT / "benchmarks" / "public_models" / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert (ROOT / "docs" / "public-models.md").read_text(encoding="utf-8") == page(rows), (
        "run: python -m benchmarks.public_models.page benchmarks/public_models/results.csv docs/public-models.md"
    )
    assert not [row["model"] for row in rows if float(row["match_residual"] or 0) > 1e-10]


def _draw(residual: float, *odd: tuple[float, float], problems: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"residual": residual, "odd": odd, "problems": [*problems]}


def test_draws_count_together() -> None:
    """The largest residual, all problems, and of the odd shares the median: one draw alone may keep too little."""
    draws = [_draw(1e-16, (0.4, 0.1)), _draw(3e-16, (0.5, 0.3), problems=("dead",)), _draw(2e-16, (0.5, 0.5))]
    found = _together(draws)
    assert (found["residual"], found["problems"], found["kept"]) == (3e-16, ["dead"], [[0.25, 0.6, 1.0]])
    assert _together(draws[:1])["problems"] == ["odd share of output 0: 0.400 -> 0.100"]
    few = _together([draws[0], draws[0], draws[2]])
    assert few["problems"] == ["odd share of output 0: median of 3 draws is too little"]
    nothing = _together([_draw(0.0, (0.005, 0.0))])
    assert nothing["problems"] == [] and nothing["kept"] == [[]]
    assert _together([draws[0], {"refusal": "CH303"}]) == {"refusal": "CH303"}
