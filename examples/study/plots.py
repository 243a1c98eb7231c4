"""Pictures of a study: the figure that counts, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

try:
    import matplotlib
    from matplotlib.figure import Figure
except ModuleNotFoundError as error:
    raise SystemExit(
        f'examples: the package {error.name} is not installed\n    Fix: pip install -c constraints.txt -e ".[report]"'
    ) from error

from examples.study.files import write_atomically
from examples.study.page import MACHINE
from examples.study.results import Row, spreads
from examples.study.ways import WAYS, slug

GREY, BLUE, ORANGE = "#7f7f7f", "#0072b2", "#d55e00"
"""Ordinary networks, converted ones, chiral ones from scratch."""


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """One picture per network that has rows of a figure. Returns the files."""
    made = []
    for network in dict.fromkeys(row.network for row in rows):
        own = [row for row in rows if row.network == network]
        figure = next((row.figure for row in own if row.figure not in MACHINE), None)
        if figure is not None:
            path = folder / f"{slug(network)}.svg"
            save(_bars(network, figure, own), path)
            made.append(path)
    return made


def _bars(network: str, name: str, rows: Sequence[Row]) -> Figure:
    """Median and every seed, a line per way; beside it the multiplications."""
    found = spreads(rows)
    ways = [way for way in reversed(WAYS) if (network, way, name) in found]
    figure = Figure(figsize=(9, 0.6 + 0.36 * len(ways)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2.2, 1), sharey=True)
    for place, way in enumerate(ways):
        points = [row.value for row in rows if row.way == way and row.figure == name]
        left.plot(points, [place] * len(points), "o", color=colour(way), alpha=0.5, markersize=4)
        left.plot(found[network, way, name].middle, place, "|", color=colour(way), markersize=16, markeredgewidth=2.5)
        if (network, way, "macs") in found:
            right.barh(place, found[network, way, "macs"].middle / 1e6, color=colour(way), height=0.6)
    left.set_yticks(range(len(ways)), ways)
    left.grid(axis="x", color="0.9")
    left.set(xlabel=f"{name}, median and every seed", title=network)
    right.set(xlabel="multiplications, millions")
    return figure


def colour(way: str) -> str:
    """Of a way in every picture."""
    return BLUE if way.startswith("chiralized") else ORANGE if way.startswith("from scratch") else GREY


def save(figure: Figure, path: Path) -> None:
    """Without the date and with fixed names, so that the same figures give the same file."""
    with matplotlib.rc_context({"svg.hashsalt": "chiralize", "svg.fonttype": "none"}):
        write_atomically(path, lambda beside: figure.savefig(beside, format="svg", metadata={"Date": None}))
