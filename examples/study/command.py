"""The command line that the examples share: run the study, and write its tables and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from examples.study.page import fill, tables
from examples.study.plots import draw
from examples.study.results import Row, read
from examples.study.run import Factory, merge, run, units
from examples.study.ways import WAYS

Out = Annotated[Path, typer.Option(help="Folder of the trained networks, the rows and the pictures.")]


def study(factory: Factory, summary: str, folder: Path) -> typer.Typer:
    """`python -m examples.NAME`, with the study as what it does when no other command is given.

    factory: a function that other processes can import.  folder: of the example, with README.md and results.csv.
    """
    app = typer.Typer(add_completion=False, no_args_is_help=False, help=summary, rich_markup_mode="markdown")
    console = Console()

    @app.callback(invoke_without_command=True, help=summary)
    def main(
        context: typer.Context,
        out: Out = Path("study"),
        seeds: Annotated[int, typer.Option(min=1, help="How many: 0, 1, ...")] = 3,
        networks: Annotated[list[str] | None, typer.Option("--network", help="Only this one; may be repeated.")] = None,
        ways: Annotated[list[str] | None, typer.Option("--way", help="Only this one; may be repeated.")] = None,
        workers: Annotated[int, typer.Option(min=1, help="Processes, one thread each.")] = 2,
        smoke: Annotated[bool, typer.Option(help="Tiny networks, few steps: see in seconds that all runs.")] = False,
    ) -> None:
        if context.invoked_subcommand is not None:
            return
        unknown = set(ways or ()) - set(WAYS)
        if unknown:
            raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(WAYS)}", param_hint="--way")
        out = out / "smoke" if smoke else out
        try:
            todo = units(factory, out, range(1 if smoke else seeds), ways or list(WAYS), networks or [], smoke)
        except (FileNotFoundError, ValueError) as error:
            raise typer.BadParameter(str(error)) from error
        problems = run(todo, workers, console)
        show(merge(out), out, console)
        for problem in problems:
            console.print(problem, style="red", highlight=False)
        raise typer.Exit(1 if problems else 0)

    @app.command("page", help="Copy the results of a run into the example, and make its README's tables and pictures.")
    def page(out: Out = Path("study")) -> None:
        rows = merge(out) if (out / "parts").is_dir() else read(folder / "results.csv")
        fill(folder, rows)
        for path in draw(rows, folder / "figures"):
            console.print(f"wrote {path.name}", highlight=False)

    return app


def show(rows: list[Row], out: Path, console: Console) -> None:
    """The tables on the terminal, the pictures beside the rows."""
    for table in tables(rows):
        console.print(table.title, style="bold", highlight=False)
        console.print(table.as_rich())
    for path in draw(rows, out / "figures"):
        console.print(f"wrote {path}", highlight=False)
