"""The tables of docs/speed-gpu.md that `benchmarks.speed.cuda` and `.scale_out` measured:

python -m benchmarks.speed.gpu_table [--write docs/speed-gpu.md]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.speed import cuda, scale_out
from benchmarks.speed.fair_table import Row, between, read
from chiralize.errors.words import when

MODES = (*cuda.PLAIN, *cuda.COMPILED)
STEP, PARAMETERS, COUNTS = ("transformer", 1024, 64), 50_384_896, (2, 4, 8)
"""A training step that was measured, the parameters of its network, and numbers of GPUs."""
LINKS = {
    "NVLink, 450 GB/s": (450e9, 5e-6),
    "PCIe 4.0, 25 GB/s": (25e9, 1e-5),
    "Ethernet, 10 Gbit/s": (1.25e9, 5e-5),
}
"""Bytes a second each way, and seconds of a round."""
Cell = Mapping[str, Row]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.gpu_table", description=__doc__)
    parser.add_argument("--write", type=Path, help="page to write the tables into, between their marks")
    options = parser.parse_args(argv)
    measured = read(cuda.RESULTS)
    scaled = read(scale_out.RESULTS) if scale_out.RESULTS.exists() else []
    if options.write:
        page = options.write.read_text(encoding="utf-8")
        options.write.write_text(written(page, measured, scaled), encoding="utf-8")
    else:
        print(table(measured), expected(measured), scaling(scaled), sep="\n", end="")
    return 0


def written(page: str, measured: Sequence[Row], scaled: Sequence[Row]) -> str:
    """The page with the tables between their marks."""
    tables = {"gpu": table(measured), "traffic": expected(measured), "scale": scaling(scaled)}
    for mark, text in tables.items():
        page = between(page, mark, text)
    return page


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


def ring(size: float, processes: int, bandwidth: float, latency: float) -> float:
    """Seconds of a sum over a ring of processes, round by round.

    Each sends a part of the tensor to the next one: once around to add up, once more to hand the sums out.  size: bytes
    of the tensor.  bandwidth: bytes a second each way.  latency: seconds of a round.
    """
    seconds = 0.0
    for _ in range(2 * (processes - 1)):
        seconds += latency + size / processes / bandwidth
    return seconds


def expected(rows: Sequence[Row]) -> str:
    """What the sum of all gradients adds to a measured training step of the transformer, and the speed that is left."""
    case, width, batch = STEP
    lines = ["| a step of | sums over | " + " | ".join(f"{count} GPUs" for count in COUNTS) + " |"]
    lines.append("|---" * (2 + len(COUNTS)) + "|")
    for row in rows:
        is_step = (row["case"], row["width"], row["batch"]) == (case, str(width), str(batch))
        is_like = row["mode"] == "training step" and row["variant"] == "dense" and row["precision"] != "bfloat16"
        if not (is_step and is_like):
            continue
        step = float(row["ms"]) / 1e3
        for link, speed in LINKS.items():
            added = [ring(4 * PARAMETERS, count, *speed) for count in COUNTS]
            shown = [
                f"+ {1e3 * seconds:.1f} ms, x {count * step / (step + seconds):.1f}"
                for count, seconds in zip(COUNTS, added, strict=True)
            ]
            lines.append(f"| {1e3 * step:.1f} ms ({row['precision']}) | {link} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


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
        what = f"{row['what']}{when(row['clock'], ', by the processor')}"
        lines.append(
            f"| {what} | {row['processes']} | {int(row['parameters']) / 1e6:.1f} M | {row['seconds']} | "
            f"{row['shared']} | {speed:.2f} | {row['memory']} MB | {row['megabytes']} MB in {row['sums']} | "
            f"{row['answers']} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
