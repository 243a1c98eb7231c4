"""Runs the ways of a study, in several processes, and keeps what is found as it comes."""

from __future__ import annotations

import math
import multiprocessing
import os
import queue
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from chiralize.errors import ChiralizeError
from examples.study.measuring import latencies, measure
from examples.study.results import Row, read, write
from examples.study.task import Task
from examples.study.ways import STOOD_FOR, USUAL, WAYS, Workshop, slug

Factory = Callable[[bool], Sequence[Task]]
"""The tasks of an example; True: tiny networks, few samples and steps, to see that everything runs."""
SMOKE_SAMPLES = 96
"""Unlabelled inputs for a conversion."""
ROUNDS, SMOKE_ROUNDS = 5, 2


@dataclass(frozen=True)
class Unit:
    """One network with one seed: what a process does in one go. out: folder of its rows and networks."""

    factory: Factory
    task: str
    seed: int
    ways: tuple[str, ...]
    out: Path
    smoke: bool

    @property
    def part(self) -> Path:
        return self.out / "parts" / f"{slug(self.task)}-{self.seed}.csv"


def units(
    factory: Factory, out: Path, seeds: Iterable[int], ways: Sequence[str] | None, names: Sequence[str], smoke: bool
) -> list[Unit]:
    """Seed by seed. ways, names: those of interest, all if empty; of a smoke run those that others do not stand for.

    Raises ValueError for a name that no network has.
    """
    known = {task.name: USUAL if task.ways is None else tuple(task.ways) for task in factory(smoke)}
    unknown = set(names) - set(known)
    if unknown:
        raise ValueError(f"no network is called {', '.join(sorted(unknown))}; there are: {'; '.join(known)}")
    ways = ways or tuple(way for way in WAYS if not (smoke and way in STOOD_FOR))
    wanted = [name for name in known if not names or name in names]
    return [
        Unit(factory, name, seed, tuple(way for way in WAYS if way in ways and way in known[name]), out, smoke)
        for seed in seeds
        for name in wanted
    ]


def run(todo: Sequence[Unit], workers: int, console: Console) -> list[str]:
    """Do the units and merge their rows into `results.csv` of their folders. Returns what went wrong, a line each."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress, multiprocessing.Manager() as manager:
        heard: Any = manager.Queue()
        overall = progress.add_task("networks", total=len(todo))
        bars: dict[str, TaskID] = {}
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            pending = {pool.submit(_work, unit, heard): unit for unit in todo}
            problems: list[str] = []
            while pending:
                _show(heard, progress, bars)
                for future in [own for own in pending if own.done()]:
                    problems += _ended(future, pending.pop(future))
                    progress.advance(overall)
    return problems


def do(unit: Unit, say: Callable[[str, float], None] = lambda text, share: None) -> None:
    """Make and measure what the unit's file does not have yet; every way is written as soon as it is done."""
    (task,) = (own for own in unit.factory(unit.smoke) if own.name == unit.task)
    rows = read(unit.part)
    samples, rounds = (SMOKE_SAMPLES, 0) if unit.smoke else (task.samples, None)
    workshop = Workshop(task, unit.seed, unit.out / "networks", samples, rounds)
    for way in unit.ways:
        if any(row.way == way for row in rows):
            continue
        workshop.advance = partial(say, f"{unit.task}, seed {unit.seed}: {way}")
        workshop.advance(0.0)
        try:
            found = measure(task, workshop.make(way))
        except ChiralizeError as error:
            say(f"{unit.task}, seed {unit.seed}: {way} refused: {error.code} {error.facts}", math.nan)
            found = {"refused": int(error.code.removeprefix("CH"))}
        rows += [Row(unit.task, way, unit.seed, figure, value) for figure, value in found.items()]
        write(unit.part, rows)
    refused = {row.way for row in rows if row.figure == "refused"}
    timed = {row.way for row in rows if row.figure == "latency_1"}
    if set(unit.ways) <= refused | timed:
        return
    say(f"{unit.task}, seed {unit.seed}: timing", 0.0)
    made = {way: workshop.make(way) for way in unit.ways if way not in refused}
    times = latencies(task, made, SMOKE_ROUNDS if unit.smoke else ROUNDS)
    write(unit.part, rows + [Row(unit.task, way, unit.seed, figure, value) for way, figure, value in times])


def merge(out: Path) -> list[Row]:
    """All parts of a folder into its `results.csv`; rows of networks that were run elsewhere stay."""
    rows = read(out / "results.csv")
    for part in sorted((out / "parts").glob("*.csv")):
        rows += read(part)
    write(out / "results.csv", rows)
    return read(out / "results.csv")


def _work(unit: Unit, heard: Any) -> None:
    """In a process of its own, on one thread."""
    torch.set_num_threads(1)
    said: dict[str, float] = {}

    def say(text: str, share: float) -> None:
        """Not oftener than twice a second about the same."""
        if math.isnan(share) or time.monotonic() - said.get(text, -1.0) > 0.5:
            said[text] = time.monotonic()
            heard.put((f"{os.getpid()}", text, share))

    do(unit, say)


def _show(heard: Any, progress: Progress, bars: dict[str, TaskID]) -> None:
    """What the processes said since the last time; waits for a moment."""
    try:
        while True:
            process, text, share = heard.get(timeout=0.2)
            if math.isnan(share):
                progress.console.print(text, highlight=False)
                continue
            if process not in bars:
                bars[process] = progress.add_task(text, total=1.0)
            progress.update(bars[process], description=text, completed=share)
    except queue.Empty:
        return


def _ended(future: Future[None], unit: Unit) -> list[str]:
    merge(unit.out)
    problem = future.exception()
    return [] if problem is None else [f"{unit.task}, seed {unit.seed}: {type(problem).__name__}: {problem}"]
