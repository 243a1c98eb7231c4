"""The page of the literal line says what was measured."""

from __future__ import annotations

from pathlib import Path

from benchmarks.public_models.literal import says
from benchmarks.public_models.literal_page import page, read

ROOT = Path(__file__).parents[2]


def test_page_is_in_step() -> None:
    folder = ROOT / "benchmarks" / "public_models"
    rows, in_python = read(folder / "literal.csv"), read(folder / "python_lines.csv")
    assert (ROOT / "docs" / "literal-line.md").read_text(encoding="utf-8") == page(rows, in_python), (
        "run: python -m benchmarks.public_models.literal_page, with the arguments that stand in it"
    )
    assert {row["verify"] for row in in_python} == {"works"}
    assert not [row["name"] for row in rows if "works" in (row["first"], row["second"]) and row["verify"] != "works"]
    assert not [row["name"] for row in rows if "crash" in (row["first"], row["second"], row["verify"])]


def test_what_a_network_prints_is_no_result() -> None:
    output = (
        "weight initial finished!\nchiralize: after    0 s  loading\nh.pt: converted: equivariant\n  method match\n"
    )
    assert says(output, "h.pt") == "h.pt: converted: equivariant"
    assert says("hello\nUsageError CH207  h.pt: none\n    Fix: that\n", "h.pt") == "UsageError CH207  h.pt: none"
    assert says("hello\n", "h.pt") == ""
