"""The commands, put together. Importing this does not import torch."""

from __future__ import annotations

from typing import Annotated

import typer

from chiralize.cli import auditing, benching, converting, demonstration, planning, skeleton, verifying

app = typer.Typer(
    help="Make a trained network on bodies exactly equivariant to the left/right mirror, and prove it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Start with: chiralize demo",
)


def _version(asked: bool) -> None:
    """Print the version and stop, where it is asked for: before any command is looked at."""
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

    Exit status: 0 fine; 1 not equivariant, drift too large or degenerate; 2 usage, specification, model or data file;
    3 unsupported network; 101 internal error.
    """


app.command("convert")(converting.convert)
app.command("verify")(verifying.verify)
app.command("plan")(planning.plan)
app.command("audit")(auditing.audit)
app.command("bench")(benching.bench)
app.command("demo")(demonstration.demo)
app.add_typer(skeleton.app, name="skeleton")
