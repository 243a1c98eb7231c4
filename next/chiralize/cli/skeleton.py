"""`chiralize skeleton`: the shipped skeletons, what is in a file, and whether it is in order, all without torch."""

from __future__ import annotations

import typer

app = typer.Typer(help="List, show and check skeletons.", no_args_is_help=True)
