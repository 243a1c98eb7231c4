"""Forecasting, from the data to the table:

CHIRALIZE_DATA=FOLDER python -m examples.forecasting --out study
python -m examples.forecasting penn --labels Penn_Action/labels --out study-penn
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from chiralize.errors import ChiralizeError
from examples.forecasting.factories import BATCH, UPDATES, WIDTH, motion_capture, penn_action
from examples.forecasting.networks import JOINTS, PAPER_WIDTH
from examples.forecasting.table import STEP_MARKS, fill_steps, steps_table
from examples.forecasting.task import PAPER_BATCH
from examples.study.command import Out, show, study
from examples.study.results import read
from examples.study.run import Factory, merge, run, units
from examples.study.ways import WAYS

FOLDER = Path(__file__).parent
Seeds = Annotated[int, typer.Option(min=1, help="How many: 0, 1, ...")]
Ways = Annotated[list[str] | None, typer.Option("--way", help="Only this one; may be repeated.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes, one thread each.")]
Smoke = Annotated[bool, typer.Option(help="A tiny network, few steps: see in seconds that all runs.")]
Width = Annotated[int, typer.Option(min=JOINTS, help="Hidden units: an even multiple of 13.")]
Updates = Annotated[int | None, typer.Option(min=2, help="Training steps.", show_default="30 epochs")]
Batch = Annotated[int, typer.Option(min=1)]


app = study(
    motion_capture,
    "Forecast 16 frames of 2D poses with two stacked LSTMs on either side; compare the ways to a symmetric network. "
    "CHIRALIZE_DATA names the folder with the motion capture.",
    FOLDER,
)


@app.command("mocap", help="The same study at another size.")
def mocap_command(
    width: Width = WIDTH,
    updates: Updates = UPDATES,
    batch: Batch = BATCH,
    out: Out = Path("study"),
    seeds: Seeds = 3,
    ways: Ways = None,
    workers: Workers = 2,
    smoke: Smoke = False,
) -> None:
    _go(partial(motion_capture, width=width, updates=updates, batch=batch), out, seeds, ways, workers, smoke)


@app.command("penn", help="The study on Penn Action's published label files, or on yours in the same form.")
def penn_command(
    labels: Annotated[Path, typer.Option(help="Folder with 0001.mat, 0002.mat, ...")],
    width: Width = PAPER_WIDTH,
    updates: Updates = None,
    batch: Batch = PAPER_BATCH,
    out: Out = Path("study-penn"),
    seeds: Seeds = 3,
    ways: Ways = None,
    workers: Workers = 2,
    smoke: Smoke = False,
) -> None:
    _go(
        partial(penn_action, labels=labels, width=width, updates=updates, batch=batch), out, seeds, ways, workers, smoke
    )


@app.command("steps", help="PCK@0.05 step by step, as the paper's Table 3: print it, and write it into a page.")
def steps_command(
    results: Annotated[Path, typer.Option(help="The rows of a study.")] = FOLDER / "results.csv",
    write: Annotated[Path | None, typer.Option(help=f"A page with {STEP_MARKS[0]} ... {STEP_MARKS[1]}.")] = None,
) -> None:
    rows = read(results)
    if not rows:
        raise typer.BadParameter(f"{results}: there are no rows", param_hint="--results")
    for name in dict.fromkeys(row.network for row in rows):
        Console().print(steps_table(rows, name).as_rich())
    if write is not None:
        fill_steps(write, rows)


def _go(factory: Factory, out: Path, seeds: int, ways: Sequence[str] | None, workers: int, smoke: bool) -> None:
    unknown = set(ways or ()) - set(WAYS)
    if unknown:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(WAYS)}", param_hint="--way")
    console = Console()
    out = out / "smoke" if smoke else out
    try:
        todo = units(factory, out, range(1 if smoke else seeds), ways or list(WAYS), [], smoke)
    except (FileNotFoundError, ValueError, ChiralizeError) as error:
        raise typer.BadParameter(str(error)) from error
    problems = run(todo, workers, console)
    rows = merge(out)
    show(rows, out, console)
    for name in dict.fromkeys(row.network for row in rows):
        console.print(steps_table(rows, name).as_rich())
    for problem in problems:
        console.print(problem, style="red", highlight=False)
    raise typer.Exit(1 if problems else 0)


if __name__ == "__main__":
    app()
