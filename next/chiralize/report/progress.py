"""What is being done, shown while it is done: a bar on a terminal, lines in a log, nothing where nobody asked."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from chiralize.problem.request import Progress, silent

_PATIENCE = 5.0
"""Seconds before a log says anything: shorter work is not worth a line."""


@contextmanager
def shown(wanted: bool | Progress | None = None, *, verbose: bool = False) -> Iterator[Progress]:
    """The progress of steps, on standard error.

    wanted: True, or False for silence; None: on a terminal alone. A function is called itself, as step(what, share).
    verbose: a line for every step with the seconds since the start, wherever it goes.
    """
    from rich.console import Console

    console = Console(file=sys.stderr, soft_wrap=True, highlight=False, markup=False)
    if wanted is not None and not isinstance(wanted, bool):
        yield wanted
    elif wanted is False or (wanted is None and not console.is_terminal):
        yield silent
    elif console.is_terminal and not verbose:
        with _bar(console) as tell:
            yield tell
    else:
        yield _lines(console, 0.0 if verbose else _PATIENCE)


@contextmanager
def _bar(console: object) -> Iterator[Progress]:
    """One line with a bar, which is wiped out in the end."""
    from rich import progress as rich

    words = rich.TextColumn("{task.description}", markup=False)
    columns = rich.SpinnerColumn(), words, rich.BarColumn(20), rich.TaskProgressColumn(), rich.TimeElapsedColumn()
    with rich.Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:  # type: ignore[arg-type]
        line = bar.add_task("loading", total=None)

        def tell(step: str, done: float | None = None, /) -> None:
            """Move the bar on; without a share it moves to and fro, which says that nobody knows how much is left."""
            bar.update(line, description=step, total=None if done is None else 1.0, completed=done or 0.0)

        yield tell


def _lines(console: object, patience: float) -> Progress:
    """Steps as lines of a log, each with the seconds since the start, none before `patience` has passed."""
    start, last = time.monotonic(), ""

    def tell(step: str, done: float | None = None, /) -> None:
        """Write a line where a step begins."""
        nonlocal last
        seconds = time.monotonic() - start
        if step != last and seconds >= patience:
            last = step
            console.print(f"chiralize: after {seconds:4.0f} s  {step}")  # type: ignore[attr-defined]

    return tell
