"""Trains, converts and compares everything that the pages of the examples report.

Two processes need an hour and a half. What is done is kept, so that it can be stopped and started again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from examples.study.command import show
from examples.study.page import fill
from examples.study.plots import draw
from examples.study.run import Unit, merge, run, units
from examples.study.ways import WAYS

EXAMPLES = ("lifting", "forecasting", "recognition")
FOLDER = Path(__file__).parents[1]


def main(
    out: Annotated[Path, typer.Option(help="Folder of networks, rows and pictures.")] = Path("study"),
    only: Annotated[list[str] | None, typer.Option(help="Only this example; may be repeated.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many: 0, 1, ...")] = 3,
    workers: Annotated[int, typer.Option(min=1, help="Processes, one thread each.")] = 2,
    smoke: Annotated[bool, typer.Option(help="Tiny networks, few steps: see that all runs.")] = False,
    pages: Annotated[bool, typer.Option(help="Write the tables and pictures of the examples' pages.")] = False,
) -> None:
    """Train, convert and compare what the pages of the examples report; continues where it was stopped."""
    unknown = set(only or ()) - set(EXAMPLES)
    if unknown:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(EXAMPLES)}", param_hint="--only")
    console, start = Console(), time.monotonic()
    out = out / "smoke" if smoke else out
    chosen = [name for name in EXAMPLES if not only or name in only]
    try:
        problems = run(_seed_by_seed(chosen, out, 1 if smoke else seeds, smoke), workers, console)
    except FileNotFoundError as error:
        raise typer.BadParameter(str(error)) from error
    for name in chosen:
        rows = merge(out / name)
        show(rows, out / name, console)
        if pages:
            fill(FOLDER / name, rows)
            draw(rows, FOLDER / name / "figures")
    for problem in problems:
        console.print(problem, style="red", highlight=False)
    console.print(f"{(time.monotonic() - start) / 60:.0f} minutes", highlight=False)
    raise typer.Exit(1 if problems else 0)


def _seed_by_seed(names: list[str], out: Path, seeds: int, smoke: bool) -> list[Unit]:
    """All networks of all examples with the first seed, then with the next: a stopped run has whole seeds."""
    factories: dict[str, Callable] = {name: import_module(f"examples.{name}.tasks").tasks for name in names}
    return [
        unit
        for seed in range(seeds)
        for name, factory in factories.items()
        for unit in units(factory, out / name, [seed], list(WAYS), [], smoke)
    ]


if __name__ == "__main__":
    typer.run(main)
