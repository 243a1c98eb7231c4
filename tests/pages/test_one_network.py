"""docs/one-network.md runs as it stands, and has a word on every folder."""

from __future__ import annotations

import doctest
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "one-network.md"
PACKAGE = PAGE.parents[1] / "chiralize"


def test_the_page_runs() -> None:
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert result.attempted > 20 and not result.failed


def test_it_has_a_word_on_every_folder() -> None:
    text = PAGE.read_text(encoding="utf-8")
    folders = [path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()]
    assert [folder for folder in folders if f"{folder}/" not in text] == []
