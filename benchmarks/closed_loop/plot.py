"""What rho along sequences says about the error in the loop, drawn from the results file:

python -m benchmarks.closed_loop.plot [--folder docs/figures]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.accuracy.plots import FOLDER, save
from benchmarks.accuracy.summary import read
from benchmarks.closed_loop.run import RESULTS

BOUND = 1.25
MARKS = {"policy": "o", "forecaster": "^"}


def draw(path: Path) -> None:
    """One point per conversion; both axes logarithmic."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    table = read(RESULTS)
    for kind, mark in MARKS.items():
        for way in dict.fromkeys(row["way"] for row in table):
            points = [row for row in table if (row["kind"], row["way"]) == (kind, way)]
            if not points:
                continue
            rhos = [max(float(row["rho"]), 0.01) for row in points]
            axes.scatter(rhos, [float(row["ratio"]) for row in points], s=18, marker=mark, label=f"{kind}, {way}")
    axes.axvline(BOUND, color="tab:red", linewidth=0.8)
    axes.axhline(1.0, color="0.6", linewidth=0.8)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="ρ along sequences, known without labels",
        ylabel="error in the loop, original = 1",
    )
    axes.legend(fontsize=6)
    save(figure, path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    draw(parser.parse_args().folder / "closed_loop.svg")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
