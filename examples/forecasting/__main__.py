"""Forecasting, from the data to the table:

CHIRALIZE_DATA=FOLDER python -m examples.forecasting --out study
python -m examples.forecasting penn --labels Penn_Action/labels --out study-penn
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from examples.forecasting.example import EXAMPLE
from examples.forecasting.factories import BATCH, UPDATES, WIDTH, motion_capture, penn_action
from examples.forecasting.networks import JOINTS, PAPER_WIDTH
from examples.forecasting.task import PAPER_BATCH
from examples.study.command import Out, Seeds, Smoke, Ways, Workers, carry_out, study

Width = Annotated[int, typer.Option(min=JOINTS, help="Hidden units: an even multiple of 13.")]
Updates = Annotated[int | None, typer.Option(min=2, help="Training steps.", show_default="30 epochs")]
Batch = Annotated[int, typer.Option(min=1)]

app = study(
    EXAMPLE,
    "Forecast 16 frames of 2D poses with two stacked LSTMs on either side; compare the ways to a symmetric network. "
    "CHIRALIZE_DATA names the folder with the motion capture.",
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
    factory = partial(motion_capture, width=width, updates=updates, batch=batch)
    carry_out(EXAMPLE, out, seeds, ways, workers, smoke, factory=factory)


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
    factory = partial(penn_action, labels=labels, width=width, updates=updates, batch=batch)
    carry_out(EXAMPLE, out, seeds, ways, workers, smoke, factory=factory)


if __name__ == "__main__":
    app()
