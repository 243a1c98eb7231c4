"""The fair tables and their figure in docs/speed.md, from what `benchmarks.speed.fair` and `.auto` measured:

python -m benchmarks.speed.fair_table [--write docs/speed.md] [--figures docs/figures]
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.speed import auto, fair

VARIANTS = ("torch", "torch, ours", "ours, torch", "ours")
MODES = {"forward": "forward", "train": "training step"}
BOUNDS = {"linear": 0.60, "temporal 243": 0.58, "transformer": 0.60}
COLOURS = ("#7f7f7f", "#000000", "#e69f00", "#0072b2")
Row = Mapping[str, str]
Cells = Mapping[tuple[str, ...], Mapping[str, float]]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.fair_table", description=__doc__)
    parser.add_argument("--write", type=Path, help="page to write the tables into, between their marks")
    parser.add_argument("--figures", type=Path, help="folder for fair.svg (extra: report)")
    options = parser.parse_args(argv)
    measured, swept = read(fair.RESULTS), read(auto.RESULTS)
    if options.figures:
        draw(by_machine(measured)[0], options.figures / "fair.svg")
    if options.write:
        page = options.write.read_text(encoding="utf-8")
        options.write.write_text(written(page, measured, swept), encoding="utf-8")
    elif not options.figures:
        for rows in by_machine(measured):
            print(table(rows))
        for rows in by_machine(swept):
            print(sweep(rows), choices(rows), sep="\n")
    return 0


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a table."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def cells(rows: Sequence[Row]) -> Cells:
    """Ratios to torch's layer by variant, by case, width, batch, threads and mode; cases in the order of the file."""
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("case", "width", "batch", "threads", "mode"))
        found.setdefault(key, {})[row["variant"]] = float(row["ratio"])
    order = {key[0]: place for place, key in reversed(list(enumerate(found)))}
    return dict(sorted(found.items(), key=lambda item: (order[item[0][0]], *map(int, item[0][1:4]), item[0][4])))


def fair_ratio(ratios: Mapping[str, float], private: bool = False) -> float:
    """Ours over the fastest dense layer that has what ours has."""
    if private:
        dense = [ratio for name, ratio in ratios.items() if name.startswith("torch")]
        return ratios["ours, private"] / min(dense)
    return ratios["ours"] / min(ratios["torch"], ratios["torch, ours"])


def table(rows: Sequence[Row]) -> str:
    """The four ways, the fair ratio and the bound that it is to keep."""
    names = "width|batch|threads| |torch|torch, our ways|ours, torch's|ours|fair|bound|private: fair".split("|")
    lines = ["| | " + " | ".join(names) + " |", "|---" * 5 + "|--:" * 5 + "|---|--:|"]
    times = {
        tuple(row[name] for name in ("case", "width", "batch", "threads", "mode")): row["ms"]
        for row in rows
        if row["variant"] == "torch"
    }
    for key, ratios in cells(rows).items():
        case, width, batch, threads, mode = key
        bound, share = BOUNDS.get(case), fair_ratio(ratios)
        is_bound = bound is not None and (case != "linear" or int(batch) >= 256)
        kept = f"{bound:.2f}: {'yes' if share <= bound else 'no'}" if bound is not None and is_bound else ""
        shown = [f"{times[key]} ms", *(f"{ratios[name]:.2f}" for name in VARIANTS[1:])]
        privately = f"{fair_ratio(ratios, private=True):.2f}" if "ours, private" in ratios else ""
        ends = [f"**{share:.2f}**", kept, privately]
        lines.append(" | ".join(["", case, width, batch, threads, MODES[mode], *shown, *ends, ""]).strip())
    return "\n".join(lines) + "\n"


def sweep(rows: Sequence[Row]) -> str:
    """Widths by batches: the ratio of what `auto` chooses, and that of blocks where it keeps the original's layer."""
    batches = sorted({int(row["batch"]) for row in rows if row["case"] == "linear"})
    lines = [
        "| linear | " + " | ".join(f"batch {batch:,}" for batch in batches) + " |",
        "|---" * (len(batches) + 1) + "|",
    ]
    found = {
        (int(row["width"]), int(row["batch"])): row
        for row in rows
        if row["case"] == "linear" and row["mode"] == "forward"
    }
    for width in sorted({width for width, _ in found}):
        shown = [_chosen(found.get((width, batch))) for batch in batches]
        lines.append(f"| {width:,} | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


def _chosen(row: Row | None) -> str:
    if row is None:
        return ""
    return f"dense ({float(row['blocks']):.2f})" if row["auto"] == "dense" else f"**{float(row['ratio']):.2f}**"


def written(page: str, measured: Sequence[Row], swept: Sequence[Row]) -> str:
    """The page with the tables between their marks, those of the first machine that was measured, and of others."""
    for number, rows in enumerate(by_machine(measured), 1):
        page = between(page, "fair" if number == 1 else f"fair {number}", table(rows))
    for number, rows in enumerate(by_machine(swept), 1):
        page = between(page, "sweep" if number == 1 else f"sweep {number}", sweep(rows))
        page = between(page, f"choices {number}", choices(rows))
    return page


def between(page: str, mark: str, text: str) -> str:
    """The page with the text between a pair of marks, as it is where it has none."""
    marks = re.compile(f"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
    return marks.sub(lambda found: f"{found[1]}{text}{found[2]}", page)


def by_machine(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of every machine, in the order of the file."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["machine"], []).append(row)
    return list(found.values())


def choices(rows: Sequence[Row]) -> str:
    """What `auto` took, by kind of layer: how often blocks, and how far it won and lost."""
    lines = ["| | | sizes | blocks in | of these: median | best | worst | all blocks: worst |", "|---" * 8 + "|"]
    kinds = dict.fromkeys((row["case"], row["mode"]) for row in rows)
    for case, mode in sorted(kinds):
        sizes = [row for row in rows if (row["case"], row["mode"]) == (case, mode)]
        taken = sorted(float(row["ratio"]) for row in sizes if row["auto"] == "blocks")
        most = max(float(row["blocks"]) for row in sizes)
        shares = f"{median(taken):.2f} | {taken[0]:.2f} | {taken[-1]:.2f}" if taken else " | | "
        lines.append(f"| {case} | {MODES[mode]} | {len(sizes)} | {len(taken)} | {shares} | {most:.2f} |")
    return "\n".join(lines) + "\n"


def draw(rows: Sequence[Row], path: Path) -> None:
    """Time over that of torch's layer, of all four ways; forward and in training, one thread."""
    import matplotlib
    from matplotlib.figure import Figure

    chosen = {key: ratios for key, ratios in cells(rows).items() if key[3] == "1"}
    figure = Figure(figsize=(9, 1.2 + 0.3 * len(chosen)), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True)
    for panel, (mode, title) in zip(panels, MODES.items(), strict=True):
        places = [key for key in chosen if key[4] == mode]
        for number, name in enumerate(VARIANTS):
            at = [place + 0.2 * (number - 1.5) for place in range(len(places))]
            panel.barh(at, [chosen[key][name] for key in places], 0.18, color=COLOURS[number], label=name)
        panel.set_yticks(range(len(places)), [f"{case}, {width}, B = {batch}" for case, width, batch, *_ in places])
        panel.axvline(1.0, color="0.4", linewidth=0.8)
        panel.axvline(0.5, color="0.4", linewidth=0.8, linestyle=":")
        panel.set(title=title, xlabel="time, torch's layer = 1")
        panel.invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(VARIANTS))
    with matplotlib.rc_context({"svg.hashsalt": "chiralize"}):
        figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    raise SystemExit(main())
