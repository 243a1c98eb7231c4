"""What rho held out and rho beyond the given inputs foretell of the error, drawn from the results file:

python -m benchmarks.narrow.plot [--folder docs/figures]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.accuracy.plots import FOLDER, save
from benchmarks.accuracy.summary import read
from benchmarks.narrow.run import RESULTS
from chiralize.verification.verdicts import FAR_BEYOND

SIDES = {"rho": "ρ on held-out inputs", "rho_beyond": "ρ beyond the inputs that were given"}


def draw(path: Path) -> None:
    """One point per result of `auto` on either side; all axes logarithmic. What it refused has none."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    table = [row for row in read(RESULTS) if row["error"]]
    for axes, (column, label) in zip(figure.subplots(1, 2, sharey=True), SIDES.items(), strict=True):
        for name in dict.fromkeys(row["network"] for row in table):
            points = [row for row in table if row["network"] == name and row[column]]
            rhos = [float(row[column]) for row in points]
            axes.scatter(rhos, [float(row["error"]) for row in points], s=18, label=name)
        axes.axvline(FAR_BEYOND, color="tab:red", linewidth=0.8)
        axes.axhline(1.02, color="0.6", linewidth=0.8)
        axes.set(xscale="log", yscale="log", xlabel=label)
    figure.axes[0].set_ylabel("error on all test subjects, original = 1")
    figure.axes[0].legend(fontsize=7)
    save(figure, path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    draw(parser.parse_args().folder / "narrow.svg")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
