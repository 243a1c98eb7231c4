"""Reports as one self-contained HTML page: inline CSS, inline SVG, nothing to download, all text escaped.

The order is that in which people ask: what is it worth, what is wrong, what changed on the body, what does it cost,
and then every figure, with the long tables folded.

`to_html` takes the blocks of `assembling.document`, the same that text is made of, and adds what only a page has: large
figures (`facts`), bodies with their gaps (`gap_picture`), error against cost (`dial`), bars and curves.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from math import isfinite

from chiralize.errors.words import when
from chiralize.report import curves, dial, gap_picture
from chiralize.report.assembling import document
from chiralize.report.document import Bars, Block, Curves, Document, Line, Section, Table
from chiralize.report.facts import Fact, facts_of
from chiralize.report.gaps import gaps_of, joint_blocks
from chiralize.report.page_style import style
from chiralize.report.records import ConvertReport, Report
from chiralize.report.verdict import verdict_of

_BADGES = {"good": "passed", "warning": "with warnings", "failed": "failed"}
_ICONS = {"good": "✓", "bad": "⚠", "unsure": "?"}
_WORDS = {"good": "fine", "bad": "warning", "unsure": "not confirmed"}


def to_html(report: Report, pictures: Mapping[str, bytes] | None = None) -> str:
    """The report as a page that opens from disk.  pictures: PNG files, by their captions."""
    # Blocks, as in text; beside them what only a page has.
    page = document(report)
    badge = _BADGES[page.standing]
    # each "" where the report has nothing of the kind
    parts = [_warnings(report), _bodies(report), _dial(report)]
    parts += [_picture(caption, png) for caption, png in (pictures or {}).items()]
    parts += _sections(page)
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(page.title)}: {badge}</title>\n<style>{style()}</style>\n</head>\n<body>\n<header>\n"
        f'<h1>{escape(page.title)} <span class="badge is-{page.standing}">{badge}</span></h1>\n'
        f'<p class="sentence is-{page.standing}">{_marked(page.sentence)}</p>\n{_facts(facts_of(report))}'
        f"</header>\n<main>\n{body}\n</main>\n<footer><p>Written by chiralize.</p></footer>\n</body>\n</html>\n"
    )


# ---- what is drawn --------------------------------------------------------------------------------------------
def _facts(facts: Sequence[Fact]) -> str:
    """The large figures as a list of terms and descriptions."""
    if not facts:
        return ""
    entries: list[str] = []
    for fact in facts:
        note = when(fact.note, f'<span class="note">{escape(fact.note)}</span>')
        value = f'<div><dt>{escape(fact.name)}</dt><dd class="{fact.tone}">{_icon(fact.tone)}{escape(fact.value)}{note}'
        entries.append(f"{value}</dd></div>")
    return '<dl class="facts">' + "\n".join(entries) + "</dl>\n"


def _icon(tone: str) -> str:
    """An icon in front of text of this tone, with its meaning for screen readers."""
    if tone not in _ICONS:
        return ""
    return f'<span class="icon" role="img" aria-label="{_WORDS[tone]}:">{_ICONS[tone]}</span> '


def _warnings(report: Report) -> str:
    """All warnings as a section of their own, "" where there are none."""
    warnings = verdict_of(report).warnings
    if not warnings:
        return ""
    items = [f"<li><b>{_ICONS['bad']} Warning ({escape(one.topic)}):</b> {_marked(one.text)}</li>" for one in warnings]
    return _section("What to look at before it is used", '<ul class="warnings">' + "\n".join(items) + "</ul>")


def _bodies(report: Report) -> str:
    """The drawings of gaps by joint, with the key to their colours, and the same figures as a table."""
    drawn = gaps_of(report)
    if not drawn:
        return ""
    figures = "\n".join(map(gap_picture.figure, drawn))
    hint = (
        '<p class="hint">The gap of a joint: how far the answer to a mirrored input is from the mirror image of the '
        "answer, in units of the output's own spread. Bodies are seen from the front.</p>"
    )
    table = "\n".join(map(_block, joint_blocks(report)))
    if table:
        table = f"<details>\n<summary>All joints as a table</summary>\n{table}\n</details>"
    return _section(
        "Left against right, joint by joint",
        f'{hint}\n{gap_picture.key()}\n<div class="pictures">\n{figures}\n</div>\n{table}',
    )


def _dial(report: Report) -> str:
    """Error against cost, of conversions whose multiplications are known."""
    spot = dial.spot_of(report) if isinstance(report, ConvertReport) else None
    if spot is None:
        return ""
    return _section("Error against cost", f'<div class="pictures">\n{dial.figure(spot)}\n</div>')


def _picture(caption: str, png: bytes) -> str:
    """A picture within the page itself, so that the page is one file."""
    source = b64encode(png).decode("ascii")
    return _section(caption, f'<img alt="{escape(caption)}" src="data:image/png;base64,{source}">')


def _marked(text: str) -> str:
    """Text with what stands between backticks, names and commands, as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _section(title: str, content: str) -> str:
    """A section with its heading."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}\n</section>"


# ---- what is written ------------------------------------------------------------------------------------------
@dataclass
class _Part:
    """A heading with the blocks below it."""

    heading: Section
    blocks: list[Block] = field(default_factory=list)


def _sections(page: Document) -> list[str]:
    """All figures, one section each. Folded sections stand together at the place of the first of them."""
    # blocks before the first heading get one of their own
    parts = [_Part(Section("How it was made"))]
    for block in page.blocks:
        if isinstance(block, Section):
            parts.append(_Part(block))
        else:
            parts[-1].blocks.append(block)
    written: list[str] = []
    folded: list[str] = []
    for part in parts:
        if not part.blocks:
            continue
        if part.heading.folded:
            folded.append(_folded(part))
        else:
            written.append(_open(part))
    if folded:  # among the open sections only, which `_after_costs` counts
        written.insert(_after_costs(parts), _section("What changed where", "\n".join(folded)))
    return written


def _after_costs(parts: Sequence[_Part]) -> int:
    """Where the folded tables go: among the open sections, behind those that stand before the first folded one.

    Of cost, [spaces], [weights], drift, where brackets fold, it is 1: the folded ones stand between cost and drift.
    """
    count = 0
    for part in parts:
        if part.heading.folded:
            return count
        count += bool(part.blocks)
    return count


def _open(part: _Part) -> str:
    """A part that is always shown."""
    heading = part.heading
    return _section(heading.words or heading.title, _content(part))


def _folded(part: _Part) -> str:
    """A part that is unfolded by a click on its heading."""
    title = part.heading.words or part.heading.title
    return f"<details>\n<summary><h3>{escape(title)}</h3></summary>\n{_content(part)}\n</details>"


def _content(part: _Part) -> str:
    """The blocks; the exact words of a heading that has plain ones are the caption of its first table."""
    # "Left and right are distinguished" is the heading, "share of the output's variance that ..." the caption
    formula = part.heading.title if part.heading.words else ""
    content: list[str] = []
    for block in part.blocks:
        if isinstance(block, Table):
            content.append(_table(block, formula or part.heading.title, is_heading=not formula))
            formula = ""
        else:
            content.append(_block(block))
    if formula and not any(isinstance(block, Table) for block in part.blocks):
        content.insert(0, f'<p class="hint">{escape(formula)}</p>')
    return "\n".join(text for text in content if text)


def _block(block: Block) -> str:
    """One block as HTML."""
    if isinstance(block, Section):
        return f"<h3>{escape(block.title)}</h3>"
    if isinstance(block, Line):
        return f'<p class="{block.tone}">{_icon(block.tone)}{_marked(block.text)}</p>'
    if isinstance(block, Table):
        return _table(block, "Every joint, the largest gap first")
    if isinstance(block, Curves):
        return curves.figure(block)
    return _bars(block)


def _table(block: Table, caption: str, is_heading: bool = False) -> str:
    """A table that scrolls by itself where the page is narrow, also by the keyboard.

    is_heading: the caption repeats the heading above it, so it is for screen readers only.
    """
    rows = [_row(block.header, "th", block.right)]
    rows += [_row(row, "td", block.right) for row in block.rows]
    style = when(is_heading, ' class="unseen"')
    table = f"<table>\n<caption{style}>{escape(caption)}</caption>\n" + "\n".join(rows) + "\n</table>"
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}">\n{table}\n</div>'


def _row(row: tuple[str, ...], tag: str, right: frozenset[int]) -> str:
    """A row of a table. tag: `th` of its header, `td` of others.  right: columns that are aligned to the right."""
    cells: list[str] = []
    for column, text in enumerate(row):
        style = when(column in right, ' class="r"')
        name = "td" if tag == "th" and not text else tag  # a heading without text is none to screen readers
        scope = when(name == "th", ' scope="col"')
        cells.append(f"<{name}{scope}{style}>{escape(text)}</{name}>")
    return "<tr>" + "".join(cells) + "</tr>"


def _bars(block: Bars) -> str:
    """Horizontal bars on one scale; a dashed line marks the limit, bars beyond it are red.

    They repeat the table above, so they are hidden from screen readers. A single bar is left out: it compares nothing.
    """
    finite = [bar.value for bar in block.bars if isfinite(bar.value)]
    limits = [bar.limit for bar in block.bars if bar.limit is not None]
    top = max([*finite, *limits], default=0.0)
    if len(block.bars) < 2 or not top:
        return ""
    parts: list[str] = []
    for bar in block.bars:
        share, style = 1.0, ' class="over"'  # what is not finite fills the track
        if isfinite(bar.value):
            share = min(bar.value / top, 1.0)
            style = when(bar.limit is not None and bar.value > bar.limit, ' class="over"')
        # A line where the bound is, on the scale of the longest bar or bound.
        if bar.limit is None:
            limit = ""
        else:
            limit = f'<b style="left:{100 * bar.limit / top:.1f}%"></b>'
        track = f'<span class="track"><i{style} style="width:{100 * share:.1f}%"></i>{limit}</span>'
        parts.append(f"<span>{escape(bar.label[-40:])}</span>{track}<span>{escape(bar.text)}</span>")
    dashes = when(limits, '<p class="hint">The dashed line is the bound.</p>')
    return '<div class="bars" aria-hidden="true">\n' + "\n".join(parts) + f"\n</div>\n{dashes}"
