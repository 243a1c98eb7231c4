"""The tables of docs/speed-machines.md that `benchmarks.speed.cuda` and `.scale_out` measured:

python -m benchmarks.speed.gpu_table [--write docs/speed-machines.md]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.speed import cuda, scale_out
from benchmarks.speed.fair_table import Row, between, read

MODES = (*cuda.PLAIN, *cuda.COMPILED)
Cell = Mapping[str, Row]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.gpu_table", description=__doc__)
    parser.add_argument("--write", type=Path, help="page to write the tables into, between their marks")
    options = parser.parse_args(argv)
    measured, scaled = read(cuda.RESULTS), read(scale_out.RESULTS)
    if options.write:
        page = options.write.read_text(encoding="utf-8")
        options.write.write_text(written(page, measured, scaled), encoding="utf-8")
    else:
        print(table(measured), scaling(scaled), sep="\n", end="")
    return 0


def written(page: str, measured: Sequence[Row], scaled: Sequence[Row]) -> str:
    """The page with the tables between their marks."""
    return between(between(page, "gpu", table(measured)), "scale", scaling(scaled))


def table(rows: Sequence[Row]) -> str:
    """A row for every size; in float32, TF32 and bfloat16 the time of blocks over that of the faster dense form."""
    cells: dict[tuple[str, int, int], dict[tuple[str, str], dict[str, Row]]] = {}
    for row in rows:
        if not row["error"]:
            size = row["case"], int(row["width"]), int(row["batch"])
            cells.setdefault(size, {}).setdefault((row["precision"], row["mode"]), {})[row["variant"]] = row
    order = {case: number for number, case in enumerate(dict.fromkeys(case for case, *_ in cells))}
    lines = [f"| | width | batch | dense, eager | {' | '.join(MODES)} | `auto` |", "|---" * (5 + len(MODES)) + "|"]
    for size in sorted(cells, key=lambda size: (order[size[0]], *size[1:])):
        found = cells[size]
        times = [found[precision, "eager"]["dense"]["ms"] for precision in cuda.PRECISIONS]
        shown = [_shares([found.get((precision, mode)) for precision in cuda.PRECISIONS]) for mode in MODES]
        taken = [found[precision, "eager"]["dense"]["auto"] for precision in cuda.PRECISIONS]
        ends = " · ".join(taken) if len(set(taken)) > 1 else taken[0]
        case, width, batch = size
        lines.append(f"| {case} | {width} | {batch} | {' · '.join(times)} ms | {' | '.join(shown)} | {ends} |")
    return "\n".join(lines) + "\n"


def share(cell: Cell) -> float:
    """Time of the blocks over that of the fastest dense form."""
    dense = [float(cell[name]["ratio"]) for name in ("dense", "dense, ours") if name in cell]
    return float(cell["blocks"]["ratio"]) / min(dense)


def _shares(cells: Sequence[Cell | None]) -> str:
    if not any(cells):
        return ""
    return " · ".join("" if cell is None else _marked(share(cell)) for cell in cells)


def _marked(ratio: float) -> str:
    return f"**{ratio:.2f}**" if ratio <= cuda.GAINS else f"{ratio:.2f}"


def scaling(rows: Sequence[Row]) -> str:
    """What processes that share the inputs took, beside one."""
    names = "processes|parameters|seconds|shared part|speed-up of that|memory of each|sent by each|answers apart".split(
        "|"
    )
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    alone = {(row["network"], row["width"], row["what"]): row for row in rows if row["processes"] == "1"}
    for row in rows:
        one = alone[row["network"], row["width"], row["what"]]
        speed = float(one["shared"]) / float(row["shared"])
        lines.append(
            f"| {row['what']} | {row['processes']} | {int(row['parameters']) / 1e6:.1f} M | {row['seconds']} | "
            f"{row['shared']} | {speed:.2f} | {row['memory']} MB | {row['megabytes']} MB in {row['sums']} | "
            f"{row['answers']} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
