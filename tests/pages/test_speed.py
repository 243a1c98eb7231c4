"""The speed benchmark runs, and its page and its results say the same."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks.speed import conversion, run
from benchmarks.speed.table import RESULTS, written

PAGE = Path(__file__).parents[2] / "docs" / "speed.md"


def test_the_page_is_in_step() -> None:
    """`python -m benchmarks.speed.table --write docs/speed.md` mends it."""
    with RESULTS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    page = PAGE.read_text(encoding="utf-8")
    assert "<!-- speed -->" in page and "<!-- runtimes -->" in page and written(page, rows) == page
    assert written(page, [{**own, "ratio": "9"} for own in rows]) != page


@pytest.mark.parametrize(("case", "mode"), [("linear", "forward"), ("gru", "train"), ("frame lifter", "forward")])
def test_it_runs(case: str, mode: str, tmp_path: Path) -> None:
    """A small width: every variant has a row, the original's ratio is one, blocks hold half of the parameters."""
    path = tmp_path / "speed.csv"
    words = ["--widths", "16", "--batches", "2", "--modes", mode, "--only", case, "--rounds", "2", "--csv", str(path)]
    assert run.main(words) == 0
    with path.open(newline="") as file:
        rows = {row["variant"]: row for row in csv.DictReader(file)}
    assert float(rows["dense"]["ratio"]) == 1.0 and float(rows["blocks"]["ratio"]) > 0
    assert 0.45 < float(rows["blocks"]["parameters"]) < 0.6
    assert ("fused" in rows) == (case == "frame lifter")


def test_steps_of_a_conversion_are_timed(tmp_path: Path) -> None:
    """Every step has a row, the last one is the whole, and a network is exported once."""
    path = tmp_path / "conversion.csv"
    words = ["--only", "mlp", "--what", "project", "verify", "--repeats", "1", "--csv", str(path)]
    assert conversion.main(words) == 0
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for what in ("project", "verify"):
        *steps, whole = [row for row in rows if row["what"] == what]
        assert whole["step"] == "all" and {"exporting"} < {row["step"] for row in steps}
        assert int(whole["exports"]) == 1 and int(whole["runs"]) == sum(int(row["runs"]) for row in steps) > 10
        assert float(whole["seconds"]) > 0
