"""What the examples found, in one table for the front page."""

from __future__ import annotations

from collections.abc import Sequence

from examples.study.page import MACHINE
from examples.study.results import Row, spreads

COLUMNS = {
    "baseline": "baseline",
    "flips": "flips",
    "flips, TTA": "both views",
    "chiralized 0.5": "½",
    "chiralized 0.707": "0.707",
    "chiralized 0.5, fine-tuned": "½, fine-tuned",
    "from scratch, free": "chiral from scratch",
    "from scratch, paper": "in the paper's layout",
}
"""The ways that are shown, by what stands above them."""


def summary(rows: Sequence[Row]) -> str:
    """A line per network that all of the ways were tried with: medians over the seeds of the figure that counts."""
    found = spreads(rows)
    lines = [f"| network | figure | seeds | {' | '.join(COLUMNS.values())} |", "|" + " --- |" * (3 + len(COLUMNS))]
    for network in dict.fromkeys(row.network for row in rows):
        figure = next(row.figure for row in rows if row.network == network and row.figure not in MACHINE)
        own = [found.get((network, way, figure)) for way in COLUMNS]
        if any(spread is None for spread in own):
            continue
        cells = [f"{spread.middle:.{1 if spread.middle > 10 else 2}f}" for spread in own if spread is not None]
        lines.append(f"| {network} | {figure} | {own[0].seeds if own[0] else 0} | {' | '.join(cells)} |")
    return "\n".join(lines)
