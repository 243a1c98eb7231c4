"""The table of the README and the figure, from what `benchmarks.speed.run` measured:

python -m benchmarks.speed.table [--csv results.csv] [--write README.md] [--figure speed.svg]
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Sequence
from pathlib import Path

RESULTS = Path(__file__).with_name("results.csv")
MARKS = "<!-- speed -->", "<!-- /speed -->"
Row = dict[str, str]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.table", description=__doc__)
    parser.add_argument("--csv", type=Path, default=RESULTS)
    parser.add_argument("--write", type=Path, help="page to write the table into, between its marks")
    parser.add_argument("--figure", type=Path, help="figure to draw (extra: report)")
    options = parser.parse_args(argv)
    with options.csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if options.figure:
        draw(rows, options.figure)
    if options.write:
        options.write.write_text(written(options.write.read_text(encoding="utf-8"), table(rows)), encoding="utf-8")
    elif not options.figure:
        print(table(rows), end="")
    return 0


def table(rows: Sequence[Row]) -> str:
    """Ratios to the original for every network and layer at two threads, batch by batch."""
    lines = ["| | width | batch | original | blocks | fused | both views | training step, blocks |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    cells = {(own["case"], own["width"], own["batch"], own["mode"], own["variant"]): own
             for own in rows if own["threads"] == "2"}  # fmt: skip
    places = sorted({key[:3] for key in cells}, key=lambda key: (key[0], int(key[1]), int(key[2])))
    for place in places:
        dense = cells.get((*place, "forward", "dense"))
        found = [cells.get((*place, *own)) for own in
                 (("forward", "blocks"), ("forward", "fused"), ("forward", "TTA"), ("train", "blocks"))]  # fmt: skip
        ratios = [f"{float(own['ratio']):.2f}" if own else "" for own in found]
        lines.append(" | ".join(["", *place, f"{dense['ms']} ms" if dense else "", *ratios, ""]).strip())
    return "\n".join(lines) + "\n"


def written(page: str, text: str) -> str:
    """The page with the table between its marks."""
    start, end = (re.escape(mark) for mark in MARKS)
    return re.sub(f"{start}.*?{end}", lambda _: f"{MARKS[0]}\n{text}{MARKS[1]}", page, flags=re.DOTALL)


def draw(rows: Sequence[Row], path: Path) -> None:
    """Time of a linear layer in blocks over that of the dense one, by width and batch, one thread."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "chiralize"
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, mode in zip(axes, ("forward", "train"), strict=True):
        chosen = [own for own in rows if (own["case"], own["threads"], own["mode"], own["variant"]) == (
            "linear", "1", mode, "blocks")]  # fmt: skip
        for width in sorted({int(own["width"]) for own in chosen}):
            line = sorted((int(own["batch"]), float(own["ratio"])) for own in chosen if int(own["width"]) == width)
            axis.plot(*zip(*line, strict=True), marker="o", label=str(width))
        axis.axhline(1.0, color="grey", linewidth=0.8)
        axis.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
        axis.set(xscale="log", xlabel="batch", title={"forward": "forward", "train": "forward and backward"}[mode])
    axes[0].set(ylabel="blocks / dense", ylim=(0, 2.5))
    axes[1].legend(title="width")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    raise SystemExit(main())
