"""Files of results that grow row by row, so that a run can be stopped and goes on."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


def known(path: Path, key: Sequence[str]) -> set[tuple[str, ...]]:
    """What the file has, by these columns; nothing where there is none."""
    if not path.exists():
        return set()
    with path.open(newline="") as file:
        return {tuple(row[name] for name in key) for row in csv.DictReader(file)}


def append(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)
