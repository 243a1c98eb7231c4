"""The picture of what trained networks make of a flip test: error of every way over that of one view.

python -m benchmarks.pictures.trained.plot
"""

from __future__ import annotations

import csv
from pathlib import Path

from matplotlib.figure import Figure

from examples.study.plots import BLUE, GREY, save

FOLDER = Path(__file__).parent
SHOWN = (
    "flip test, unshifted",
    "flip test, shifted by one cell",
    "flip test, aligned",
    "flip test",
    "one pass, distilled",
)
_LIGHT = ("#c9d7e8", "#8fb0d4", BLUE, BLUE, "#d08c60")


def ratios(path: Path = FOLDER / "results.csv") -> dict[str, dict[str, float]]:
    """Error over that of one view, by network and way; seed 0."""
    table: dict[str, dict[str, float]] = {}
    for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
        if row["ratio"]:
            table.setdefault(row["task"], {})[row["way"]] = float(row["ratio"])
    return table


def draw(path: Path) -> None:
    """Bars, a group for each network, and a line at one view."""
    table = ratios()
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.subplots()
    place, ticks = 0.0, list[tuple[float, str]]()
    for task, ways in table.items():
        shown = [way for way in SHOWN if way in ways]
        for number, way in enumerate(shown):
            at = place + 0.2 * number
            axes.bar(at, ways[way], 0.18, color=_LIGHT[SHOWN.index(way)])
            axes.text(at, ways[way] + 0.01, f"{ways[way]:.2f}", ha="center", fontsize=6)
        ticks.append((place + 0.1 * (len(shown) - 1), task))
        place += 0.2 * len(shown) + 0.25
    axes.axhline(1.0, color=GREY, linewidth=0.8)
    axes.set_xticks([at for at, _ in ticks], [task for _, task in ticks])
    axes.set(ylabel="error, one view = 1", ylim=(0.8, 1.35))
    for way, colour in zip(SHOWN, _LIGHT, strict=True):
        if way != "flip test":
            axes.bar(0, 0, 0.18, color=colour, label=way)
    axes.legend(fontsize=6, frameon=False, ncols=4, loc="upper center")
    save(figure, path)


if __name__ == "__main__":
    draw(Path("docs/figures/pictures.svg"))
