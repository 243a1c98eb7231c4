"""What built-in poses are worth beside a user's own inputs:

    CHIRALIZE_DATA=DIR python -m benchmarks.poses.run --cache DIR [--names ...] [--ways ...]

Networks that `benchmarks.accuracy.teachers` has trained are made half as large on 2,000 of their own inputs, on samples
with the moments that their batch norm remembers, and on built-in poses. `auto` is what somebody gets who gives nothing:
an example of noise, in the right shape. Every row has what the report tells and, on the test subjects, the error in
units of the original's. Rows are appended as they come; what the file has is skipped.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import torch

from benchmarks.accuracy.rows import append, known
from benchmarks.accuracy.teachers import Teacher, answers, load_teacher
from chiralize.commands.convert import convert
from chiralize.errors import ChiralizeError
from chiralize.graph.running import Call
from chiralize.problem.network import Network
from chiralize.problem.poses.builtin import built_in
from chiralize.problem.poses.filling import UnfitError
from chiralize.problem.preparation import prepare
from chiralize.problem.request import Request
from chiralize.verification.verdicts import Drift

RESULTS = Path(__file__).with_name("results.csv")
COLUMNS = ("network", "way", "method", "error", "averaged", "rho", "gap", "rho_beyond", "seconds", "note")
NAMES = ("frame-128", "mlp-512", "temporal-27", "gru-128", "frames-128", "joints-64", "recogniser-gcn-32")
WAYS = ("own", "moments", "built-in", "auto")
SAMPLES, TESTED, BATCH = 2000, 5000, 50


def row(teacher: Teacher, way: str) -> dict[str, Any]:
    """One conversion: what it was, what is told of it, and what became of the error."""
    example = torch.randn(teacher.task.calibration(2).shape, generator=torch.Generator().manual_seed(0))
    network = prepare(teacher.network, teacher.task.spec, (example,))
    request = Request("auto" if way == "auto" else "reduce", width=None if way == "auto" else 0.5, force=way != "auto")
    start, note = time.perf_counter(), ""
    try:
        calls = inputs(teacher, network, way)
        if calls:
            request = Request("reduce", width=0.5, force=True, calibration=calls)
        done = convert(network, teacher.name, request)
        if way == "moments" and (done.report.drift is None or "Gaussian" not in done.report.drift.source):
            return {"note": "the moments are not determined"}
    except (UnfitError, ChiralizeError) as error:
        return {"note": str(error).splitlines()[0]}
    if done.report.notes and way == "auto":
        note = "; ".join(done.report.notes)
    return {
        "method": done.report.method + (f" {done.report.cost.macs_after / max(done.report.cost.macs_before, 1):.2f}"),
        **errors(teacher, done.module), **told(done.report.drift), "seconds": time.perf_counter() - start, "note": note,
    }  # fmt: skip


def inputs(teacher: Teacher, network: Network, way: str) -> list[Call]:
    """The inputs to fit on; none where `convert` looks for some itself."""
    if way == "own":
        return [((part,), {}) for part in teacher.task.calibration(SAMPLES).split(BATCH)]
    return list(built_in(network).calls) if way == "built-in" else []


def errors(teacher: Teacher, module: torch.nn.Module) -> dict[str, float]:
    """The error of the result, and of the average of both views, in units of the original's; above 1 is worse."""
    task = teacher.task
    given, targets = task.test(TESTED)
    before = task.figures(answers(teacher.network, given), targets)[task.figure]
    after = task.figures(answers(module, given), targets)[task.figure]
    mirrored = answers(teacher.network, torch.from_numpy(task.mirror(given.numpy())))
    both = (answers(teacher.network, given) + torch.from_numpy(task.mirror_targets(mirrored.numpy()))) / 2
    averaged = task.figures(both, targets)[task.figure]
    if task.better > 0:
        return {"error": before / after, "averaged": before / averaged}
    return {"error": after / before, "averaged": averaged / before}


def told(drift: Drift | None) -> dict[str, Any]:
    """What the report knows."""
    if drift is None:
        return {}
    return {"rho": drift.rho, "gap": drift.gap, "rho_beyond": drift.beyond.rho if drift.beyond else ""}


def main() -> None:
    """Convert and append to the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--csv", type=Path, default=RESULTS)
    parser.add_argument("--names", nargs="*", default=NAMES)
    parser.add_argument("--ways", nargs="*", default=WAYS, choices=WAYS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    done = known(arguments.csv, ("network", "way"))
    for name in arguments.names:
        for way in arguments.ways:
            if (name, way) in done:
                continue
            try:
                teacher = load_teacher(arguments.cache, name, True, 0)
            except FileNotFoundError:
                continue
            entries = {"network": name, "way": way} | row(teacher, way)
            append(arguments.csv, COLUMNS, [{key: rounded(value) for key, value in entries.items()}])
            print(entries, flush=True)


def rounded(value: Any) -> Any:
    """Four digits of a figure."""
    return f"{value:.4g}" if isinstance(value, float) else value


if __name__ == "__main__":
    main()
