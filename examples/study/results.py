"""The figures of a study as a file: one row per network, way, seed and figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import median
from typing import NamedTuple

from examples.study.files import write_atomically


@dataclass(frozen=True, order=True)
class Row:
    """One figure. network: name of the task.  way: how the network was made, see `ways.WAYS`."""

    network: str
    way: str
    seed: int
    figure: str
    value: float


class Spread(NamedTuple):
    """Over the seeds."""

    middle: float
    low: float
    high: float
    seeds: int


def read(path: Path) -> list[Row]:
    """The rows of a file, none where there is no file. Raises ValueError for a file of another kind."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        lines = csv.DictReader(file)
        if lines.fieldnames != [own.name for own in fields(Row)]:
            raise ValueError(f"{path}: its columns are {lines.fieldnames}, not those of a study. Remove it.")
        return [
            Row(line["network"], line["way"], int(line["seed"]), line["figure"], float(line["value"]))
            for line in lines
        ]  # fmt: skip


def write(path: Path, rows: Iterable[Row]) -> None:
    """Replaces the file; later rows replace earlier ones of the same key, the order stays."""
    kept = {(row.network, row.way, row.seed, row.figure): row for row in rows}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([own.name for own in fields(Row)])
    writer.writerows([*astuple(row)[:4], f"{row.value:.6g}"] for row in kept.values())
    write_atomically(path, lambda beside: beside.write_text(text.getvalue(), encoding="utf-8"))


def spreads(rows: Iterable[Row]) -> dict[tuple[str, str, str], Spread]:
    """(network, way, figure) to median and range over the seeds."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        found.setdefault((row.network, row.way, row.figure), []).append(row.value)
    return {key: Spread(median(own), min(own), max(own), len(own)) for key, own in found.items()}
