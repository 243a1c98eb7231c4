"""Reports as plain text with aligned columns."""

from __future__ import annotations

from chiralize.report.assembling import document
from chiralize.report.document import Block, Line, Section, Table
from chiralize.report.records import Report


def to_text(report: Report) -> str:
    """The report for a terminal or a log: no colour, no trailing spaces, one newline at the end."""
    page = document(report)
    lines = [f"{page.title}: {page.verdict}"]
    for block in page.blocks:
        lines += _lines(block)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _lines(block: Block) -> list[str]:
    if isinstance(block, Section):
        return ["", block.title]
    if isinstance(block, Line):
        mark = "warning: " if block.tone == "bad" and not block.text.startswith("FAIL") else ""
        return [f"  {mark}{block.text}"]
    if isinstance(block, Table):
        return aligned(block)
    return []


def aligned(block: Table) -> list[str]:
    """Columns two spaces apart, each as wide as its widest cell; columns without any text are left out."""
    rows = [block.header, *block.rows]
    kept = [place for place in range(len(block.header)) if any(row[place] for row in block.rows)]
    widths = {place: max(len(row[place]) for row in rows) for place in kept}
    return [
        "  "
        + "  ".join(
            row[place].rjust(widths[place]) if place in block.right else row[place].ljust(widths[place])
            for place in kept
        )
        for row in rows
    ]
