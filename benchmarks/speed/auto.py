"""Whether `auto` ever loses: what it chooses by timing layers here, timed again by itself beside the original.

    python -m benchmarks.speed.auto [--widths 64 128 256 512 1024 2048] [--batches 1 4 64 256 1024] [--only linear]

Nothing that was measured before is used. Where `auto` keeps the original's layer its ratio is one, as both are the same
object; `blocks` is the ratio of the twin everywhere, chosen or not. One thread, by the processor's time.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.cases import Case, chosen, layers
from benchmarks.speed.fair import _forward, _step
from chiralize.commands.timing import interleaved
from chiralize.nn.timings import VARIABLE, forget_timings, machine

RESULTS = Path(__file__).with_name("auto.csv")
COLUMNS = ("case", "width", "batch", "mode", "auto", "ratio", "blocks", "low", "high", "machine", "torch", "load")
_LEAST, _MOST = 3e-3, 2e10  # seconds of a run in a round; multiplications of a call


def row(case: Case, batch: int, mode: str, rounds: int) -> dict[Any, Any]:
    """What is chosen for a batch, and how long it takes."""
    net = chosen(case, batch)
    call, example = _step if mode == "train" else _forward, case.example(batch)
    variants = {"dense": case.variants["dense"], "blocks": case.variants["blocks"]}
    runs = {name: call(each.train(mode == "train"), example) for name, each in variants.items()}
    _, blocks = interleaved(runs, rounds=rounds, least=_LEAST, clock=time.process_time)
    is_kept = net is variants["dense"]
    return {
        "case": case.name, "width": case.width, "batch": batch, "mode": mode, "auto": "dense" if is_kept else "blocks",
        "ratio": "1.000" if is_kept else f"{blocks.ratio:.3f}", "blocks": f"{blocks.ratio:.3f}",
        "low": f"{blocks.low:.3f}", "high": f"{blocks.high:.3f}", "machine": machine(), "torch": torch.__version__,
        "load": f"{os.getloadavg()[0]:.1f}",
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256, 512, 1024, 2048])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 64, 256, 1024])
    parser.add_argument("--modes", nargs="+", choices=("forward", "train"), default=["forward"])
    parser.add_argument("--only", nargs="+", default=["linear"], help="cases by name")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--csv", type=Path, default=RESULTS, help="table to append to")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    is_new = not options.csv.exists()
    with tempfile.TemporaryDirectory() as folder, options.csv.open("a", newline="") as file:
        os.environ[VARIABLE] = str(Path(folder, "timings.json"))
        forget_timings()
        writer = csv.DictWriter(file, COLUMNS)
        if is_new:
            writer.writeheader()
        for width in options.widths:
            for case in layers(width):
                for batch in options.batches if case.name in options.only else ():
                    weights = sum(each.numel() for each in case.variants["dense"].parameters())
                    if batch * weights * (27 if case.name == "conv1d" else 1) > _MOST:
                        continue
                    for mode in options.modes:
                        made = row(case, batch, mode, options.rounds)
                        writer.writerow(made)
                        file.flush()
                        print(*[made[name] for name in COLUMNS[:9]], made["load"], flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
