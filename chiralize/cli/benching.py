"""`chiralize bench`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from chiralize.cli import options as opt
from chiralize.cli.printing import show


@opt.takes_network
def bench(
    options: opt.NetworkOptions,
    chiral: Annotated[Path, typer.Argument(metavar="CHIRAL", help="The converted network: .pt2 or TorchScript.")],
    batch: Annotated[
        list[int] | None, typer.Option("--batch", metavar="N", min=1, help="Samples of a call; repeat for more sizes.")
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", min=2, max=10_000, help="Interleaved rounds.")] = 15,
    threads: Annotated[
        int | None,
        typer.Option("--threads", metavar="N", min=1, max=1024, help="Threads of torch; else as many as it takes."),
    ] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile all of them with torch.compile first.")] = False,
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="cuda, where there is one.")] = "cpu",
    output_format: opt.FormatOption = opt.Format.text,
) -> None:
    """Time a network, its flip average, and its chiral counterpart: interleaved medians with their spread.

    The skeleton is that of the chiral network unless --skeleton gives another.

    \b
    Examples:
      chiralize bench lifter.pt2 chiral.pt2
      chiralize bench lifter.pt2 chiral.pt2 --batch 1 --batch 64 --threads 1
      chiralize bench lifter.pt2 chiral.pt2 --compile --format json
    """
    from chiralize.commands.bench import bench as run

    with opt.progress(options) as step:
        step("loading the chiral network")
        chiral_options = replace(options, model=chiral, factory=None, arg=(), key=None)
        chiral_network, converted, passport = opt.open_network(chiral_options)
        step("loading the original")
        network, loaded, _ = opt.open_network(options, spec=passport.spec if passport else None)
        timed = partial(run, rounds=rounds, threads=threads, compiled=compiled, device=device, progress=step)
        report = timed(network, chiral_network, (loaded.source.name, converted.source.name), batches=tuple(batch or ()))
    show(report, output_format, options.quiet)
