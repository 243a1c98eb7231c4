"""Convert the trained networks in every way and measure what it costs in accuracy:

    python -m benchmarks.accuracy.compare --cache DIR --csv benchmarks/accuracy/results.csv [--names ...] [--ways ...]

DIR holds teachers (`python -m benchmarks.accuracy.teachers --cache DIR`). Calibration inputs are unlabelled samples of
the training subjects, figures are the teacher's own metric on test subjects. Rows are appended as they come, and those
that the file has are skipped, so that a run can be stopped and resumed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.accuracy.rows import append, known
from benchmarks.accuracy.teachers import RECIPES, Teacher, evaluate, load_teacher, train
from chiralize.commands.convert import Conversion, Request, convert
from chiralize.errors import ChiralizeError
from chiralize.graph.running import Call
from chiralize.problem.network import prepare

SAMPLES, HELD_OUT = 2000, 500
BATCH = 50
WAYS = {
    "average": Request("average"),
    "project": Request("project"),
    "project distilled": Request("project", distill=1),
    "match, weights alone": Request("match"),
    "match": Request("match"),
    "match distilled": Request("match", distill=1),
    "reduce 0.35": Request("reduce", width=0.35),
    "reduce 0.35 distilled": Request("reduce", width=0.35, distill=1),
    "reduce 0.5": Request("reduce", width=0.5),
    "reduce 0.5 without inputs": Request("reduce", width=0.5),
    "reduce 0.5 distilled": Request("reduce", width=0.5, distill=1),
    "reduce 0.707": Request("reduce", width=0.707),
    "reduce 0.707 distilled": Request("reduce", width=0.707, distill=1),
}
"""Distilled: the number of steps is the recipe's."""
UNFITTED = ("match, weights alone", "reduce 0.5 without inputs")
"""They get no calibration inputs: rho is measured on noise, or on what the first batch norm remembers of inputs."""
SCRATCH = "scratch"
"""A network of the same kind, made equivariant before training and trained for as many steps."""


@dataclass(frozen=True)
class Row:
    """One conversion.

    error: the teacher's metric.  ratio: to the teacher's own.  rho, gap: on held-out inputs.  macs: multiplications of
    the dense graph, relative to the teacher's.  seconds: of one core.  note: the form, or why there is no result.
    """

    network: str
    flips: bool
    seed: int
    way: str
    metric: str
    error: float
    ratio: float
    rho: float
    gap: float
    parameters: int
    macs: float
    seconds: float
    note: str = ""


COLUMNS = [own.name for own in fields(Row)]


def rows(teacher: Teacher, ways: list[str]) -> Iterator[Row]:
    """The teacher, its flip average, and one row for every way."""
    metric = teacher.task.figure
    own = evaluate(teacher.network, teacher.task)
    base = own["figures"][metric]
    count = sum(parameter.numel() for parameter in teacher.network.parameters())
    common = (teacher.name, teacher.flips, teacher.seed)
    yield Row(*common, "teacher", metric, base, 1.0, 0.0, own["gap"], count, 1.0, teacher.seconds)
    averaged = own["averaged"][metric]
    yield Row(*common, "both views", metric, averaged, averaged / base, 0.0, own["gap"], count, 2.0, 0.0)
    if SCRATCH in ways:
        yield _from_scratch(teacher, common, base)
    inputs = teacher.task.calibration(SAMPLES + HELD_OUT)
    calls = [((part,), {}) for part in inputs.split(BATCH)]
    network = prepare(teacher.network, teacher.task.spec, (inputs[:BATCH],))
    for way in (own for own in ways if own != SCRATCH):
        options = WAYS[way]
        start = time.process_time()
        try:
            given = () if way in UNFITTED else calls
            done = convert(network, teacher.name, _with(options, given, RECIPES[teacher.name].distill))
        except ChiralizeError as error:
            yield Row(*common, way, metric, float("nan"), float("nan"), 0, 0, 0, 0, 0, f"{error.code} {error.facts}")
            continue
        yield _row(teacher, common, way, base, done, time.process_time() - start)


def _from_scratch(teacher: Teacher, common: tuple[str, bool, int], base: float) -> Row:
    metric, start = teacher.task.figure, time.process_time()
    try:
        network = train(RECIPES[teacher.name], teacher.flips, teacher.seed, teacher.task, chiral=True)
    except ChiralizeError as error:
        return Row(*common, SCRATCH, metric, float("nan"), float("nan"), 0, 0, 0, 0, 0, f"{error.code} {error.facts}")
    seconds, found = time.process_time() - start, evaluate(network, teacher.task)
    error, count = found["figures"][metric], sum(parameter.numel() for parameter in network.parameters())
    return Row(*common, SCRATCH, metric, error, error / base, 0.0, found["gap"], count, 1.0, seconds, "folded")


def _with(options: Request, calls: Sequence[Call], steps: int) -> Request:
    return replace(options, calibration=calls, distill=options.distill * steps, max_drift=1e9, force=True)


def _row(
    teacher: Teacher, common: tuple[str, bool, int], way: str, base: float, done: Conversion, seconds: float
) -> Row:
    error = evaluate(done.module, teacher.task)["figures"][teacher.task.figure]
    drift, cost = done.report.drift, done.report.cost
    rho, gap = (drift.rho, drift.gap) if drift else (0.0, 0.0)
    return Row(
        *common, way, teacher.task.figure, error, error / base, rho, gap,
        cost.parameters_after, cost.macs_after / max(cost.macs_before, 1), seconds, done.report.form,
    )  # fmt: skip


def main() -> int:
    """Convert and append to the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--names", nargs="*", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--ways", nargs="*", default=[*WAYS, SCRATCH], choices=[*WAYS, SCRATCH])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    done = known(arguments.csv, ("network", "flips", "seed", "way"))
    console = Console(stderr=True)
    for seed in arguments.seeds:
        for flips in (True, False):
            for name in arguments.names:
                ways = [way for way in arguments.ways if (name, str(flips), str(seed), way) not in done]
                try:
                    teacher = load_teacher(arguments.cache, name, flips, seed)
                except FileNotFoundError:
                    continue
                for row in rows(teacher, ways) if ways else ():
                    if (row.network, str(row.flips), str(row.seed), row.way) not in done:
                        append(arguments.csv, COLUMNS, [_rounded(row)])
                        console.print(f"{row.network} {row.way}: {row.error:.2f} ({row.ratio:.4f}), rho {row.rho:.2f}")
    return 0


def _rounded(row: Row) -> dict[str, object]:
    return {name: f"{value:.5g}" if isinstance(value, float) else value for name, value in asdict(row).items()}


if __name__ == "__main__":
    sys.exit(main())
