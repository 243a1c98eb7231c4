"""python -m examples.recognition: the study; with `kinetics` or `ntu`: the same networks on the user's own files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from examples.recognition.clips import Effort
from examples.recognition.example import EXAMPLE
from examples.recognition.kinetics import kinetics_tasks
from examples.recognition.networks import Sizes
from examples.recognition.ntu import ntu_tasks
from examples.study.command import Out, Seeds, Smoke, Ways, Workers, carry_out, study

app = study(EXAMPLE, "Recognises actions of skeletons: plain, converted and chiral networks.")

Data = Annotated[Path, typer.Option(help="Folder of the published files.")]
Frames = Annotated[int, typer.Option(min=1, help="Length of the windows that are read from the clips.")]
Epochs = Annotated[int, typer.Option(min=1)]
Batch = Annotated[int, typer.Option(min=1)]
Rate = Annotated[float, typer.Option(help="Learning rate, falls along a cosine.")]
Tested = Annotated[int, typer.Option(min=1, help="Most test clips that are kept, evenly spread.")]
Channels = Annotated[int, typer.Option(min=1, help="For every joint, in blocks 1 to 3; a multiple of 12 is exact.")]
Width = Annotated[int, typer.Option(min=2, help="Channels after block 3; even.")]
Kernel = Annotated[int, typer.Option(min=1, help="Frames of a temporal convolution; odd.")]


@app.command("kinetics", help="Train and compare on Kinetics-400 skeletons (JSON files or the arrays made from them).")
def kinetics(
    data: Data, out: Out = Path("kinetics"), seeds: Seeds = 1, ways: Ways = None, workers: Workers = 2,
    frames: Frames = 150, epochs: Epochs = 90, batch: Batch = 256, rate: Rate = 0.1, tested: Tested = 20_000,
    channels: Channels = 24, width: Width = 256, kernel: Kernel = 9, smoke: Smoke = False,
) -> None:  # fmt: skip
    effort, sizes = Effort(frames, epochs, batch, rate, tested), Sizes(channels, width, kernel)
    factory = partial(kinetics_tasks, folder=data, effort=effort, sizes=sizes)
    carry_out(EXAMPLE, out, seeds, ways, workers, smoke, factory=factory)


@app.command("ntu", help="Train and compare on NTU RGB+D (.skeleton files or the arrays made from them).")
def ntu(
    data: Data, out: Out = Path("ntu"), split: Annotated[str, typer.Option(help="xsub or xview.")] = "xsub",
    seeds: Seeds = 1, ways: Ways = None, workers: Workers = 2, frames: Frames = 150, epochs: Epochs = 90,
    batch: Batch = 256, rate: Rate = 0.1, tested: Tested = 20_000, channels: Channels = 24, width: Width = 256,
    kernel: Kernel = 9, smoke: Smoke = False,
) -> None:  # fmt: skip
    if split not in ("xsub", "xview"):
        raise typer.BadParameter(f"{split}: there are xsub and xview", param_hint="--split")
    effort, sizes = Effort(frames, epochs, batch, rate, tested), Sizes(channels, width, kernel)
    factory = partial(ntu_tasks, folder=data, split=split, effort=effort, sizes=sizes)
    carry_out(EXAMPLE, out, seeds, ways, workers, smoke, factory=factory)


if __name__ == "__main__":
    app()
