"""Tables of a study, for the terminal and for the README of its example."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import rich.table

from examples.study.results import Row, Spread, spreads
from examples.study.ways import WAYS

COSTS = {
    "parameters": "parameters",
    "macs": "multiplications",
    "latency_1": "time, B = 1",
    "latency_64": "time, B = 64",
}
"""Given as ratios to the first way of the table."""
HEADINGS = {
    "pck_5": "PCK@0.05, %",
    "l2_x1000": "L2 × 1000",
    "top1_percent": "top 1, %",
    "top5_percent": "top 5, %",
}
"""What figures are called in a table; others have the name that they have in the file."""
EQUIVARIANCE = ("residual", "gap", "changed_percent")
MACHINE = (*COSTS, *EQUIVARIANCE, "seconds", "latency_1_ms", "latency_64_ms", "refused")
"""Figures that are of the frame; what else there is comes from the task."""
SHORT = {
    "flips": ("an ordinary network, trained with mirrored copies", 1),
    "flips, TTA": ("the same, its answers to both views averaged", 2),
    "chiralized 0.5": ("the same, converted: half the width, without labels", 1),
    "chiralized 0.5, fine-tuned": ("then trained on with labels", 1),
}
"""What a page says first: ways in words, and how often each runs the network for an answer."""
_ROUNDING = 1e-5
WIDEST = 12
"""Columns of a table."""
BORDER = 3
"""Characters between two columns of a table on the terminal."""


@dataclass(frozen=True)
class Table:
    """Cells as text; the first row is the head."""

    title: str
    rows: tuple[tuple[str, ...], ...]

    def turned(self) -> Table:
        """Rows and columns exchanged: for a few lines with many columns."""
        return Table(self.title, tuple(zip(*self.rows, strict=True)))

    def as_markdown(self) -> str:
        head, *body = (f"| {' | '.join(row)} |" for row in self.rows)
        rule = "|" + " --- |" * len(self.rows[0])
        return "\n".join([f"**{self.title}**", "", head, rule, *body])

    def as_rich(self, width: int) -> rich.table.Table:
        """The columns that fit into so many characters, at least two; the caption names the others."""
        head, *body = self.rows
        needed = accumulate(max(map(len, column)) + BORDER for column in zip(*self.rows, strict=True))
        shown = max(2, sum(own < width for own in needed))
        hidden = ", ".join(head[shown:])
        table = rich.table.Table(*head[:shown], caption=f"not shown: {hidden}" if hidden else None)
        for row in body:
            table.add_row(*row[:shown])
        return table


def tables(rows: Sequence[Row]) -> list[Table]:
    """One per network, in the order of the file."""
    return [
        _table([row for row in rows if row.network == name], name) for name in dict.fromkeys(r.network for r in rows)
    ]


def short_tables(rows: Sequence[Row], network: str, figure: str, heading: str) -> list[Table]:
    """What a reader wants first: one figure of one network, in four ways; medians over the seeds.

    Ways that were not run are left out, and the table where the network was not (a smoke run has others).
    """
    found = spreads(row for row in rows if row.network == network)
    lines = [("", "passes", heading, "gap of the two sides", "parameters")]
    for way, (words, passes) in SHORT.items():
        error, gap = found.get((network, way, figure)), found.get((network, way, "gap"))
        own, first = found.get((network, way, "parameters")), found.get((network, "flips", "parameters"))
        if error is None or gap is None or own is None or first is None:
            continue
        apart = "0 up to rounding" if 0 < gap.middle < _ROUNDING else _short(gap)
        lines.append((words, str(passes), f"{error.middle:#.3g}", apart, f"×{own.middle / first.middle:.2f}"))
    return [Table(network, tuple(lines))] if len(lines) > 1 else []


def between(text: str, mark: str, made: str) -> str:
    """The page with another text between `<!-- MARK -->` and `<!-- /MARK -->`. Raises ValueError without these."""
    marks = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
    if not marks.search(text):
        raise ValueError(f"the page has no <!-- {mark} --> ... <!-- /{mark} -->")
    return marks.sub(lambda found: f"{found[1]}{made}\n{found[2]}", text)


def _table(rows: Sequence[Row], network: str) -> Table:
    found = spreads(rows)
    ways = [way for way in WAYS if any(row.way == way for row in rows)]
    figures = list(dict.fromkeys(r.figure for r in rows if r.figure not in MACHINE and "/" not in r.figure))
    costs = [name for name in COSTS if any(row.figure == name for row in rows)]
    equivariance = [name for name in EQUIVARIANCE if any(row.figure == name for row in rows)]
    if len(figures) + len(costs) + len(equivariance) + 2 > WIDEST:
        equivariance.remove("residual")  # the gap says much the same
    seeds = len({row.seed for row in rows})
    lines = [
        (
            "",
            *(HEADINGS.get(name, name) for name in figures),
            *(COSTS[name] for name in costs),
            *equivariance,
            "seconds",
        )
    ]
    for way in ways:
        cells = [_measured(found.get((network, way, name))) for name in figures]
        if (network, way, "refused") in found:
            cells = [f"refused (CH{found[network, way, 'refused'].middle:.0f})", *[""] * (len(figures) - 1)]
        for name in costs:
            own, first = found.get((network, way, name)), found.get((network, ways[0], name))
            cells.append(f"×{own.middle / first.middle:.2f}" if own and first and first.middle else "")
        cells += [_short(found.get((network, way, name))) for name in (*equivariance, "seconds")]
        lines.append((way, *cells))
    return Table(f"{network} ({seeds} seed{'s' if seeds > 1 else ''}; median, range in brackets)", tuple(lines))


def _measured(own: Spread | None) -> str:
    if own is None or math.isnan(own.middle):
        return ""
    if 0 < abs(own.middle) < 1e-4:
        return f"{own.middle:.0e} ({own.low:.0e}–{own.high:.0e})" if own.seeds > 1 else f"{own.middle:.0e}"
    digits = max(0, 2 - math.floor(math.log10(abs(own.middle)))) if own.middle else 0
    digits = min(digits, 4)
    text = f"{own.middle:.{digits}f}"
    return f"{text} ({own.low:.{digits}f}–{own.high:.{digits}f})" if own.seeds > 1 else text


def _short(own: Spread | None) -> str:
    if own is None or math.isnan(own.middle):
        return ""
    return "0" if own.middle == 0 else f"{own.middle:.2g}" if own.middle < 10 else f"{own.middle:.0f}"
