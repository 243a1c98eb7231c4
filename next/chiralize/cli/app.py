"""The commands, put together. Importing this does not import torch, so that --help comes at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chiralize.cli import skeleton
from chiralize.cli.console import progress, say, show
from chiralize.cli.options import (
    OUTPUT,
    Format,
    FormatOption,
    ModelArgument,
    QuietOption,
    VerboseOption,
    VerdictFormat,
    VerdictFormatOption,
    command,
)
from chiralize.problem.request import Judging, Request, Source

if TYPE_CHECKING:
    from chiralize.report.records import VerifyReport

app = typer.Typer(
    help="Make a trained network on bodies exactly equivariant to the left/right mirror, and prove it.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
NOT_EQUIVARIANT, UNPROVED = 1, 3
"""Exit statuses of `verify` where a verdict failed, and where nothing was proved."""


def _version(asked: bool) -> None:
    """Print the version and stop, before any command is looked at."""
    if asked:
        import chiralize

        typer.echo(f"chiralize {chiralize.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Make a trained network on bodies exactly equivariant to the left/right mirror, and prove it.

    Exit status: 0 fine; 1 not equivariant, too far from the original, or left and right are lost; 2 usage,
    specification, model or data file; 3 unsupported network, or no proof; 101 internal error.
    """


@command(Source, Request)
def convert(
    model: ModelArgument,
    source: Source,
    request: Request,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            rich_help_panel=OUTPUT,
            help="Where the result goes: .pt2, .safetensors, .pt, or as the source; else NAME.chiral.pt2.",
        ),
    ] = None,
    output_format: FormatOption = Format.text,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Make a network exactly equivariant, judge the result, and write it.

    Examples:

        chiralize convert lifter.pt2 --skeleton h36m --method match

        chiralize convert lifter.pt2 --skeleton body.yaml --method average -o chiral.pt2

        chiralize convert lifter.pth --model nets.lifter:Lifter --arg channels=1024 --skeleton h36m --method match
    """
    from chiralize.commands.files import convert_file

    with progress(quiet, verbose) as step:
        report = convert_file(model, source, request, output, step)
    show(report, output_format.value, quiet, verbose)


@command(Source, Judging)
def verify(
    model: ModelArgument,
    source: Source,
    judging: Judging,
    accept_unproved: Annotated[
        bool,
        typer.Option(
            "--accept-unproved",
            rich_help_panel=OUTPUT,
            help="Exit 0 for a network that is equivariant on all runs and that nobody could prove.",
        ),
    ] = False,
    output_format: VerdictFormatOption = VerdictFormat.text,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Check that a network is equivariant: by running it, and by a proof. Exit 0 equivariant, 1 not, 3 not proved.

    Examples:

        chiralize verify chiral.pt2

        chiralize verify any.pt2 --skeleton coco

        chiralize verify chiral.pt2 --format junit > verdict.xml
    """
    from chiralize.commands.files import verify_file

    with progress(quiet, verbose) as step:
        report = verify_file(model, source, judging, step)
    show(report, output_format.value, quiet, verbose)
    _leave(report, accept_unproved)


def _leave(report: VerifyReport, accept_unproved: bool) -> None:
    """End with the status of a report, and say on standard error what failed: the report is on standard output."""
    from chiralize.errors import ChiralizeError

    if report.passed or (accept_unproved and report.is_unproved):
        return
    try:
        report.raise_for_failure()
    except ChiralizeError as error:
        say(str(error))
    raise typer.Exit(UNPROVED if report.is_unproved else NOT_EQUIVARIANT)


app.command("convert")(convert)
app.command("verify")(verify)
app.add_typer(skeleton.app, name="skeleton")
