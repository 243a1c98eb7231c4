"""The study of a robot's policy: imitate, convert, walk.  `walks` draws roll-outs, `export` writes a policy's files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from examples.policy.example import EXAMPLE
from examples.policy.task import ONE_SIDED, Imitation, tasks
from examples.study.command import Out, Smoke, study
from examples.study.run import SMOKE_SAMPLES
from examples.study.ways import Workshop

SUMMARY = (
    "Imitates a trot of MuJoCo's Ant that is shown left turns only, or all turns, in every way of a study, and walks "
    "from starts and from mirrored starts. `--out` keeps networks, rows and pictures; a second run goes on."
)

app = study(EXAMPLE, SUMMARY)

Seed = Annotated[int, typer.Option(help="Of the networks.")]


def _workshop(out: Path, seed: int, smoke: bool) -> tuple[Imitation, Workshop]:
    (task,) = (own for own in tasks(smoke) if own.name == ONE_SIDED)
    folder = (out / "smoke" if smoke else out) / "networks"
    return task, Workshop(task, seed, folder, SMOKE_SAMPLES if smoke else task.samples)


@app.command("walks", help="Draw walks and the walks from mirrored starts: figures/walks.svg beside this example.")
def walks(
    out: Out = Path("study"), seed: Seed = 0, seconds: float = 30.0, robots: int = 3, smoke: Smoke = False
) -> None:
    from examples.policy.walks import compare, draw, long_walk

    _, workshop = _workshop(out, seed, smoke)
    path = (out / "smoke" if smoke else EXAMPLE.folder) / "figures" / "walks.svg"
    draw(compare(workshop, long_walk(robots, seconds)), path)
    typer.echo(f"wrote {path}")


@app.command("export", help="Write policy.pt2 and observations.npz into `--out`, for `chiralize convert`.")
def export(out: Out = Path("study"), seed: Seed = 0, smoke: Smoke = False) -> None:
    from examples.policy.walks import write_files

    for path in write_files(*_workshop(out, seed, smoke), out):
        typer.echo(f"wrote {path}")


if __name__ == "__main__":
    app()
