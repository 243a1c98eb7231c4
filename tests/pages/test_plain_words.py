"""Pages that can be read: no page too long, no sentence too long, no table too wide."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.building.links import SHOWN

DOCS = Path(__file__).parents[2] / "docs"
MOST_LINES, MOST_WORDS, MOST_COLUMNS = 250, 40, 12
DECISIONS = sorted((DOCS / "decisions").glob("[0-9]*.md"))
PAGES = [path for path in sorted(DOCS.rglob("*.md")) if "generated" not in path.parts]
SHOWN_PAGES = sorted({DOCS.parent / source for source in SHOWN} | set((DOCS.parent / "examples").glob("*/*.md")))
"""Pages of the repository outside of `docs/`: those that the site shows, and those of all examples."""
OTHER_WORDS = {
    "asymmetry": "gap",
    "calibration data": "calibration inputs",
    "counterpart": "partner",
    "lopsided": "asymmetric, or a gap",
    "test-time": "flip average",
}
"""Words that the field has for the glossary's terms, by the term that the pages use in their place."""


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


@pytest.mark.parametrize("page", [*PAGES, *SHOWN_PAGES], ids=lambda page: str(page.relative_to(DOCS.parent)))
def test_page(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert not too_long(text)
    assert not too_wide(text)


def test_every_decision_is_told_in_a_sentence() -> None:
    """The list of decisions has each page once, under its own number, with one sentence."""
    items = [
        part for part in prose((DOCS / "decisions" / "index.md").read_text(encoding="utf-8")) if part.startswith("- ")
    ]
    entries = [
        re.fullmatch(r"- \[(\d{4})\]\(((\d{4})[^)]*)\) ([^\n]+(?:\n  [^\n]+)*)", item.rstrip()) for item in items
    ]
    told = [entry for entry in entries if entry is not None]
    assert len(told) == len(items)
    assert sorted(entry[2] for entry in told) == [path.name for path in DECISIONS]
    assert all(entry[1] == entry[3] for entry in told)
    assert all(entry[4].endswith(".") and not re.search(r"[.?!] ", entry[4]) for entry in told)


def test_glossary_has_terms_that_are_used() -> None:
    lines = (DOCS / "glossary.md").read_text(encoding="utf-8").splitlines()
    entries = [line for line, after in zip(lines, lines[1:], strict=False) if after.startswith(": ")]
    assert len(entries) == 41
    told = "\n".join(page.read_text(encoding="utf-8").lower() for page in PAGES if page.stem != "glossary")
    for term in (term for entry in entries for term in entry.split(", ")):
        assert re.search(rf"\b{re.escape(term.lower())}", told), term


@pytest.mark.parametrize("folder", ["start", "concepts", "how-to"])
def test_one_word_for_one_thing(folder: str) -> None:
    for page in (DOCS / folder).glob("*.md"):
        text = " ".join(page.read_text(encoding="utf-8").lower().split())
        assert not [(word, term) for word, term in OTHER_WORDS.items() if word in text], page


def test_what_is_too_long_is_seen() -> None:
    assert too_long("One two. " + "word " * 41) and not too_long("word " * 30 + ". " + "word " * 30)
    assert too_wide("|" + " a |" * 13) and not too_wide("|" + " a |" * 12)
    assert not too_long("```python\n" + "word " * 50 + "\n```\n\n| " + "word " * 50 + "|\n")
