"""The tables and the figures of docs/speed.md, from what `benchmarks.speed.run` measured:

python -m benchmarks.speed.table [--csv results.csv] [--write docs/speed.md] [--figures docs/figures]
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

RESULTS = Path(__file__).with_name("results.csv")
NETWORKS = ("frame lifter", "temporal 243", "transformer")
RUNTIMES = {"forward": "eager", "compiled": "torch.compile", "onnxruntime": "onnxruntime"}
VARIANTS = {"blocks": "#0072b2", "fused": "#d55e00", "TTA": "#7f7f7f"}
Row = dict[str, str]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.table", description=__doc__)
    parser.add_argument("--csv", type=Path, default=RESULTS)
    parser.add_argument("--write", type=Path, help="page to write the tables into, between their marks")
    parser.add_argument("--figures", type=Path, help="folder for speed.svg and runtimes.svg (extra: report)")
    options = parser.parse_args(argv)
    with options.csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if options.figures:
        draw(rows, options.figures / "speed.svg")
        draw_runtimes(rows, options.figures / "runtimes.svg")
    if options.write:
        options.write.write_text(written(options.write.read_text(encoding="utf-8"), rows), encoding="utf-8")
    elif not options.figures:
        print(table(rows), runtimes(rows), sep="\n", end="")
    return 0


def table(rows: Sequence[Row]) -> str:
    """Ratios to the original for every network and layer of width 1024 at two threads, batch by batch."""
    lines = ["| | width | batch | original | blocks | auto | fused | both views | training step, blocks | auto |",
             "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    cells = {(own["case"], own["width"], own["batch"], own["mode"], own["variant"]): own
             for own in rows if own["threads"] == "2" and own["width"] == "1024"}  # fmt: skip
    places = sorted({key[:3] for key in cells}, key=lambda key: (key[0], int(key[1]), int(key[2])))
    for place in places:
        dense = cells.get((*place, "forward", "dense"))
        wanted = [("forward", own) for own in ("blocks", "auto", "fused", "TTA")]
        found = [cells.get((*place, *own)) for own in (*wanted, ("train", "blocks"), ("train", "auto"))]
        ratios = [f"{float(own['ratio']):.2f}" if own else "" for own in found]
        lines.append(" | ".join(["", *place, f"{dense['ms']} ms" if dense else "", *ratios, ""]).strip())
    return "\n".join(lines) + "\n"


def runtimes(rows: Sequence[Row]) -> str:
    """Ratios to the original in the same runtime, of whole networks on one thread."""
    lines = ["| | width | batch | runtime | original | blocks | fused | both views |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    cells = _cells(rows)
    for case, width, batch, mode in _places(cells):
        found = [cells.get((case, width, batch, mode, name)) for name in VARIANTS]
        ratios = [f"{float(own['ratio']):.2f}" if own else "" for own in found]
        dense = cells[case, width, batch, mode, "dense"]
        lines.append(" | ".join(["", case, width, batch, RUNTIMES[mode], f"{dense['ms']} ms", *ratios, ""]).strip())
    return "\n".join(lines) + "\n"


def _cells(rows: Sequence[Row]) -> dict[tuple[str, ...], Row]:
    """By network, width, batch, runtime and variant; one thread."""
    keys = ("case", "width", "batch", "mode", "variant")
    return {
        tuple(own[key] for key in keys): own
        for own in rows
        if own["threads"] == "1" and own["case"] in NETWORKS and own["mode"] in RUNTIMES
    }


def _places(cells: Mapping[tuple[str, ...], Row]) -> list[tuple[str, ...]]:
    """Network, width, batch and runtime wherever all runtimes were measured, in order."""
    known = {key[:4] for key in cells}
    whole = [key for key in known if all((*key[:3], mode) in known for mode in RUNTIMES)]
    return sorted(whole, key=lambda key: (key[0], int(key[1]), int(key[2]), list(RUNTIMES).index(key[3])))


def written(page: str, rows: Sequence[Row]) -> str:
    """The page with the tables between their marks."""
    for mark, text in (("speed", table(rows)), ("runtimes", runtimes(rows))):
        marks = re.compile(f"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
        page = marks.sub(lambda found, text=text: f"{found[1]}{text}{found[2]}", page)
    return page


def draw_runtimes(rows: Sequence[Row], path: Path) -> None:
    """Time over the original's in the same runtime: networks and batches as groups of bars, one panel a runtime."""
    import matplotlib
    from matplotlib.figure import Figure

    cells = _cells(rows)
    places = list(dict.fromkeys(key[:3] for key in _places(cells)))
    if not places:
        return
    figure = Figure(figsize=(10, 1.1 + 0.34 * len(places)), layout="constrained")
    panels = figure.subplots(1, len(RUNTIMES), sharey=True, squeeze=False)[0]
    for panel, (mode, title) in zip(panels, RUNTIMES.items(), strict=True):
        for number, (name, colour) in enumerate(VARIANTS.items()):
            found = [cells.get((*place, mode, name)) for place in places]
            values = [float(own["ratio"]) if own else 0.0 for own in found]
            panel.barh([at + 0.27 * (number - 1) for at in range(len(places))], values, 0.25, color=colour, label=name)
        for share, style in ((1.0, "-"), (0.5, ":")):
            panel.axvline(share, color="0.4", linewidth=0.8, linestyle=style)
        panel.set(title=title, xlabel="time, original = 1")
    panels[0].set_yticks(range(len(places)), [f"{case}, {width}, B = {batch}" for case, width, batch in places])
    panels[0].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(VARIANTS))
    with matplotlib.rc_context({"svg.hashsalt": "chiralize"}):
        figure.savefig(path, metadata={"Date": None})


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
