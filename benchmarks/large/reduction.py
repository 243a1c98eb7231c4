"""How long `reduce` takes on a 243-frame network of 17 million parameters, and how much memory:

    python -m benchmarks.large.reduction [--width 1024] [--samples 2000] [--threads 2] [--csv FILE]

Both forms of the network: strided (one answer per window) and dense (dilated; here 200 answers per sequence). A sample
is one answer. Weights are random and so are the inputs, smooth in time and of few dimensions as poses are: neither
changes what is computed. Every case runs in a process of its own; peak memory is what it held at most (VmHWM), torch
itself included, and beyond what it held before the network was built.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.large.run import ROOT, memory

FRAMES, BATCH, ANSWERS = 243, 50, 200
COLUMNS = (
    "form", "width", "parameters", "samples", "threads", "seconds", "cpu_seconds", "model_mb", "peak_mb",
    "beyond_start_mb", "limit_mb", "rho", "passed",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 1 where a case failed."""
    options = _options(argv)
    if options.one:
        print(json.dumps(_measured(options)))
        return 0
    rows = []
    for form in ("strided", "dense"):
        command = [sys.executable, "-m", "benchmarks.large.reduction", "--one", form]
        command += ["--width", options.width, "--samples", options.samples, "--threads", options.threads]
        done = subprocess.run(list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        rows.append(
            {"form": form, "passed": f"exit code {done.returncode}"} if done.returncode else json.loads(done.stdout)
        )
        print(", ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    if options.csv:
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return 0 if all(row["passed"] is True for row in rows) else 1


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large.reduction", description=__doc__)
    parser.add_argument("--width", type=int, default=1024, help="channels")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--csv", type=Path, help="table to write")
    parser.add_argument("--one", choices=("strided", "dense"), help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    from benchmarks.large.networks import TemporalLifter, settled
    from chiralize.body.tensors import load_spec
    from chiralize.commands.convert import Request, convert
    from chiralize.problem.preparation import prepare

    torch.set_num_threads(options.threads)
    before = memory("VmRSS")
    calls = list(_calls(options.one, options.samples))
    network = settled(TemporalLifter(options.width, strided=options.one == "strided"), calls[0][0][0])
    start, cpu = time.perf_counter(), time.process_time()

    def progress(step: str, done: float | None = None, /) -> None:
        figures = f"{time.perf_counter() - start:7.1f} s (cpu {time.process_time() - cpu:.1f} s)"
        print(f"{figures} {memory('VmHWM'):8.0f} MB  {step}", file=sys.stderr, flush=True)

    spec = load_spec("h36m", input_layouts=["b t j d"], output_layouts=["b t j d"])
    prepared = prepare(network, spec, calls[0][0])
    wanted = Request("reduce", width=0.5, calibration=calls, max_drift=1e9, force=True, progress=progress)
    found = convert(prepared, "temporal", wanted)
    seconds, used = time.perf_counter() - start, time.process_time() - cpu
    size, peak = sum(own.numel() for own in network.parameters()) * 4 / 1e6, memory("VmHWM")
    report = found.report
    return {
        "form": options.one, "width": options.width, "parameters": sum(own.numel() for own in network.parameters()),
        "samples": options.samples, "threads": options.threads, "seconds": round(seconds, 1),
        "cpu_seconds": round(used, 1), "model_mb": round(size), "peak_mb": round(peak),
        "beyond_start_mb": round(peak - before), "limit_mb": round(1000 + 4 * size),
        "rho": round(report.drift.rho, 2) if report.drift else 0.0, "passed": report.passed,
    }  # fmt: skip


def _calls(form: str, samples: int) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Calibration inputs: batches of windows, or sequences that hold many."""
    import torch

    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(12, 34, generator=generator) / 12
    rows, frames = (BATCH, FRAMES) if form == "strided" else (1, FRAMES + ANSWERS - 1)
    for _ in range(samples // (BATCH if form == "strided" else ANSWERS)):
        steps = 0.05 * torch.randn(rows, frames, 12, generator=generator)
        path = torch.randn(rows, 1, 12, generator=generator) + steps.cumsum(1)
        poses = path @ mix + 0.01 * torch.randn(rows, frames, 34, generator=generator)
        yield (poses.unflatten(2, (17, 2)),), {}


if __name__ == "__main__":
    raise SystemExit(main())
