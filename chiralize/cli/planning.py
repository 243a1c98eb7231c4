"""`chiralize plan`."""

from __future__ import annotations

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
    output_format: opt.FormatOption = opt.Format.text,
) -> None:
    """Show what a conversion would do, and what stands in its way. Changes nothing; exit 3 if blocked.

    By module; -v shows every op with its representations, and so does --format json.

    Only random numbers block auto and average, which run both views where one pass cannot do it.

    \b
    Examples:
      chiralize plan lifter.pt2 --skeleton h36m
      chiralize plan lifter.pt2 --skeleton paper.yaml --method project --format json
    """
    from chiralize.commands.plan import plan as run

    with opt.progress(options) as step:
        network, loaded, _ = opening.open_network(options, read=True, step=step)
        step("planning")
        report = run(network, loaded.source.name, method)
    show(report, output_format, options.loudness.quiet, options.loudness.verbose, is_long=True)
    if not report.passed:
        raise typer.Exit(BLOCKED)
