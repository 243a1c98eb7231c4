"""Trains, tunes and judges all policies of the table on a machine with many cores, within so many minutes:

    python -m benchmarks.robots.farm --folder DIR --workers 16 --minutes 60 [--pack DIR] [--unpack DIR]
    python -m benchmarks.robots.farm --folder DIR --merge

Goes on from what DIR holds, in processes of one thread, the most telling policies first. Training leaves a checkpoint
every few seconds, and rows of results are written as they come (DIR/rows): being cut off loses little. `--pack` packs
all into a few archives once a minute, and `--unpack` begins with these. `--merge` puts the rows into results.csv, in
the place of what it has of these policies.
"""

from __future__ import annotations

import argparse
import csv
import os
import tarfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import time
from typing import NamedTuple

import torch

from benchmarks.accuracy.rows import append, known
from benchmarks.accuracy.summary import read
from benchmarks.robots.policies import is_trained, steps_of
from benchmarks.robots.run import COLUMNS, KEY, OTHERS, RESULTS, WAYS, Way, rows
from benchmarks.robots.tasks import TASKS
from benchmarks.robots.train import JOBS, LONGEST, Job, extended, train

PACKED = 60.0
"""Seconds between two packings."""
LAST = 15.0
"""Seconds that the last packing is given."""
WAYS_OF = {
    "judge": ("reduce 0.5, good", "reduce 0.707, good", "match, good"),
    "auto": ("auto, good",),
}
"""Conversions that are made first, and those that take as long as all others. `more` makes the rest."""


class Unit(NamedTuple):
    """What one process does at a time. kind: train, tune, longer, judge, more or auto."""

    kind: str
    job: Job


def units() -> list[Unit]:
    """All work, the most telling first; what is not ready yet waits."""
    first = [job for job in JOBS if job.is_first]
    later = [job for job in JOBS if not job.is_first]
    longest = sorted(first, key=lambda job: LONGEST.index(job.kind))
    return [
        *(Unit("train", job) for job in longest),
        *_after(first),
        *(Unit("train", job) for job in later),
        *_after(later),
        *(Unit("auto", job) for job in JOBS if job.seed == 0),
    ]


def _after(jobs: Sequence[Job]) -> list[Unit]:
    """What is done with trained policies."""
    tunable = [job for job in jobs if job.is_tunable]
    return [
        *(Unit(kind, job) for kind in ("tune", "longer") for job in tunable),
        *(Unit(kind, job) for kind in ("judge", "more") for job in jobs),
    ]


def is_trained_whole(job: Job, folder: Path) -> bool:
    """Whether a policy has had all of its steps."""
    return is_trained(job, folder) and steps_of(job, folder) >= job.steps


def is_ready(unit: Unit, folder: Path) -> bool:
    """Whether what it needs is there. Judging waits for what was trained on, where that is asked for."""
    job = unit.job
    if unit.kind == "train":
        return True
    if unit.kind == "judge" and job.is_tunable:
        later = job._replace(suffix="-longer", steps=extended(job))
        return is_trained_whole(later, folder) and is_trained(job._replace(suffix="-tuned"), folder)
    return is_trained_whole(job, folder)


def work(unit: Unit, folder: Path, until: float) -> str:
    """Do one unit; what happened, in a line."""
    torch.set_num_threads(1)
    begun, job = time(), unit.job
    try:
        DOING[unit.kind](job, folder, until)
    except Exception:  # one policy that fails must not end the others
        return f"{unit.kind} {job.name} failed:\n{traceback.format_exc()}"
    return f"{unit.kind} {job.name}: {time() - begun:.0f} s"


def _tune(job: Job, folder: Path, until: float) -> None:
    from benchmarks.robots.tune import tune, tuned

    if not is_trained(tuned(job), folder):
        tune(job, folder)


def _lengthen(job: Job, folder: Path, until: float) -> None:
    from benchmarks.robots.tune import lengthen

    lengthen(job, folder, until)


def _rows(kind: str, job: Job, folder: Path, until: float) -> None:
    """Some conversions of a policy; with the first of them what else is known of it."""
    path = folder / "rows" / f"{job.name}-{kind}.csv"
    path.parent.mkdir(exist_ok=True)
    done = set(known(path, KEY))
    if kind != "judge":
        done |= {(job.name, way, given) for way, given in OTHERS}
    for row in rows(job, folder, done, ways_of(kind, job)):
        append(path, COLUMNS, [row])
        if time() > until:
            return


def ways_of(kind: str, job: Job) -> list[Way]:
    """The conversions of a kind; of a network that is equivariant already there are none."""
    if job.way == "equivariant":
        return []
    taken = [name for names in WAYS_OF.values() for name in names]
    chosen: list[Way] = []
    for way in WAYS:
        name = f"{way.name}, {way.calibration}"
        if name not in taken if kind == "more" else name in WAYS_OF[kind]:
            chosen.append(way)
    return chosen


DOING: dict[str, Callable[[Job, Path, float], object]] = {
    "train": train,
    "tune": _tune,
    "longer": _lengthen,
    **{kind: partial(_rows, kind) for kind in ("judge", "more", "auto")},
}


def run(folder: Path, workers: int, until: float, pack: Path | None) -> None:
    """Do all units, and stop in time."""
    left, running, packed = units(), dict[Future[str], Unit](), time()
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    while (left or running) and time() < until:
        ready = (unit for unit in left if is_ready(unit, folder))
        for unit in _first(ready, workers - len(running)):
            left.remove(unit)
            running[pool.submit(work, unit, folder, until)] = unit
        if not running:
            break
        done, _ = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
        for future in done:
            running.pop(future)
            print(future.result(), flush=True)
        if pack and time() - packed > PACKED:
            _packed(folder, pack)
            packed = time()
    wait(running, timeout=max(0.0, until - time()))
    if pack:
        _packed(folder, pack)
    for process in pool._processes.values():
        process.terminate()
    os._exit(0)


def _first(found: Iterator[Unit], count: int) -> list[Unit]:
    return [unit for _, unit in zip(range(count), found, strict=False)]


def _packed(folder: Path, target: Path) -> None:
    """An archive for every robot and one for the rows; under names of their own first, so that there are whole ones."""
    for name in (*TASKS, "rows"):
        part = target / f"{name}.part"
        with tarfile.open(part, "w:gz", compresslevel=5) as archive:
            for path in sorted(folder.glob(f"{name}*")):
                archive.add(path, arcname=path.name)
        part.replace(target / f"{name}.tgz")


def merge(folder: Path, path: Path = RESULTS) -> None:
    """Put the rows of a folder into the results, in the place of those of these policies."""
    new = [row for part in sorted((folder / "rows").glob("*.csv")) for row in read(part)]
    names = {row["policy"] for row in new}
    kept = [row for row in read(path) if row["policy"] not in names]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*kept, *new])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--pack", type=Path)
    parser.add_argument("--unpack", type=Path)
    parser.add_argument("--merge", action="store_true")
    arguments = parser.parse_args()
    until = time() + 60 * arguments.minutes - LAST
    for each in (arguments.folder, arguments.pack):
        if each:
            each.mkdir(parents=True, exist_ok=True)
    if arguments.merge:
        merge(arguments.folder)
        return 0
    for path in sorted(arguments.unpack.glob("*.tgz")) if arguments.unpack else ():
        with tarfile.open(path) as archive:
            archive.extractall(arguments.folder, filter="data")
    run(arguments.folder, arguments.workers, until, arguments.pack)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
