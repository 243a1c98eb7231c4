"""Makes the conversions of the results file again, and writes down what is said of them now; nothing walks again:

    python -m benchmarks.robots.judge --folder DIR [--cache DIR/imitators] [--only NAME ...] [--leave auto ...]

DIR is that of `benchmarks.robots.train`, the cache that of `benchmarks.robots.imitators`. Only the columns `rho`,
`outcome` and `verdict` change. A conversion is taken for the one that walked where its rho is the one of the file.
`--leave` names ways that stay as they are: `auto` of a recurrent policy takes ten minutes.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Mapping
from functools import cache, partial
from math import isclose
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from benchmarks.accuracy.summary import read
from benchmarks.closed_loop import policies
from benchmarks.closed_loop.run import _trained
from benchmarks.robots import imitators
from benchmarks.robots.conversions import Converted, converted
from benchmarks.robots.policies import example, is_trained, trained
from benchmarks.robots.run import COLUMNS, RESULTS, WAYS, calibration
from benchmarks.robots.tasks import TASKS, Task
from benchmarks.robots.train import JOBS
from chiralize.body.tensors import parse_spec

CLOSE = 0.05
"""How far a rho may be from that of the file, as a share: threads and versions round differently."""
Convert = Callable[[str, str], Converted]
"""A way and a kind of calibration to the result."""


def of_robot(policy: nn.Module, task: Task, way: str, kind: str) -> Converted:
    """A conversion of `benchmarks.robots.run`."""
    options = {(each.name, each.calibration): each.options for each in WAYS}[way, kind]
    return converted(policy, parse_spec(task.spec), example(task), _seen(policy, task.name, kind), options)


@cache
def _seen(policy: nn.Module, robot: str, kind: str) -> Tensor | None:
    return calibration(policy, TASKS[robot], kind)


def of_imitator(policy: nn.Module, seed: int, way: str, kind: str) -> Converted:
    """A conversion of `benchmarks.robots.imitators`."""
    options = {(name, given): each for name, given, each in imitators.WAYS}[way, kind]
    sequences = policies.calibration(seed)
    inputs: dict[str, Any] = {"good": sequences, "narrow": sequences[:1, :25], "none": None}
    return converted(policy, policies.spec(), (torch.zeros(1, len(policies.SEEN)),), inputs[kind], options)


def converters(folder: Path, cache_folder: Path) -> Mapping[str, Callable[[], Convert]]:
    """What makes the conversions of a policy, by its name; the policy is loaded when it is asked for."""
    found: dict[str, Callable[[], Convert]] = {}
    for job in JOBS:
        if is_trained(job, folder):
            found[job.name] = cache(lambda job=job: partial(of_robot, trained(job, folder), job.task))
    for network in imitators.NETWORKS:
        way = "mirrored" if network.flips else "plain"
        name = f"imitation-{network.cell}-{way}-{network.seed}"
        make = partial(_trained, network, cache_folder)
        found[name] = cache(lambda make=make, seed=network.seed: partial(_imitator, make(), seed))
    return found


def _imitator(policy: nn.Module, seed: int, way: str, kind: str) -> Any:
    return of_imitator(policy, seed, way, kind)


def judged(row: Mapping[str, str], convert: Convert) -> dict[str, str]:
    """The row with what is said of its conversion now."""
    result = convert(row["way"], row["calibration"])
    if result.network is None:
        return {**row, "outcome": result.outcome, "verdict": result.said}
    rho = float(result.rho or 0.0)
    before = float(row["rho"] or 0.0)
    if not isclose(rho, before, rel_tol=CLOSE, abs_tol=1e-3):
        return {**row, "verdict": f"another conversion than the one that walked: rho {rho:.4f}; {row['verdict']}"}
    return {**row, "outcome": result.outcome, "verdict": result.said}


def main() -> int:
    """Judge every row that has an outcome, and write the file whole."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--csv", type=Path, default=RESULTS)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="policies whose names begin so")
    parser.add_argument("--leave", nargs="*", default=[], metavar="WAY")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    known = converters(arguments.folder, arguments.cache or arguments.folder / "imitators")
    console = Console(stderr=True)
    rows: list[dict[str, str]] = []
    for row in read(arguments.csv):
        is_wanted = not arguments.only or row["policy"].startswith(tuple(arguments.only))
        if row["outcome"] and is_wanted and row["way"] not in arguments.leave and row["policy"] in known:
            after = judged(row, known[row["policy"]]())
            console.print(row["policy"], row["way"], row["calibration"], row["outcome"], "->", after["outcome"])
            console.print(after["verdict"][:200], style="dim")
            row = after
        rows.append(dict(row))
    with arguments.csv.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
