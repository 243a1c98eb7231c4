"""python -m examples.lifting: see README.md in this folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from chiralize.errors import ChiralizeError
from chiralize.storage.load import load_model
from chiralize.storage.pretrained.evaluation import data_folder
from examples.lifting import strips
from examples.lifting.actions import action_table
from examples.lifting.checkpoint import compare, load_lifter
from examples.lifting.example import EXAMPLE
from examples.lifting.mocap import load_mocap
from examples.lifting.networks import WIDTHS
from examples.lifting.published import H36M_TEST
from examples.lifting.study import OwnFiles
from examples.lifting.subjects import errors_by_subject, subject_table
from examples.study.command import Out, Seeds, Smoke, Ways, Workers, carry_out, console, show_table, study
from examples.study.page import Table

SUMMARY = "2D to 3D pose lifting: ordinary networks, averaged over both views, converted, and chiral from scratch."
app = study(EXAMPLE, SUMMARY)

Set = Annotated[Literal["h36m", "humaneva"], typer.Argument(help="Which of the published data sets.")]
Data3d = Annotated[Path, typer.Option("--data-3d", help="data_3d_h36m.npz or data_3d_humaneva15.npz.")]
Data2d = Annotated[Path | None, typer.Option("--data-2d", help="data_2d_*.npz; h36m: the projections if left out.")]
Frames = Annotated[int, typer.Option(help=f"Seen for one answer: {', '.join(map(str, WIDTHS))}.")]
Channels = Annotated[int, typer.Option(help="Width of the network.")]


def _checked(frames: int) -> None:
    if frames not in WIDTHS:
        raise typer.BadParameter(f"{frames}: there are {', '.join(map(str, WIDTHS))}", param_hint="--frames")


def _groups(subjects: Sequence[str], dataset: str) -> tuple[tuple[str, ...], ...]:
    """Groups of subjects as they are written. Raises BadParameter where the data set has one split only."""
    if subjects and dataset != "h36m":
        facts = f"{dataset} is learnt from parts of the same subjects that it is judged on"
        raise typer.BadParameter(facts, param_hint="--subjects")
    groups = [tuple(name.strip() for name in group.split(",") if name.strip()) for group in subjects]
    for written, group in zip(subjects, groups, strict=True):
        tested = [name for name in group if name in H36M_TEST]
        if tested or not group:
            facts = f"{', '.join(tested)} are judged on" if tested else f"{written!r} names nobody"
            raise typer.BadParameter(facts, param_hint="--subjects")
    return tuple(groups)


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
        fractions: Annotated[
            list[float] | None,
            typer.Option("--fraction", min=0.0, max=1.0, help="Of the training frames; may be repeated."),
        ] = None,
        subjects: Annotated[
            list[str] | None,
            typer.Option(metavar="S1,S5", help="To learn from, of h36m; may be repeated, a network for each group."),
        ] = None,
        out: Out = Path("study"),
        seeds: Seeds = 1,
        ways: Ways = None,
        workers: Workers = 1,
        smoke: Smoke = False,
    ) -> None:
        _checked(frames)
        groups = _groups(subjects or [], dataset)
        factory = OwnFiles(
            dataset, data_3d, data_2d, frames, channels, epochs, batch, tuple(fractions or (1.0,)), groups or ((),)
        )
        try:
            for group in factory.subjects:
                factory.load(group)
        except ChiralizeError as error:
            raise typer.BadParameter(str(error)) from error
        carry_out(EXAMPLE, out / dataset, seeds, ways, workers, smoke, factory=factory)


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
    show_table(Table("all frames", (heads, *((name, *(f"{v:.1f}" for v in own.values())) for name, own, _ in found))))
    show_table(action_table("MPJPE by action, mm", {name: errors for name, _, errors in found}))


@app.command(
    "strips", help="A motion as the shipped lifter and conversions of it see it: a strip of drawings, and a film."
)
def draw_strips(
    converted: Annotated[list[Path] | None, typer.Argument(help="What `chiralize demo` wrote; may be several.")] = None,
    out: Out = Path("study"),
    frames: Annotated[int, typer.Option(min=2, help="Of the motion, 50 a second.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the motion, which is drawn from the shipped model.")] = 3,
) -> None:
    networks = {"shipped": strips.shipped()}
    try:
        networks |= {path.stem: load_model(path).module for path in converted or ()}
    except ChiralizeError as error:
        raise typer.BadParameter(str(error)) from error
    inputs, poses = strips.motion(frames, seed)
    rows = strips.answers(networks, inputs, poses)
    out.mkdir(parents=True, exist_ok=True)
    strips.strip(rows, out / "strip.svg")
    strips.animate(rows, out / "strip.gif")
    for name, apart in strips.differences(rows).items():
        console.print(f"{name}: f(x) and T f(T x) are {apart:.3g} mm apart", highlight=False)
    console.print(f"wrote {out / 'strip.svg'} and {out / 'strip.gif'}", highlight=False)


@app.command("by-subject", help="Errors by subject and action, of the shipped lifter and of conversions of it.")
def by_subject(
    converted: Annotated[list[Path] | None, typer.Argument(help="What `chiralize demo` wrote; may be several.")] = None,
    every: Annotated[int, typer.Option(min=1, help="How manieth frame of the test subjects is asked about.")] = 3,
) -> None:
    networks = {"shipped": strips.shipped()}
    try:
        networks |= {path.stem: load_model(path).module for path in converted or ()}
        data = load_mocap(data_folder(), with_training=False)
    except (ChiralizeError, FileNotFoundError) as error:
        raise typer.BadParameter(str(error)) from error
    show_table(subject_table(errors_by_subject(networks, "shipped", data, every)))


if __name__ == "__main__":
    app()
