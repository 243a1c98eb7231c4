"""The table of files is what happens: the first command, and the one that its message prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.file_table import BEGIN, END, KINDS, Kind, row

PAGE = Path(__file__).parents[2] / "docs" / "files.md"


def rows() -> list[str]:
    """Of the page's table."""
    made = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    return made.splitlines()[2:]


@pytest.mark.one_in(8)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.file)
def test_row(kind: Kind, tmp_path: Path) -> None:
    assert row(kind, tmp_path) == rows()[KINDS.index(kind)], "run: python -m tests.support.file_table"


def test_every_kind_is_there() -> None:
    assert len(rows()) == len(KINDS) >= 13 and len({kind.file for kind in KINDS}) == len(KINDS)
    assert all("works" in text for text in rows())
