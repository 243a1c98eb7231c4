"""What commands print: reports and JSON on stdout, remarks on stderr.

Reports are as wide as the terminal that shows them, and whole in files and pipes.
"""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from chiralize.cli.options import Format
    from chiralize.report import Report


def terminal_width() -> int | None:
    """Columns of the terminal that stdout goes to; None for a file or a pipe, which take any length."""
    if not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


def show(
    report: Report, output_format: Format, quiet: bool = False, verbose: bool = False, is_long: bool = False
) -> None:
    """Print the report as text for people or as JSON for programs.  quiet: of the text the verdict alone.

    A terminal shows what fits on one screen, or with `verbose` everything; a file or a pipe gets everything.
    is_long: so many lines that `verbose` has to ask for them there as well.
    """
    from chiralize.report import to_json, to_text

    if output_format.value == "json":
        typer.echo(to_json(report), nl=False)
    elif quiet:
        typer.echo(report.verdict)
    else:
        width = terminal_width()
        typer.echo(to_text(report, width, short=(is_long or width is not None) and not verbose), nl=False)


def save(report: Report, page: Path) -> None:
    """Write the report as one HTML page or as JSON, by the suffix. Raises OutputFileError."""
    from chiralize.report import to_html, to_json
    from chiralize.storage.atomic import write_text

    as_text = to_html if page.suffix == ".html" else to_json
    write_text(page, as_text(report))


def say_notices(notices: list[str]) -> None:
    """Print remarks on stderr."""
    for notice in notices:
        typer.echo(f"note: {notice}", err=True)


def print_json(value: object) -> None:
    """Print a value as JSON on stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
