"""What the study's own pages leave out: the table of actions, and the figure of limited data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from examples.lifting.study import FRACTIONS, LIMITED_WAYS, limited_name
from examples.study.page import Table
from examples.study.plots import Figure, save
from examples.study.results import Row, spreads
from examples.study.ways import WAYS

PART = "MPJPE mm/"
LIMITED_PICTURE = "limited-data.svg"
_COLOURS = {
    "baseline": "#7f7f7f", "baseline, TTA": "#7f7f7f", "flips": "#0072b2", "flips, TTA": "#0072b2",
    "from scratch, free": "#d55e00", "from scratch, paper": "#cc79a7",
}  # fmt: skip


def action_table(title: str, errors: Mapping[str, Mapping[str, float]]) -> Table:
    """As Tables 1 and 2 of the paper, turned: a column per network, a line per action, and the mean of the actions.

    errors: network to action to error, mm.
    """
    actions = list(dict.fromkeys(action for own in errors.values() for action in own))
    lines = [("", *actions, "mean of actions")]
    for name, own in errors.items():
        mean = sum(own.values()) / len(own)
        lines.append((name, *(f"{own[action]:.1f}" if action in own else "" for action in actions), f"{mean:.1f}"))
    return Table(title, tuple(lines)).turned()


def action_tables(rows: Sequence[Row]) -> list[Table]:
    """One per network of a study that learned from all training frames: medians over the seeds."""
    limited = {limited_name(part) for part in FRACTIONS}
    found = spreads([row for row in rows if row.figure.startswith(PART) and row.network not in limited])
    tables = []
    for network in dict.fromkeys(name for name, _, _ in found):
        errors = {
            way: {
                figure.removeprefix(PART): own.middle
                for (name, who, figure), own in found.items()
                if (name, who) == (network, way)
            }
            for way in WAYS
            if any((name, who) == (network, way) for name, who, _ in found)
        }
        tables.append(action_table(f"{network}: MPJPE by action, mm", errors))
    return tables


def draw_limited(rows: Sequence[Row], folder: Path) -> Path | None:
    """Error against the share of the training frames, median and range over the seeds; None where there are no rows."""
    found = spreads([row for row in rows if row.figure == "MPJPE mm"])
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    for way in LIMITED_WAYS:
        own = [(100 * share, found[limited_name(part), way, "MPJPE mm"]) for part, share in FRACTIONS.items()
               if (limited_name(part), way, "MPJPE mm") in found]  # fmt: skip
        if not own:
            continue
        x, middle = [share for share, _ in own], [spread.middle for _, spread in own]
        errors = [[m - spread.low for m, (_, spread) in zip(middle, own, strict=True)],
                  [spread.high - m for m, (_, spread) in zip(middle, own, strict=True)]]  # fmt: skip
        style = "--" if way.endswith("TTA") else "-"
        axes.errorbar(x, middle, errors, label=way, color=_COLOURS[way], linestyle=style, marker="o", markersize=3)
    if not axes.has_data():
        return None
    axes.set(xscale="log", yscale="log", xlabel="labelled training frames, %", ylabel="MPJPE, mm")
    axes.set_xticks([100 * share for share in FRACTIONS.values()], [part.split()[0] for part in FRACTIONS])
    axes.yaxis.set_major_formatter("{x:.0f}")
    axes.yaxis.set_minor_formatter("{x:.0f}")
    axes.grid(color="0.9", which="both")
    axes.legend(frameon=False)
    save(figure, folder / LIMITED_PICTURE)
    return folder / LIMITED_PICTURE
