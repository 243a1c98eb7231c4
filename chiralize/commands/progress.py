"""What is being done, shown while it is done: a bar on a terminal, lines in a log.

    chiralize: after    5 s  fitting
    chiralize: after   65 s  fitting, layer 12 of 30, 40%, about 90 s left

A step is called as `progress("fitting, layer 12 of 30", 0.4)`. What stands before the comma is its name: another name
is another step, whereas another layer moves the bar on.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from chiralize.errors.words import when
from chiralize.problem.progress import Progress, silent

if TYPE_CHECKING:
    from rich.console import Console

PATIENCE = 5.0
"""Seconds before a log says anything: shorter work is not worth a line."""
EVERY = 60.0
"""Seconds between two lines about one step."""


@contextmanager
def shown(
    wanted: bool | Progress | None = None, *, verbose: bool = False, stream: TextIO | None = None
) -> Iterator[Progress]:
    """The progress of steps, shown on a stream.

    On a terminal one line with a bar, percent, time so far and time left, which is gone in the end. Elsewhere a line
    for every step, and one a minute for a step that goes on, none where all is over within five seconds.

    wanted: True, or False for silence; None: on a terminal alone. A function is called itself.
    verbose: a line for every step with its seconds, wherever the stream goes.  stream: standard error, if not given.
    """
    from rich.console import Console

    console = Console(file=stream or sys.stderr, soft_wrap=True, highlight=False)
    if wanted is not None and not isinstance(wanted, bool):
        yield wanted
    elif wanted is False or (wanted is None and not console.is_terminal):
        yield silent
    elif console.is_terminal and not verbose:
        with _bar(console) as tell:
            yield tell
    else:
        lines = _Lines(console, verbose)
        try:
            yield lines.tell
        finally:
            lines.close()


@contextmanager
def _bar(console: Console) -> Iterator[Progress]:
    """A line with a bar, which is wiped out in the end."""
    from rich import progress as rich

    words = rich.TextColumn("{task.description}", markup=False)
    times = rich.TimeElapsedColumn(), rich.TimeRemainingColumn()
    columns = rich.SpinnerColumn(), words, rich.BarColumn(20), rich.TaskProgressColumn(), *times
    with rich.Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        line = bar.add_task("loading", total=None)
        current = ""

        def tell(step: str, done: float | None = None, /) -> None:
            """Move the bar, from its beginning where another step begins."""
            nonlocal current
            # Times and percents belong to one step.
            if _title(step) != current:
                current = _title(step)
                bar.reset(line, total=None)
            # Without a share the bar moves to and fro, which says that nobody knows how much is left.
            total = None if done is None else 1.0
            bar.update(line, description=step, total=total, completed=done or 0.0)

        yield tell


class _Lines:
    """Steps as lines of a log, each with seconds and the word for them. Until `PATIENCE` has passed they are held back.

    Where a step begins, those since the start; with `verbose` where it ends, those that it took.
    """

    def __init__(self, console: Console, verbose: bool) -> None:
        self._console, self._verbose = console, verbose
        self._start = self._began = self._said = time.monotonic()
        self._title = ""
        self._held: list[str] = []
        self._holds = not verbose
        self._lock = threading.Lock()
        # A thread of its own, since a step may take minutes without calling `tell`. The lock keeps lines of the two
        # threads in order. As a daemon it does not hold up the end of the process.
        self._timer = threading.Timer(PATIENCE, self._release)
        self._timer.daemon = True
        if self._holds:
            self._timer.start()

    def tell(self, step: str, done: float | None = None, /) -> None:
        """Write a line where a step begins, or where one goes on for a minute."""
        now = time.monotonic()
        if _title(step) != self._title:
            self._end(now)
            self._title, self._began, self._said = _title(step), now, now
            if not self._verbose:
                self._write(f"{self._seconds(now)}  {self._title}")
        elif now - self._said >= EVERY:
            # A step that goes on is mentioned once a minute, however often it calls.
            self._said = now
            goes_on = when(self._verbose, ", and goes on")
            self._write(f"{self._seconds(now)}  {step}{_left(done, now - self._began)}{goes_on}")

    def close(self) -> None:
        """Print nothing from now on; lines that were held back are dropped."""
        self._timer.cancel()
        self._end(time.monotonic())

    def _end(self, now: float) -> None:
        """Write how long a step has taken."""
        if self._verbose and self._title:
            self._write(f"{self._seconds(now)}  {self._title}")

    def _seconds(self, now: float) -> str:
        """Since the start, `after   67 s`; with `verbose` those of the step alone, `took    2.5 s`."""
        if self._verbose:
            return f"took {now - self._began:6.1f} s"
        return f"after {now - self._start:4.0f} s"

    def _write(self, line: str) -> None:
        """Print a line, or hold it back while it is not known whether this takes long."""
        with self._lock:
            if self._holds:
                self._held.append(line)
            else:
                self._print(line)

    def _print(self, line: str) -> None:
        self._console.print(f"chiralize: {line}", markup=False)

    def _release(self) -> None:
        """Write what was held back, and hold nothing back from now on."""
        with self._lock:
            self._holds = False
            for line in self._held:
                self._print(line)


def _title(step: str) -> str:
    """The name of a step, without its details: `fitting` of `fitting, layer 3`."""
    return step.partition(",")[0]


def _left(done: float | None, elapsed: float) -> str:
    """Percent, and an estimate of the time that is left, if there is one."""
    if not done:
        return ""
    return f", {done:.0%}, about {elapsed * (1 - done) / done:.0f} s left"
