"""Train networks, convert them in every way, and measure what that costs in accuracy:

    python -m benchmarks.accuracy.compare --out FOLDER [--seeds 0 1 2] [--workers 2] [--seconds 540] [--names ...]

CHIRALIZE_DATA names the folder with the motion capture. FOLDER gets the trained networks (`networks/`, as of
`python -m benchmarks.accuracy.teachers`, on a GPU where there is one), `results.csv`, and `narrow.csv` with
`--narrow NAME ...`, trials of `benchmarks.narrow`. Calibration inputs are unlabelled samples of the training subjects,
figures are the network's own metric on test subjects. Rows are written as they come, the most important first, and
those that the files have are skipped, so that a run can be stopped and resumed.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor, nn

from benchmarks.accuracy import together
from benchmarks.accuracy.pruning import distilled, products, pruned
from benchmarks.accuracy.rows import append, known
from benchmarks.accuracy.summary import BETTER, read
from benchmarks.accuracy.tasks import Lifting, load_task
from benchmarks.accuracy.teachers import (
    RECIPES,
    TESTED,
    Teacher,
    answers,
    evaluate,
    load_teacher,
    place,
    train,
    trained,
)
from benchmarks.narrow import run as narrow
from chiralize.commands.convert import Conversion, Request, convert
from chiralize.errors import ChiralizeError
from chiralize.graph.running import Call
from chiralize.problem.preparation import prepare
from chiralize.problem.problem import Problem

SAMPLES, HELD_OUT = 2000, 500
BATCH = 50
WAYS = {
    "auto": Request(),
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
    "reduce 0.5 without poses": Request("reduce", width=0.5),
    "reduce 0.5 distilled": Request("reduce", width=0.5, distill=1),
    "reduce 0.707": Request("reduce", width=0.707),
    "reduce 0.707 distilled": Request("reduce", width=0.707, distill=1),
}
"""Distilled: the number of steps is the recipe's. `auto` is held to its bounds, all others are forced."""
UNFITTED = ("match, weights alone", "reduce 0.5 without inputs")
"""They get no calibration inputs: rho is measured on noise, or on what the first batch norm remembers of inputs."""
SCRATCH, PRUNED, HALF = "scratch", "pruned", "reduce 0.5"
"""A network of the same kind, made equivariant before training and trained for as many steps; half of the
multiplications by pruning and distillation, in the seconds of the processor that `reduce 0.5` took."""
WITHOUT_POSES, POSES = "reduce 0.5 without poses", "chiralize.commands.convert.with_poses"
"""Fitted on the calibration inputs and what is made of them, not on built-in poses."""
ORIGINALS = ("teacher", "both views")
TODAY = ("auto", HALF, PRUNED, "reduce 0.707", WITHOUT_POSES)
"""Most important first."""
NAMES = (
    "mlp-512", "joints-64-long", "lstm-256", "mixer-64", "temporal-27", "frame-512", "mixer-32", "recogniser-gru-128",
    "gru-128", "frames-128", "joints-64", "temporal-243",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One conversion.

    error: the network's own metric.  ratio: to the original's.  rho, gap: on held-out inputs.  macs: multiplications of
    what was written, as the report counts them; products: as PyTorch counts them; both relative to the original's.
    seconds: of one core.  worst_joint: the largest ratio of a joint's error.  note: the form, what `auto` took, or why
    there is no result.
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
    products: float = float("nan")
    worst_joint: float = float("nan")


COLUMNS = [own.name for own in fields(Row)]
Key = tuple[str, bool, int]


def originals(teacher: Teacher) -> list[Row]:
    """The network as it was trained, and its flip average."""
    metric = teacher.task.figure
    own = evaluate(teacher.network, teacher.task)
    base, averaged = own["figures"][metric], own["averaged"][metric]
    count, key = _count(teacher.network), (teacher.name, teacher.flips, teacher.seed)
    return [
        Row(*key, "teacher", metric, base, 1.0, 0.0, own["gap"], count, 1.0, teacher.seconds, "", 1.0, 1.0),
        Row(*key, "both views", metric, averaged, averaged / base, 0.0, own["gap"], count, 2.0, 0.0, "", 2.0),
    ]


def converted(teacher: Teacher, way: str) -> list[Row]:
    """The row of a way; of `auto` also that of the width that it took, which is the same conversion."""
    inputs = teacher.task.calibration(SAMPLES + HELD_OUT)
    calls = [((part,), {}) for part in inputs.split(BATCH)]
    network = prepare(teacher.network, teacher.task.spec, (inputs[:BATCH],))
    told = list[str]()
    options = _with(way, () if way in UNFITTED else calls, RECIPES[teacher.name].distill)
    options = replace(options, progress=lambda what, share=0.0: told.append(what))
    start = time.process_time()
    try:
        with patch(POSES, _as_it_is) if way == WITHOUT_POSES else nullcontext():
            done = convert(network, teacher.name, options)
    except ChiralizeError as error:
        return [_failed(teacher, way, error)]
    seconds = time.process_time() - start
    notes = [note for note in done.report.notes if "was not taken" in note]
    taken = [what for what in told if what.startswith("converting by ")][-1].removeprefix("converting by ")
    row = _row(teacher, way, done, seconds)
    if way != "auto":
        return [row]
    same = next((other for other in WAYS if taken == other.replace(" ", " at width ", 1)), None)
    return [replace(row, note="; ".join([taken, *notes]))] + ([replace(row, way=same)] if same is not None else [])


def _as_it_is(problem: Problem) -> Problem:
    return problem


def plain(teacher: Teacher, seconds: float) -> list[Row]:
    """Half of the multiplications, by pruning and distillation in so many seconds."""
    inputs = teacher.task.calibration(SAMPLES)
    start = time.process_time()
    student = pruned(teacher, inputs, 0.5)
    student = distilled(student, teacher, inputs, seconds - (time.process_time() - start))
    spent = time.process_time() - start
    return [_measured(teacher, PRUNED, student, 0.0, 0.0, float("nan"), spent, "")]


def from_scratch(teacher: Teacher) -> list[Row]:
    """A network of the same kind that was equivariant before training."""
    start = time.process_time()
    try:
        network = train(RECIPES[teacher.name], teacher.flips, teacher.seed, teacher.task, chiral=True)
    except ChiralizeError as error:
        return [_failed(teacher, SCRATCH, error)]
    return [_measured(teacher, SCRATCH, network, 0.0, 0.0, 1.0, time.process_time() - start, "folded")]


def _with(way: str, calls: Sequence[Call], steps: int) -> Request:
    options = replace(WAYS[way], calibration=calls, distill=WAYS[way].distill * steps)
    return options if way == "auto" else replace(options, max_drift=1e9, force=True)


def _row(teacher: Teacher, way: str, done: Conversion, seconds: float) -> Row:
    drift, cost = done.report.drift, done.report.cost
    rho, gap = (drift.rho, drift.gap) if drift else (0.0, 0.0)
    macs = cost.macs_after / max(cost.macs_before, 1)
    row = _measured(teacher, way, done.module, rho, gap, macs, seconds, done.report.form)
    return replace(row, parameters=cost.parameters_after)


def _measured(
    teacher: Teacher, way: str, made: nn.Module, rho: float, gap: float, macs: float, seconds: float, note: str
) -> Row:
    task = teacher.task
    tested, targets = task.test(TESTED)
    before, after = answers(teacher.network, tested), answers(made, tested)
    base, error = (task.figures(own, targets)[task.figure] for own in (before, after))
    share = products(made, tested[:1]) / products(teacher.network, tested[:1])
    return Row(
        teacher.name, teacher.flips, teacher.seed, way, task.figure, error, error / base, rho, gap, _count(made),
        macs, seconds, note, share, _worst_joint(task.figure, before, after, targets),
    )  # fmt: skip


def _worst_joint(figure: str, before: Tensor, after: Tensor, targets: Tensor) -> float:
    """The largest ratio of a joint's mean distance from its target; nan where answers have no joints."""
    if BETTER[figure] > 0:
        return float("nan")
    was, now = ((own - targets).norm(dim=-1).flatten(0, -2).mean(0) for own in (before, after))
    moving = targets.flatten(0, -3).std(0).norm(dim=-1) > 1e-6  # the hip is the origin
    return float((now / was)[moving].max())


def _failed(teacher: Teacher, way: str, error: ChiralizeError) -> Row:
    nan, key = float("nan"), (teacher.name, teacher.flips, teacher.seed)
    return Row(*key, way, teacher.task.figure, nan, nan, 0, 0, 0, 0, 0, f"{error.code} {error.facts}")


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# ---- jobs -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Work:
    """What one process does at a time. folder: see the module."""

    folder: Path

    @property
    def networks(self) -> Path:
        """The folder of the trained networks."""
        return self.folder / "networks"

    @property
    def results(self) -> Path:
        """The file of rows."""
        return self.folder / "results.csv"

    def teach(self, key: Key) -> list[Row]:
        """Train a network, on a GPU where there is one, and measure it."""
        devices = ["cuda", "cpu"] if torch.cuda.is_available() else ["cpu"]
        for device in () if place(self.networks, *key).exists() else devices:
            try:
                print(trained(self.networks, *key, device=device), flush=True)
                break
            except RuntimeError as error:
                if device == devices[-1]:
                    raise
                print(f"{key}: not on the GPU: {error}", file=sys.stderr, flush=True)
        return originals(load_teacher(self.networks, *key))

    def way(self, key: Key, way: str) -> list[Row]:
        """Convert a network, or what stands beside it."""
        teacher = load_teacher(self.networks, *key)
        if way == SCRATCH:
            return from_scratch(teacher)
        if way == PRUNED:
            return plain(teacher, self.seconds_of(key, HALF))
        return [] if self.is_known(key, way) else converted(teacher, way)

    def narrow(self, key: Key, inputs: str) -> list[Mapping[str, object]]:
        """A trial of `benchmarks.narrow`."""
        teacher = load_teacher(self.networks, *key)
        assert isinstance(teacher.task, Lifting)
        poses = dict(narrow.kinds(teacher.task))[inputs]
        return [narrow.named(place(self.networks, *key).stem, inputs, narrow.row(teacher, poses))]

    def is_known(self, key: Key, way: str) -> bool:
        """Whether a row is there, such as that of the width that `auto` took."""
        return (*map(str, key), way) in known(self.results, ("network", "flips", "seed", "way"))

    def seconds_of(self, key: Key, way: str) -> float:
        """How long a conversion took."""
        name, flips, seed = map(str, key)
        for row in read(self.results):
            if (row["network"], row["flips"], row["seed"], row["way"]) == (name, flips, seed, way):
                return float(row["seconds"])
        return 30.0


def _jobs(work: _Work, keys: Sequence[Key], ways: Sequence[str], trials: Sequence[Key]) -> list[together.Job]:
    """All networks and the first way, then what else there is, way by way."""
    jobs = list[together.Job]()
    for number, way in enumerate(ways):
        for key in keys:
            if not number:
                jobs.append(together.Job((*key, "teacher"), partial(work.teach, key)))
            needs = [(*key, "teacher"), *([(*key, HALF)] if way == PRUNED and HALF in ways else [])]
            needs += [(*key, "auto")] if way in WAYS and way != "auto" and "auto" in ways else []
            jobs.append(together.Job((*key, way), partial(work.way, key, way), needs))
        if way == (PRUNED if PRUNED in ways else ways[-1]):
            for inputs in narrow.KINDS:
                for key in trials:
                    jobs.append(_trial(work, key, inputs))
    return jobs


def _trial(work: _Work, key: Key, inputs: str) -> together.Job:
    name = place(work.networks, *key).stem
    return together.Job((name, inputs), partial(work.narrow, key, inputs), [(*key, "teacher")])


def main() -> int:
    """Train, convert and append to the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the networks and the rows")
    parser.add_argument("--names", nargs="*", default=NAMES, choices=list(RECIPES))
    parser.add_argument("--ways", nargs="*", default=TODAY, choices=[*WAYS, SCRATCH, PRUNED])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--plain", action="store_true", help="trained without mirrored copies")
    parser.add_argument("--narrow", nargs="*", default=[], choices=list(RECIPES), help="lifters of single frames")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    chosen = parser.parse_args()
    start = time.monotonic()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    work = _Work(chosen.out)
    work.networks.mkdir(parents=True, exist_ok=True)
    keys = [(name, not chosen.plain, seed) for seed in chosen.seeds for name in chosen.names]
    trials = [(name, not chosen.plain, seed) for seed in chosen.seeds for name in chosen.narrow]
    for task in sorted({RECIPES[name].task for name, _, _ in keys + trials}):
        load_task(task).test(1)  # once, for all processes
        load_task(task).calibration(1)
    done: set[Hashable] = _done(work, keys)
    together.run(
        _jobs(work, keys, chosen.ways, trials), done, partial(_written, work), chosen.workers,
        chosen.seconds - (time.monotonic() - start),
    )  # fmt: skip
    return 0


def _done(work: _Work, keys: Sequence[Key]) -> set[Hashable]:
    """Keys of the jobs whose rows are there; of teachers, where the network is there as well."""
    rows = known(work.results, ("network", "flips", "seed", "way"))
    done: set[Hashable] = set(known(work.folder / "narrow.csv", narrow.COLUMNS[:2]))
    for name, flips, seed, way in rows:
        key = (name, flips == "True", int(seed))
        if way != "teacher" or place(work.networks, *key).exists():
            done.add((*key, way))
    return done


def _written(work: _Work, job: together.Job, rows: Sequence[Row | Mapping[str, object]]) -> None:
    for row in rows:
        if not isinstance(row, Row):
            append(work.folder / "narrow.csv", narrow.COLUMNS, [row])
            print(*row.values(), flush=True)
        elif not work.is_known((row.network, row.flips, row.seed), row.way):
            append(work.results, COLUMNS, [_rounded(row)])
            print(
                f"{row.network} {row.seed} {row.way}: {row.error:.2f} ({row.ratio:.4f}), rho {row.rho:.2f}", flush=True
            )


def _rounded(row: Row) -> dict[str, object]:
    return {name: f"{value:.5g}" if isinstance(value, float) else value for name, value in asdict(row).items()}


if __name__ == "__main__":
    sys.exit(main())
