"""The examples' pages and the front page say what the examples' results say."""

from __future__ import annotations

from importlib import import_module

import pytest

from examples.reproduce.__main__ import NAMES, ROOT
from examples.reproduce.summary import summary
from examples.study.page import between
from examples.study.results import read


@pytest.mark.parametrize("name", NAMES)
def test_page_is_in_step(name: str) -> None:
    """`python -m examples.NAME page` mends it."""
    if name == "policy":
        pytest.importorskip("mujoco", reason="the extra policy is not installed")
    example = import_module(f"examples.{name}.example").EXAMPLE
    rows = read(example.folder / "results.csv")
    text = (example.folder / "README.md").read_text(encoding="utf-8")
    assert "<!-- short -->" in text.split("\n")[:15], "a result stands on the first screen"
    for mark, made in example.all_tables(rows).items():
        assert made and between(text, mark, "\n\n".join(table.as_markdown() for table in made)) == text


def test_page_of_results_is_in_step() -> None:
    """`python -m examples.reproduce --pages` mends it."""
    rows = [row for name in NAMES for row in read(ROOT / "examples" / name / "results.csv")]
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert between(text, "examples", summary(rows)) == text
