"""Reports as plain text with aligned columns, which fit a terminal where its width is given.

    net.pt2: converted: equivariant; ...

    Cost
                  before     after
      parameters  4,292,000  2,146,000  x0.50

Headings stand at the margin, all else two characters in. Bars and curves are for pages alone.
"""

from __future__ import annotations

import textwrap

from chiralize.errors.words import when
from chiralize.report.assembling import document
from chiralize.report.brief import brief
from chiralize.report.document import Block, Document, Line, Section, Table
from chiralize.report.records import Report

NARROWEST = 8
"""Characters that are left of a shortened cell at least."""
_SHORTENED = "…"
SCREEN = 23
"""Lines of the smallest terminal, less the one of the prompt."""


def to_text(report: Report, width: int | None = None, *, short: bool = False) -> str:
    """The report for a terminal or a log: no colour, no trailing spaces, one newline at the end.

    width: columns of the terminal: longer lines are wrapped, and long cells of tables shortened in the middle; None
    for files and pipes, where nothing is left out.  short: so few lines that they fit on one screen; where warnings are
    too many for it, each says what it is about, and `-v` why.
    """
    if not short:
        return _written(document(report), width)
    whole = _written(brief(report), width)
    if width is None or whole.count("\n") <= SCREEN:
        return whole
    return _written(brief(report, as_heads=True), width)


def _written(page: Document, width: int | None) -> str:
    """The first line, then all blocks."""
    lines = wrapped(f"{page.title}: {page.sentence}", width, "")
    for block in page.blocks:
        lines += _lines(block, width)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _lines(block: Block, width: int | None) -> list[str]:
    """One block as lines."""
    if isinstance(block, Section):
        return ["", *wrapped(block.title, width, "")]
    if isinstance(block, Line):
        # "FAIL: ..." says by itself that it is no good
        mark = when(block.tone == "bad" and not block.text.startswith("FAIL"), "warning: ")
        return wrapped(f"{mark}{block.text}", width, "  ")
    if isinstance(block, Table):
        return aligned(block, width)
    return []


def wrapped(text: str, width: int | None, indent: str) -> list[str]:
    """A sentence in lines of at most `width` characters, those after the first further in. Long words stay whole."""
    if width is None:
        return [indent + text]
    wrapper = textwrap.TextWrapper(max(width, 2 * NARROWEST), initial_indent=indent, subsequent_indent=f"{indent}  ")
    wrapper.break_long_words = wrapper.break_on_hyphens = False
    return wrapper.wrap(text)


def aligned(block: Table, width: int | None = None) -> list[str]:
    """Columns two spaces apart, each as wide as its widest cell; columns without any text are left out."""
    widths: dict[int, int] = {}
    for index, (head, *cells) in enumerate(zip(block.header, *block.rows, strict=True)):
        if any(cells):
            widths[index] = max(map(len, (head, *cells)))
    if width is not None:
        widths = _fitted(widths, block.right, width)
    lines: list[str] = []
    for row in (block.header, *block.rows):
        cells = [_cell(row[index], size, index in block.right) for index, size in widths.items()]
        lines.append("  " + "  ".join(cells))
    return lines


def _cell(text: str, width: int, right: bool) -> str:
    """A cell at the width of its column."""
    text = shortened(text, width)
    if right:
        return text.rjust(width)
    return text.ljust(width)


def _fitted(widths: dict[int, int], right: frozenset[int], width: int) -> dict[int, int]:
    """Widths of columns, the widest made narrower until all fit. Columns of figures keep theirs."""
    widths = dict(widths)
    excess = sum(widths.values()) + 2 * len(widths) - width
    while excess > 0:
        wide = {index: size for index, size in widths.items() if index not in right and size > NARROWEST}
        if not wide:  # narrower it does not get: lines run over
            break
        widest = max(wide, key=lambda index: wide[index])
        widths[widest] -= 1
        excess -= 1
    return widths


def shortened(text: str, width: int) -> str:
    """The text, without its middle where it is longer: names differ at their ends.

    >>> shortened("blocks.0.attention.weight", 15)
    'blocks.….weight'
    """
    if len(text) <= width:
        return text
    head = width // 2
    tail = width - head - len(_SHORTENED)
    return text[:head] + _SHORTENED + text[len(text) - tail :]
