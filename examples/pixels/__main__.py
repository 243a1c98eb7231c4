"""`python -m examples.pixels`: draw people, train a heatmap network, measure its alignment, compare flip tests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from chiralize.errors import ChiralizeError
from examples.pixels.plot import draw
from examples.pixels.study import SMOKE, Size, run, table, write

app = typer.Typer(add_completion=False)


@app.command(help="Draw people, train a heatmap network with flips, measure how far turned maps are off, and compare.")
def main(
    out: Annotated[
        Path, typer.Option(help="Folder of results.csv, comparison.svg, network.pt2 and pictures.npy.")
    ] = Path("study"),
    seconds: Annotated[float, typer.Option(help="How long is trained, in seconds of the process.")] = 560.0,
    smoke: Annotated[bool, typer.Option(help="A tiny network, few pictures: see in seconds that all runs.")] = False,
) -> None:
    size = SMOKE if smoke else Size(seconds=seconds)
    try:
        net, tested, outcome = run(size, typer.echo)
    except (ChiralizeError, FileNotFoundError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    write(out / "results.csv", outcome)
    for row in table(outcome.ways):
        typer.echo("  ".join(row))
    batch = {0: torch.export.Dim("batch", min=1, max=1024)}
    program = torch.export.export(net, (tested.pixels[:2].clone(),), dynamic_shapes=(batch,))
    torch.export.save(program, out / "network.pt2")
    np.save(out / "pictures.npy", tested.pixels[:512].numpy())
    draw(outcome, out / "comparison.svg")


if __name__ == "__main__":
    app()
