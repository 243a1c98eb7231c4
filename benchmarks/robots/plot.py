"""What rho says of the return in the loop, and what the mirror is for, drawn from the results file:

python -m benchmarks.robots.plot [--folder docs/figures]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.accuracy.plots import FOLDER, save
from benchmarks.accuracy.summary import read
from benchmarks.robots.run import RESULTS
from benchmarks.robots.table import LEAST, Row

COLORS = {"handed over": "tab:green", "warned": "tab:orange", "refused": "tab:red"}
MARKS = {"ant-sb3": "o", "walker-sb3": "D", "ant-rsl": "s", "walker-rsl": "P", "imitation": "^"}


def draw(path: Path) -> None:
    """One point per conversion, and one per policy."""
    rows = read(RESULTS)
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_rho(left, rows)
    _draw_gaps(right, rows)
    save(figure, path)


def _draw_rho(axes: Axes, rows: list[Row]) -> None:
    for outcome, color in COLORS.items():
        for trainer, mark in MARKS.items():
            own = [
                row for row in rows if row["outcome"] == outcome and row["policy"].startswith(trainer) and row["rho"]
            ]
            if own:
                xs, ys = [max(float(row["rho"]), 0.01) for row in own], [float(row["ratio"]) for row in own]
                axes.scatter(xs, ys, s=22, color=color, marker=mark, label=f"{trainer}, {outcome}")
    axes.axhline(LEAST, color="0.6", linewidth=0.8)
    axes.set(xscale="log", xlabel="ρ, known before anything is run", ylabel="return in the loop, original = 1")
    axes.legend(fontsize=6)


def _draw_gaps(axes: Axes, rows: list[Row]) -> None:
    for way, color in (("original", "0.3"), ("flip average", "tab:blue"), ("reduce 0.5", "tab:green")):
        own = [row for row in rows if row["way"] == way and row["calibration"] in ("", "good") and row["gap_2s"]]
        returns = [float(row["ratio"]) for row in own]
        gaps = [max(float(row["gap_2s"]), 1e-10) for row in own]
        axes.scatter(returns, gaps, s=22, color=color, label=way)
    axes.set(yscale="log", xlabel="return in the loop, original = 1", ylabel="gap of the first two seconds")
    axes.legend(fontsize=7)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    draw(parser.parse_args().folder / "robots.svg")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
