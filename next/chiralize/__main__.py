"""Entry point of the `chiralize` command."""

from __future__ import annotations

from collections.abc import Sequence

from chiralize.cli.app import app
from chiralize.cli.console import leave_with


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and leave with its exit status.  arguments: instead of the process's own."""
    leave_with(app, arguments)


if __name__ == "__main__":
    main()
