"""Pages that can be read: no page too long, no sentence too long, no table too wide."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
MOST_LINES, MOST_WORDS, MOST_COLUMNS = 250, 40, 12
PAGES = [path for path in sorted(DOCS.rglob("*.md")) if "generated" not in path.parts and "decisions" not in path.parts]


def prose(text: str) -> list[str]:
    """The paragraphs and list items of a page, without code, tables, headings and marks."""
    text = re.sub(r"^ *```.*?^ *```$|<!--.*?-->", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^:::+.*$|^    .*$", "", text, flags=re.MULTILINE)
    return re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.|:) )|\n(?=[|#])|(?<=\|)\n", text)


def sentences(text: str) -> list[str]:
    """Every sentence of the prose. A full stop, a question mark or a colon before a space ends one."""
    paragraphs = [part for part in prose(text) if not part.lstrip().startswith(("|", "#"))]
    whole: list[str] = []
    for paragraph in paragraphs:
        plain = re.sub(r"`[^`]*`", "code", re.sub(r"\]\([^)]*\)", "]", paragraph))
        whole += re.split(r"(?<=[.?!:])[)*_\"]*\s+", plain)
    return whole


def too_long(text: str) -> list[str]:
    return [sentence for sentence in sentences(text) if len(sentence.split()) > MOST_WORDS]


def too_wide(text: str) -> list[str]:
    rows = re.findall(r"^\|.*\|$", text, re.MULTILINE)
    return [row for row in rows if row.replace("\\|", "").count("|") - 1 > MOST_COLUMNS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_page(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert not too_long(text)
    assert not too_wide(text)


def test_what_is_too_long_is_seen() -> None:
    assert too_long("One two. " + "word " * 41) and not too_long("word " * 30 + ". " + "word " * 30)
    assert too_wide("|" + " a |" * 13) and not too_wide("|" + " a |" * 12)
    assert not too_long("```python\n" + "word " * 50 + "\n```\n\n| " + "word " * 50 + "|\n")
