"""python -m examples.lifting: see README.md in this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from chiralize.errors import ChiralizeError
from examples.lifting.actions import action_table, action_tables, draw_limited, fill_actions
from examples.lifting.checkpoint import compare, load_lifter
from examples.lifting.networks import WIDTHS
from examples.lifting.study import OwnFiles, tasks
from examples.study.command import Out, show, study
from examples.study.page import Table
from examples.study.results import read
from examples.study.run import merge, run, units
from examples.study.ways import WAYS

SUMMARY = "2D to 3D pose lifting: ordinary networks, averaged over both views, converted, and chiral from scratch."
FOLDER = Path(__file__).parent
app = study(tasks, SUMMARY, FOLDER)
console = Console()

Set = Annotated[Literal["h36m", "humaneva"], typer.Argument(help="Which of the published data sets.")]
Data3d = Annotated[Path, typer.Option("--data-3d", help="data_3d_h36m.npz or data_3d_humaneva15.npz.")]
Data2d = Annotated[Path | None, typer.Option("--data-2d", help="data_2d_*.npz; h36m: the projections if left out.")]
Frames = Annotated[int, typer.Option(help=f"Seen for one answer: {', '.join(map(str, WIDTHS))}.")]
Channels = Annotated[int, typer.Option(help="Width of the network.")]


def _checked(frames: int) -> None:
    if frames not in WIDTHS:
        raise typer.BadParameter(f"{frames}: there are {', '.join(map(str, WIDTHS))}", param_hint="--frames")


def _own_files(dataset: str, title: str) -> None:
    """Adds a command that runs the study on published files."""

    @app.command(dataset, help=f"The study on your own files of {title}.")
    def own(
        data_3d: Data3d,
        data_2d: Data2d = None,
        frames: Frames = 243,
        channels: Channels = 256,
        epochs: Annotated[float, typer.Option(help="Passes over the training frames.")] = 5.0,
        batch: Annotated[int, typer.Option(min=2, help="Windows in a batch.")] = 128,
        fraction: Annotated[float, typer.Option(min=0.0, max=1.0, help="Of the training frames.")] = 1.0,
        out: Out = Path("study"),
        seeds: Annotated[int, typer.Option(min=1, help="How many: 0, 1, ...")] = 1,
        ways: Annotated[list[str] | None, typer.Option("--way", help="Only this one; may be repeated.")] = None,
        workers: Annotated[int, typer.Option(min=1, help="Processes, one thread each.")] = 1,
        smoke: Annotated[bool, typer.Option(help="A tiny network, few steps: see that all runs.")] = False,
    ) -> None:
        _checked(frames)
        factory = OwnFiles(dataset, data_3d, data_2d, frames, channels, epochs, batch, fraction)
        try:
            factory.load()
            todo = units(factory, out / dataset, range(seeds), ways or list(WAYS), [], smoke)
        except (ChiralizeError, ValueError) as error:
            raise typer.BadParameter(str(error)) from error
        problems = run(todo, workers, console)
        rows = merge(out / dataset)
        show(rows, out / dataset, console)
        for table in action_tables(rows):
            _print(table)
        for problem in problems:
            console.print(problem, style="red", highlight=False)
        raise typer.Exit(1 if problems else 0)


_own_files("h36m", "Human3.6M")
_own_files("humaneva", "HumanEva-I")


@app.command("evaluate", help="A trained network (VideoPose3D's checkpoints, too) alone, with TTA, and chiralized.")
def evaluate(
    dataset: Set,
    checkpoint: Annotated[Path, typer.Argument(help="File of the weights.")],
    data_3d: Data3d,
    data_2d: Data2d = None,
    key: Annotated[str | None, typer.Option(help="Entry of the checkpoint, for example model_pos.")] = None,
    frames: Frames = 243,
    channels: Channels = 1024,
    widths: Annotated[list[float] | None, typer.Option("--width", help="Of a conversion; may be repeated.")] = None,
) -> None:
    _checked(frames)
    try:
        data = OwnFiles(dataset, data_3d, data_2d, frames, channels, 0, 0).load()
        network = load_lifter(checkpoint, data, frames, channels, key)
        found = list(compare(network, data, tuple(widths or (0.5, 0.707))))
    except ChiralizeError as error:
        raise typer.BadParameter(str(error)) from error
    heads = ("", *found[0][1])
    _print(Table("all frames", (heads, *((name, *(f"{v:.1f}" for v in own.values())) for name, own, _ in found))))
    _print(action_table("MPJPE by action, mm", {name: errors for name, _, errors in found}))


@app.command("actions", help="The table of actions and the figure of limited data, into the example's README.")
def actions(out: Out = Path("study")) -> None:
    rows = merge(out) if (out / "parts").is_dir() else read(FOLDER / "results.csv")
    fill_actions(FOLDER / "README.md", rows)
    path = draw_limited(rows, FOLDER / "figures")
    if path is not None:
        console.print(f"wrote {path.name}", highlight=False)


def _print(table: Table) -> None:
    console.print(table.title, style="bold", highlight=False)
    console.print(table.as_rich())


if __name__ == "__main__":
    app()
