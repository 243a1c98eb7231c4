"""Numbers in text, a line a row: commas, semicolons, tabs or blanks between them, names in the first line or not.

x,y            names: this line is no row of numbers, and is left out
0.5,1.25       (2, 2): "sample column"
0.75,1.5
"""

from __future__ import annotations

import re

import numpy as np

from chiralize.errors import DataFileError

_SEPARATORS = (",", ";", "\t", " ")
_BLANKS = re.compile(r"\s+")


def is_row(line: str) -> bool:
    """Whether a line is numbers and nothing else."""
    return _numbers(line, _separator(line)) is not None


def read_table(data: bytes, where: str) -> np.ndarray:
    """The rows "sample column" of a text.  Raises DataFileError with the line that is none."""
    text = data.decode("utf-8-sig", "replace")
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    separator = _separator(lines[-1][1])  # the first line may be names, with any sign in them
    if _numbers(lines[0][1], separator) is None:
        lines = lines[1:]  # names of the columns
    rows: list[list[float]] = []
    for number, line in lines:
        row = _numbers(line, separator)
        if row is None:
            shown = next((cell for cell in _cells(line, separator) if not _is_number(cell)), line)
            raise DataFileError(f"{where}:{number}", f"{shown.strip()[:40]!r} is no number", "keep numbers alone.")
        if rows and len(row) != len(rows[0]):
            facts = f"{len(row)} numbers, {len(rows[0])} in the first row"
            raise DataFileError(f"{where}:{number}", facts, "give every row equally many.")
        rows.append(row)
    return np.asarray(rows)


def _separator(line: str) -> str:
    """The first of the separators that a line has: numbers with commas may have blanks behind those."""
    return next((sign for sign in _SEPARATORS if sign in line.strip()), ",")


def _cells(line: str, separator: str) -> list[str]:
    """The parts of a line. Any number of blanks is one separator; two commas have an empty part between them."""
    line = line.strip()
    if separator == " ":
        return _BLANKS.split(line)
    return line.split(separator)


def _numbers(line: str, separator: str) -> list[float] | None:
    """The numbers of a line, None where a part of it is none."""
    cells = _cells(line, separator)
    if not all(map(_is_number, cells)):
        return None
    return list(map(float, cells))


def _is_number(cell: str) -> bool:
    """Whether it is a number. Python also takes 1_000, which is a name in every other program."""
    if "_" in cell:
        return False
    try:
        float(cell)
    except ValueError:
        return False
    return True
