"""`chiralize plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chiralize.cli import opening
from chiralize.cli import options as opt
from chiralize.cli.converting import method_option
from chiralize.cli.printing import show

BLOCKED = 3
"""The exit status of a plan that something stands in the way of."""


@opt.takes_network
def plan(
    options: opt.NetworkOptions,
    method: Annotated[
        str, method_option("The method to plan for; auto and average may run the network on x and on its mirror image.")
    ] = "match",
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="FILE",
            help="Real inputs, as convert takes them: hidden units are paired by what they do on these, and sizes of "
            "inputs that weights leave open are theirs.",
        ),
    ] = None,
    output_format: opt.FormatOption = opt.Format.text,
) -> None:
    """Show what a conversion would do, and what stands in its way. Changes nothing; exit 3 if blocked.

    By module; -v shows every op with its representations, and so does --format json.

    Only random numbers block auto and average, which run both views where one pass cannot do it.

    \b
    Examples:
      chiralize plan lifter.pt2 --skeleton h36m
      chiralize plan lifter.pt2 --skeleton h36m --calibration poses.npz
      chiralize plan lifter.pt2 --skeleton paper.yaml --method project --format json
    """
    from chiralize.commands.plan import plan as run

    with opt.progress(options) as step:
        # Files that do not fit are refused before the export; few inputs pair units as well as many, only less surely.
        unfit = opening.refuse_unfit(calibration)
        network, loaded, _ = opening.open_network(
            options, read=True, samples=calibration, before_export=unfit, step=step
        )
        calls, sequences = opening.calls_from_file(calibration, network, loaded)
        if not sequences:
            network, calls = opening.in_batches(network, loaded, calls)
        step("planning")
        report = run(network, loaded.source.name, method, calls, sequences)
    show(report, output_format, options.loudness.quiet, options.loudness.verbose, is_long=True)
    if not report.passed:
        raise typer.Exit(BLOCKED)
