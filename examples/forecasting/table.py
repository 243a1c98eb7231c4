"""PCK@0.05 of every forecast step, in the layout of the paper's Table 3."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from examples.study.page import Table
from examples.study.results import Row, spreads
from examples.study.ways import WAYS

STEP_MARKS = ("<!-- steps -->", "<!-- /steps -->")


def steps_table(rows: Sequence[Row], network: str) -> Table:
    """A line per way: steps 1, 2, ... and their mean; medians over the seeds."""
    found = spreads(row for row in rows if row.network == network)
    known = {row.figure for row in rows if row.network == network}
    steps = sorted((name for name in known if name.startswith("pck_5/")), key=lambda name: int(name.split("/")[1]))
    lines: list[tuple[str, ...]] = [("PCK@0.05", *(name.split("/")[1] for name in steps), "mean")]
    for way in WAYS:
        if (network, way, "pck_5") in found:
            lines.append((way, *(f"{found[network, way, name].middle:.1f}" for name in (*steps, "pck_5"))))
    return Table(network, tuple(lines))


def fill_steps(page: Path, rows: Sequence[Row]) -> None:
    """Write the tables of all networks between the marks of the page. Raises ValueError where there are none."""
    text = page.read_text(encoding="utf-8")
    marks = re.compile(rf"({STEP_MARKS[0]}\n).*?({STEP_MARKS[1]})", re.DOTALL)
    if not marks.search(text):
        raise ValueError(f"{page}: there is no {STEP_MARKS[0]} ... {STEP_MARKS[1]}")
    names = dict.fromkeys(row.network for row in rows)
    made = "\n\n".join(steps_table(rows, name).as_markdown() for name in names)
    page.write_text(marks.sub(lambda place: f"{place[1]}{made}\n{place[2]}", text), encoding="utf-8")
