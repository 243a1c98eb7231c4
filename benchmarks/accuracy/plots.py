"""The figures of docs/results.md, made from the results file:

    python -m benchmarks.accuracy.plots [--folder docs/figures]

dial.svg: error against cost, a line per network.  rho.svg: what rho says about the error, and its bound.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise
from math import isfinite
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from benchmarks.accuracy.compare import ORIGINALS, PRUNED, SCRATCH, UNFITTED
from benchmarks.accuracy.summary import BETTER, NAMES, lines, read

FOLDER = Path(__file__).parents[2] / "docs" / "figures"
NARROW = Path(__file__).parents[1] / "narrow" / "forced.csv"
WIDTHS = ("reduce 0.35", "reduce 0.5", "reduce 0.707", "average")
BOUND = 1.25


def dial(path: Path) -> None:
    """Error over the teacher's against multiplications, as written; widths 0.35, 0.5, 0.707 and the average."""
    found = lines(read())
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    marks = "osD^v<>ph*XPd8"
    for place, (name, title) in enumerate(NAMES.items()):
        own = [found[key] for way in WIDTHS if (key := (name, True, way)) in found]
        if len(own) > 1 and BETTER[own[0].metric] < 0:
            axes.plot(
                [line.macs for line in own], [line.change for line in own], marker=marks[place % len(marks)],
                color=matplotlib.colormaps["tab20"](place), label=title, markersize=4,
            )  # fmt: skip
    axes.axhline(1.0, color="0.6", linewidth=0.8)
    axes.set(
        xscale="log", xlabel="multiplications of the form that auto writes, original = 1", ylabel="error, original = 1"
    )
    axes.set_xticks([0.25, 0.5, 1.0, 2.0], ["¼", "½", "1", "2"])
    axes.minorticks_off()
    axes.set_title("reduce 0.35, 0.5, 0.707 and average, no labels and no gradient steps")
    axes.legend(fontsize=7)
    save(figure, path)


def rho(path: Path) -> None:
    """One point per conversion: rho against the error over the teacher's; all of them, and those near the bound."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    whole, near = figure.subplots(1, 2)
    for axes in (whole, near):
        for kind, points in sorted(_points().items()):
            axes.scatter(*zip(*points, strict=True), s=14, label=f"{kind} ({len(points)})", alpha=0.8)
        axes.axvline(BOUND, color="tab:red", linewidth=0.8, label=f"bound of auto: {BOUND}")
        axes.axhline(1.0, color="0.6", linewidth=0.8)
        axes.set(xlabel="ρ, known without labels", ylabel="error, original = 1")
    whole.set(xscale="log", yscale="log")
    near.set(xlim=(0, 2.5), ylim=(0.94, 1.26))
    whole.legend(fontsize=8)
    figure.suptitle("what ρ says about the error (recognisers: the original's accuracy over the result's)", fontsize=11)
    save(figure, path)


def _points() -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for row in read():
        ratio, value = float(row["ratio"]), float(row["rho"])
        if (
            row["way"] in (*ORIGINALS, "average", "auto", SCRATCH, PRUNED, *UNFITTED)
            or not isfinite(ratio)
            or value <= 0
        ):
            continue
        kind = "match, project" if row["way"].startswith(("match", "project")) else "reduce"
        kind = "distilled" if "distilled" in row["way"] else kind
        kind = "one-sided originals, all ways" if row["network"].startswith("one-sided") else kind
        found.setdefault(kind, []).append((value, ratio if BETTER[row["metric"]] < 0 else 1 / ratio))
    found["reduce, narrow inputs"] = [(float(row["rho"]), float(row["error"])) for row in read(NARROW)]
    return found


def ranges(bounds: Sequence[float]) -> tuple[int, tuple[tuple[float, str], ...]]:
    """How many conversions there are, and where nine of ten of their errors lie, from bound to bound of rho."""
    points = [point for own in _points().values() for point in own]
    found = []
    for lower, upper in pairwise((0.0, *bounds)):
        ratios = [ratio for value, ratio in points if lower < value <= upper]
        low, high = np.quantile(ratios, (0.05, 0.95), method="nearest")
        found.append((upper, f"{low:.2f} to {high:.2f}"))
    return len(points), tuple(found)


def save(figure: Figure, path: Path) -> None:
    """Without the date and with fixed names, so that the same figures give the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "chiralize", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    folder = parser.parse_args().folder
    dial(folder / "dial.svg")
    rho(folder / "rho.svg")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
