"""Tables of timings: rows that are written as they come, cases that are not measured twice, and an end in time."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

from chiralize.commands.timing import Timing

TIMED = ("ms", "ratio", "low", "high")
"""Columns of a timing."""


def figures(timing: Timing) -> dict[str, str]:
    """Milliseconds of a call, the ratio to the first run, and its quartiles."""
    shares = {"ratio": timing.ratio, "low": timing.low, "high": timing.high}
    return {"ms": f"{1e3 * timing.seconds:.4g}", **{name: f"{share:.3f}" for name, share in shares.items()}}


class Table:
    """A file of rows that is appended to, and gone on with: cases whose key it has are done."""

    def __init__(self, path: Path, columns: Sequence[str], key: Sequence[str], seconds: float | None = None) -> None:
        """key: columns that say which case a row is of.  seconds: after which no case is begun; None: never."""
        self.path, self.columns, self.key = path, tuple(columns), tuple(key)
        self.until = float("inf") if seconds is None else monotonic() + seconds
        self.done = set[tuple[str, ...]]()

    def __enter__(self) -> Table:
        is_new = not self.path.exists()
        if not is_new:
            with self.path.open(newline="") as file:
                self.done = {self._of(row) for row in csv.DictReader(file) if not row.get("error")}
        self.file = self.path.open("a", newline="")
        self.writer = csv.DictWriter(self.file, self.columns)
        if is_new:
            self.writer.writeheader()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()

    def add(self, *key: Any, rows: Callable[[], Iterable[Mapping[Any, Any]]]) -> None:
        """Measure a case and write its rows, unless it is done or time is up.

        key: the case's values of the key's columns.  Where there is a column `error`, a case that fails is a row of it.
        """
        case: dict[str, Any] = dict(zip(self.key, key, strict=True))
        if self._of(case) in self.done or monotonic() > self.until:
            return
        try:
            made = [{**case, **row} for row in rows()]
        except Exception as error:
            if "error" not in self.columns:
                raise
            made = [{**case, "error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}]
        for row in made:
            self.writer.writerow(row)
            print(*[row[name] for name in self.columns if row.get(name)], sep="  ", flush=True)
        self.file.flush()

    def _of(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(str(row[name]) for name in self.key)
