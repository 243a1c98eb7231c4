"""Whether `auto` ever loses: what it chooses by timing layers here, timed again by itself beside the original.

    python -m benchmarks.speed.auto [--widths 64 128 256 512 1024 2048] [--batches 1 4 64 256 1024] [--only linear]

Nothing that was measured before is used. Where `auto` keeps the original's layer its ratio is one, as both are the same
object; `blocks` is the ratio of the twin everywhere, chosen or not. One thread, by the processor's time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.cases import Case, chosen, layers
from benchmarks.speed.fair import _forward, _step
from benchmarks.speed.rows import Table, figures
from chiralize.commands.timing import interleaved
from chiralize.nn.timings import VARIABLE, forget_timings, machine

RESULTS = Path(__file__).with_name("auto.csv")
KEY = ("case", "width", "batch", "mode", "machine")
COLUMNS = (*KEY[:-1], "auto", "ratio", "blocks", "low", "high", "machine", "torch", "load")
_LEAST, _MOST = 3e-3, 2e10  # seconds of a run in a round; multiplications of a call
_CALLED = {"conv1d": 27, "attention": 17, "lstm": 16, "gru": 16}  # times that a weight is multiplied by for a sample


def row(case: Case, batch: int, mode: str, rounds: int) -> dict[Any, Any]:
    """What is chosen for a batch, and how long it takes."""
    call, example = _step if mode == "train" else _forward, case.example(batch)
    variants = {name: case.variants[name].train(mode == "train") for name in ("dense", "blocks")}
    is_kept = chosen(case, batch) is variants["dense"]
    runs = {name: call(each, example) for name, each in variants.items()}
    _, blocks = interleaved(runs, rounds=rounds, least=_LEAST, clock=time.process_time)
    found = figures(blocks)
    return {
        "auto": "dense" if is_kept else "blocks", "ratio": "1.000" if is_kept else found["ratio"],
        "blocks": found["ratio"], "low": found["low"], "high": found["high"],
        "torch": torch.__version__, "load": f"{os.getloadavg()[0]:.1f}",
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256, 512, 1024, 2048])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 64, 256, 1024])
    parser.add_argument("--modes", nargs="+", choices=("forward", "train"), default=["forward"])
    parser.add_argument("--only", nargs="+", default=["linear"], help="cases by name")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, help="after which no case is begun")
    parser.add_argument("--csv", type=Path, default=RESULTS, help="table to append to, and to go on with")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    with (
        tempfile.TemporaryDirectory() as folder,
        Table(options.csv, COLUMNS, KEY, options.seconds) as table,
    ):
        os.environ[VARIABLE] = str(Path(folder, "timings.json"))
        forget_timings()
        for width in options.widths:
            for case in layers(width):
                weights = sum(each.numel() for each in case.variants["dense"].parameters())
                for batch, mode in product(options.batches if case.name in options.only else (), options.modes):
                    if batch * weights * _CALLED.get(case.name, 1) * (3 if mode == "train" else 1) <= _MOST:
                        made = partial(_rows, case, batch, mode, options.rounds)
                        table.add(case.name, width, batch, mode, machine(), rows=made)
    return 0


def _rows(case: Case, batch: int, mode: str, rounds: int) -> list[dict[Any, Any]]:
    return [row(case, batch, mode, rounds)]


if __name__ == "__main__":
    raise SystemExit(main())
