"""The table of trained networks on the page of pictures is that of the benchmark."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "pictures" / "trained" / "results.csv"
WAYS = (("flip test, unshifted", "flip test"), ("flip test, shifted by one cell",), ("flip test, aligned",))
NAMES = ("residual", "HRNet", "ViTPose", "SimCC", "voxels")


@pytest.mark.parametrize("task", NAMES)
def test_the_page_has_the_figures_of_the_benchmark(task: str) -> None:
    rows = [row for row in csv.DictReader(RESULTS.read_text().splitlines()) if row["task"] == task]
    lines = (ROOT / "docs" / "pictures.md").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith((f"| {task},", f"| {task} |")))
    cells = [cell.strip() for cell in line.strip("|").split("|")][3:]
    for cell, ways in zip(cells, WAYS, strict=True):
        ratios = [row["ratio"] for row in rows if row["way"] in ways]
        assert cell == (f"{float(ratios[0]):.3f}" if ratios else "")
