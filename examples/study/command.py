"""The command line that the examples share: run a study, and write its tables and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from chiralize.errors import ChiralizeError
from examples.study.example import Example
from examples.study.page import Table
from examples.study.results import Row, read
from examples.study.run import Factory, Unit, merge, run, units
from examples.study.ways import WAYS

Out = Annotated[Path, typer.Option(help="Folder of the trained networks, the rows and the pictures.")]
Seeds = Annotated[int, typer.Option(min=1, help="How many: 0, 1, ...")]
Ways = Annotated[list[str] | None, typer.Option("--way", help="Only this one; may be repeated.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes, one thread each.")]
Smoke = Annotated[bool, typer.Option(help="Tiny networks, few steps: see in seconds that all runs.")]
console = Console()


def study(example: Example, summary: str) -> typer.Typer:
    """`python -m examples.NAME`, with the study as what it does when no other command is given."""
    app = typer.Typer(add_completion=False, help=summary, rich_markup_mode="markdown")

    @app.callback(invoke_without_command=True, help=summary)
    def main(
        context: typer.Context,
        out: Out = Path("study"),
        seeds: Seeds = 3,
        networks: Annotated[list[str] | None, typer.Option("--network", help="Only this one; may be repeated.")] = None,
        ways: Ways = None,
        workers: Workers = 2,
        smoke: Smoke = False,
    ) -> None:
        if context.invoked_subcommand is None:
            carry_out(example, out, seeds, ways, workers, smoke, networks or ())

    @app.command("page", help="Make the tables, pictures and results.csv of this example's page from a run.")
    def page(out: Out = Path("study")) -> None:
        rows = merge(out) if (out / "parts").is_dir() else read(example.folder / "results.csv")
        for path in example.publish(rows):
            console.print(f"wrote {path.name}", highlight=False)

    return app


def carry_out(
    example: Example,
    out: Path,
    seeds: int,
    ways: Sequence[str] | None,
    workers: int,
    smoke: bool,
    networks: Sequence[str] = (),
    factory: Factory | None = None,
) -> None:
    """Run a study, show it, and leave: with 1 where something failed, with 2 where it could not begin.

    factory: makes other tasks than the example's own.
    """
    unknown = set(ways or ()) - set(WAYS)
    if unknown:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(WAYS)}", param_hint="--way")
    example, out = replace(example, factory=factory or example.factory), out / "smoke" if smoke else out
    todo = planned(lambda: units(example.factory, out, range(1 if smoke else seeds), ways, networks, smoke))
    problems = run(todo, workers, console)
    show(example, merge(out), out)
    leave(problems)


def planned(plan: Callable[[], list[Unit]]) -> list[Unit]:
    """What is to be done; leaves with 2 and the reason where the user's files or words cannot be used."""
    try:
        return plan()
    except (ChiralizeError, FileNotFoundError, ValueError) as error:
        Console(stderr=True).print(str(error), highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(2) from error


def show(example: Example, rows: Sequence[Row], out: Path) -> None:
    """The tables on the terminal, the pictures beside the rows."""
    for own in example.all_tables(rows).values():
        for table in own:
            show_table(table)
    for path in example.draw(rows, out / "figures"):
        console.print(f"wrote {path}", highlight=False)


def show_table(table: Table) -> None:
    """On the terminal, as far as it is wide."""
    console.print(table.title, style="bold", highlight=False)
    console.print(table.as_rich(console.width))


def leave(problems: Sequence[str]) -> None:
    """With 1 and what went wrong, or with 0."""
    for problem in problems:
        console.print(problem, style="red", highlight=False)
    raise typer.Exit(1 if problems else 0)
