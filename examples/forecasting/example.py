"""The study of forecasting, and what its page shows beyond the frame's own tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from examples.forecasting.factories import motion_capture
from examples.study.example import Example
from examples.study.page import Table
from examples.study.results import Row, spreads
from examples.study.ways import WAYS


def steps_tables(rows: Sequence[Row]) -> list[Table]:
    """PCK@0.05 of every forecast step, as the paper's Table 3, turned."""
    return [_steps(rows, name) for name in dict.fromkeys(row.network for row in rows)]


def _steps(rows: Sequence[Row], network: str) -> Table:
    """A column per way: steps 1, 2, ... and their mean; medians over the seeds."""
    found = spreads(row for row in rows if row.network == network)
    known = {row.figure for row in rows if row.network == network}
    steps = sorted((name for name in known if name.startswith("pck_5/")), key=lambda name: int(name.split("/")[1]))
    lines: list[tuple[str, ...]] = [("PCK@0.05", *(name.split("/")[1] for name in steps), "mean")]
    for way in WAYS:
        if (network, way, "pck_5") in found:
            lines.append((way, *(f"{found[network, way, name].middle:.1f}" for name in (*steps, "pck_5"))))
    return Table(f"{network}: PCK@0.05 by step", tuple(lines)).turned()


EXAMPLE = Example(
    "forecasting",
    motion_capture,
    Path(__file__).parent,
    {"steps": steps_tables},
    short=("forecasting, 208", "l2_x1000", "error, L2 × 1000"),
)
