"""Trains, converts and compares everything that the pages of the examples report.

Two processes need about half an hour a seed. What is done is kept, so that it can be stopped and started again.
"""

from __future__ import annotations

import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from examples.reproduce.summary import summary
from examples.study.command import Seeds, Smoke, Workers, console, leave, planned, show
from examples.study.example import Example
from examples.study.page import between
from examples.study.results import read
from examples.study.run import Unit, merge, run, units

ROOT = Path(__file__).parents[2]
NAMES = ("lifting", "forecasting", "recognition", "policy")


def main(
    out: Annotated[Path, typer.Option(help="Folder of networks, rows and pictures.")] = Path("study"),
    only: Annotated[list[str] | None, typer.Option(help="Only this example; may be repeated.")] = None,
    seeds: Seeds = 3,
    workers: Workers = 2,
    smoke: Smoke = False,
    pages: Annotated[bool, typer.Option(help="Write tables, pictures and results.csv of the examples' pages.")] = False,
) -> None:
    """Train, convert and compare what the pages of the examples report; continues where it was stopped.

    Needs the extra `policy` for the policy; without the simulator the rest is run.
    """
    unknown = set(only or ()) - set(NAMES)
    if unknown:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(NAMES)}", param_hint="--only")
    start, out = time.monotonic(), out / "smoke" if smoke else out
    chosen = [name for name in NAMES if not only or name in only]
    if "policy" in chosen and find_spec("gymnasium") is None:
        if only:
            raise typer.BadParameter(
                "the policy needs a simulator: pip install 'gymnasium[mujoco]'", param_hint="--only"
            )
        console.print("policy: left out, as gymnasium is not installed", style="yellow")
        chosen.remove("policy")
    examples: list[Example] = [import_module(f"examples.{name}.example").EXAMPLE for name in chosen]
    problems = run(planned(lambda: _seed_by_seed(examples, out, 1 if smoke else seeds, smoke)), workers, console)
    for example in examples:
        rows = merge(out / example.name)
        show(example, rows, out / example.name)
        if pages:
            example.publish(rows)
    if pages:
        write_front_page()
    console.print(f"{(time.monotonic() - start) / 60:.0f} minutes", highlight=False)
    leave(problems)


def write_front_page() -> None:
    """The examples' table in the README of the project, from the results that the examples' pages have."""
    rows = [row for name in NAMES for row in read(ROOT / "examples" / name / "results.csv")]
    page = ROOT / "docs" / "results.md"
    page.write_text(between(page.read_text(encoding="utf-8"), "examples", summary(rows)), encoding="utf-8")


def _seed_by_seed(examples: list[Example], out: Path, seeds: int, smoke: bool) -> list[Unit]:
    """All networks of all examples with the first seed, then with the next: a stopped run has whole seeds.

    The small networks of lifting come last, so that no process waits long for the other at the end.
    """
    return [
        unit
        for seed in range(seeds)
        for example in reversed(examples)
        for unit in units(example.factory, out / example.name, [seed], None, (), smoke)
    ]


if __name__ == "__main__":
    typer.run(main)
