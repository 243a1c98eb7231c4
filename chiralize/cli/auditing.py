"""`chiralize audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chiralize.cli import options as opt


@opt.takes_network
def audit(
    request: opt.Request,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="FILE", help="Real inputs (.npz, .npy, .pt), samples first; audited as well."),
    ] = None,
    output_format: opt.FormatOption = opt.Format.text,
    samples: Annotated[
        int, typer.Option("--samples", metavar="N", min=1, max=10_000, help="Random inputs, where no data are given.")
    ] = 32,
) -> None:
    """Measure how lopsided a network, and its data, are now. Changes nothing.

    \b
    Examples:
      chiralize audit lifter.pt2 --skeleton h36m
      chiralize audit lifter.pt2 --skeleton h36m --data poses.npz
    """
    from chiralize.pipeline.auditing import audit as run
    from chiralize.report import to_json, to_text

    with opt.progress() as step:
        subject, loaded, _ = opt.open_subject(request)
        subject, calls = opt.in_batches(subject, loaded, opt.calls_from_file(data, subject, loaded))
        step("running the network on both views")
        report = run(subject, loaded.source.name, calls, samples)
    typer.echo(to_json(report) if output_format is opt.Format.json else to_text(report), nl=False)
