"""Reports as one self-contained HTML page: inline CSS, inline SVG bars, nothing to download, all text escaped."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from html import escape
from math import isfinite

from chiralize.report.assembling import document
from chiralize.report.document import Bars, Block, Curves, Line, Section, Table
from chiralize.report.records import Report

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1d2329;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.05rem;margin:2rem 0 .5rem;border-bottom:1px solid #d5dade;padding-bottom:.2rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;display:block;overflow-x:auto}
th,td{padding:.15rem .9rem .15rem 0;text-align:left;vertical-align:top}th{color:#5a6570;font-weight:600}
.r{text-align:right}.good::before{content:"\\2713  ";color:#18794e}.bad{color:#a2240c}.bad::before{content:"\\26a0  "}
.badge{padding:.1rem .6rem;border-radius:.3rem;color:#fff}.unsure{color:#8a5a00}.unsure::before{content:"? "}
.badge.is-good{background:#18794e}.badge.is-warning{background:#8a5a00}.badge.is-failed{background:#a2240c}
.sentence{font-size:1.05rem;padding:.6rem .9rem;border-left:.3rem solid #18794e;background:#f3f5f6}
.sentence.is-warning{border-color:#b97900}.sentence.is-failed{border-color:#a2240c}
.line{fill:none;stroke:#3b78c2;stroke-width:2}.other{stroke:#c2703b}
.bar{fill:#3b78c2}.over{fill:#a2240c}.tick{stroke:#5a6570;stroke-dasharray:2 2}
p{margin:.25rem 0}svg{display:block;margin:.6rem 0;max-width:100%}img{max-width:100%}
svg text{font:12px system-ui,sans-serif;fill:#1d2329}
@media(prefers-color-scheme:dark){body{color:#e3e7ea;background:#15191d}svg text{fill:#e3e7ea}.bad{color:#ff8a70}
h2{border-color:#3a434b}th{color:#a9b4bd}.unsure{color:#f0b647}.good::before{color:#5fcf9a}.sentence{background:#20272d}
.bar{fill:#6fa8ec}.over{fill:#ff8a70}.tick{stroke:#a9b4bd}}
"""
_WIDTH, _LABEL, _ROW = 720, 260, 20
_BADGES = {"good": "passed", "warning": "with warnings", "failed": "failed"}


def to_html(report: Report, pictures: Mapping[str, bytes] | None = None) -> str:
    """The report as a page that opens from disk.  pictures: PNG files that end it, by their captions."""
    page = document(report)
    badge = _BADGES[page.standing]
    body = "\n".join(_block(block) for block in page.blocks)
    for caption, png in (pictures or {}).items():
        body += f"\n{_picture(caption, png)}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(page.title)}: {badge}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{escape(page.title)} <span class="badge is-{page.standing}">{badge}</span></h1>\n'
        f'<p class="sentence is-{page.standing}">{escape(page.sentence)}</p>\n'
        f"{body}\n</body>\n</html>\n"
    )


def _block(block: Block) -> str:
    if isinstance(block, Section):
        return f"<h2>{escape(block.title)}</h2>"
    if isinstance(block, Line):
        return f'<p class="{block.tone}">{escape(block.text)}</p>'
    if isinstance(block, Table):
        return _table(block)
    return _curves(block) if isinstance(block, Curves) else _bars(block)


def _picture(caption: str, png: bytes) -> str:
    source = b64encode(png).decode("ascii")
    return f'<h2>{escape(caption)}</h2>\n<img alt="{escape(caption)}" src="data:image/png;base64,{source}">'


def _table(block: Table) -> str:
    rows = [_row(block.header, "th", block.right)]
    rows += [_row(row, "td", block.right) for row in block.rows]
    return "<table>\n" + "\n".join(rows) + "\n</table>"


def _row(row: tuple[str, ...], tag: str, right: frozenset[int]) -> str:
    cells: list[str] = []
    for column, text in enumerate(row):
        style = ' class="r"' if column in right else ""
        cells.append(f"<{tag}{style}>{escape(text)}</{tag}>")
    return "<tr>" + "".join(cells) + "</tr>"


def _bars(block: Bars) -> str:
    """Horizontal bars on one scale; a line marks the limit, bars beyond it are red."""
    finite = [bar.value for bar in block.bars if isfinite(bar.value)]
    limits = [bar.limit for bar in block.bars if bar.limit is not None]
    top = max([*finite, *limits], default=0.0)
    if not block.bars or not top:
        return ""
    room = _WIDTH - _LABEL - 130
    parts: list[str] = []
    for index, bar in enumerate(block.bars):
        middle = index * _ROW + 14
        width, style = room, "over"
        if isfinite(bar.value):
            width = room * min(bar.value / top, 1.0)
            style = "over" if bar.limit is not None and bar.value > bar.limit else "bar"
        parts.append(f'<text x="{_LABEL - 8}" y="{middle}" text-anchor="end">{escape(bar.label[-40:])}</text>')
        parts.append(f'<rect x="{_LABEL}" y="{middle - 10}" width="{width:.1f}" height="12" class="{style}"/>')
        parts.append(f'<text x="{_LABEL + width + 6:.1f}" y="{middle}">{escape(bar.text)}</text>')
        if bar.limit is not None:
            at = _LABEL + room * bar.limit / top
            parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{middle - 13}" y2="{middle + 5}" class="tick"/>')
    height = len(block.bars) * _ROW + 4
    return (
        f'<svg role="img" aria-label="{escape(block.title)}" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}">\n' + "\n".join(parts) + "\n</svg>"
    )


def _curves(block: Curves) -> str:
    """Up to two curves over one axis, which is labelled at its ends and at the place that stands out."""
    low = min(0.0, *(min(values) for _, values in block.curves))
    high = max(max(values) for _, values in block.curves)
    width, height, left = _WIDTH - 120, 130, 50
    first, last = block.places[0], block.places[-1]

    def across(at: float) -> float:
        """The x of what lies there on the axis."""
        return left + width * (at - first) / ((last - first) or 1.0)

    parts = [f'<text x="0" y="14">{escape(block.title)}</text>']
    for number, (title, values) in enumerate(block.curves):
        style = "line other" if number else "line"
        heights = [24 + height * (high - value) / ((high - low) or 1.0) for value in values]
        points = " ".join(f"{across(x):.1f},{y:.1f}" for x, y in zip(block.places, heights, strict=True))
        parts.append(f'<polyline class="{style}" points="{points}"/>')
        if len(block.curves) > 1:
            x = left + number * 150
            parts.append(f'<line class="{style}" x1="{x}" x2="{x + 20}" y1="190" y2="190"/>')
            parts.append(f'<text x="{x + 26}" y="194">{escape(title)}</text>')
    if block.mark is not None:
        at = across(block.mark)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="20" y2="{height + 24}" class="tick"/>')
        parts.append(f'<text x="{at + 4:.1f}" y="34">{block.mark:.2f}</text>')
    parts.append(f'<text x="{left}" y="{height + 42}">{first:g}</text>')
    parts.append(f'<text x="{left + width}" y="{height + 42}" text-anchor="end">{last:g}</text>')
    parts += [f'<text x="0" y="30">{high:.3g}</text>', f'<text x="0" y="{height + 24}">{low:.3g}</text>']
    label = escape(block.title)
    return f'<svg role="img" aria-label="{label}" width="{_WIDTH}" height="200">\n' + "\n".join(parts) + "\n</svg>"
