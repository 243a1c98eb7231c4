"""Labels of samples, one per sample: .npy, .npz, .csv or text with a line each.

All kinds become texts in the order of the samples: numbers 2 and 2.0 and the text "2" are one label. A file goes by its
suffix here, since a line of text with a comma is one label in a `.txt` and two columns in a `.csv`.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from chiralize.errors import DataFileError
from chiralize.storage.files import read_file
from chiralize.storage.numpy_files import read_plain

_COLUMN = "label"
_REMEDY = "give one label per sample: a .npy or .npz array, or a .txt or .csv file with a line each"


def load_labels(path: Path | str, samples: int) -> list[str]:
    """The labels as text, in order. Whole numbers are written without a point.

    A .npz file holds one array, or one called `label` or `labels`.  A .csv file has one column, or one called `label`;
    a line more than there are samples is the header.  Raises DataFileError.
    """
    where, data = str(path), read_file(path)
    kind = Path(path).suffix.lower()
    if kind in (".npy", ".npz"):
        return _from_numpy(data, where, samples)
    labels = _from_text(data, where, kind == ".csv", samples)
    _require_count(len(labels), samples, where)
    return labels


def _require_count(count: int, samples: int, where: str) -> None:
    """Raise DataFileError where there are not as many labels as samples."""
    if count != samples:
        raise DataFileError(where, f"holds {count} labels, the data hold {samples} samples", _REMEDY)


def _from_numpy(data: bytes, where: str, samples: int) -> list[str]:
    """The labels in a file of numpy.  Raises DataFileError."""
    try:
        arrays = read_plain(data, where)
    except DataFileError as error:
        raise DataFileError(where, f"cannot be read: {error.facts}", _REMEDY) from error
    # One array needs no name; of several that with the name counts.
    named = [name for name in arrays if name in ("", _COLUMN, _COLUMN + "s")]
    if len(arrays) != 1 and len(named) != 1:
        raise DataFileError(where, f"holds {len(arrays)} arrays: {', '.join(arrays)}", f"call one of them {_COLUMN!r}")
    array = arrays[named[0] if named else next(iter(arrays))]
    if array.ndim != 1 or array.dtype.kind not in "biuUSf":
        raise DataFileError(where, f"the labels have shape {array.shape} of {array.dtype}", _REMEDY)
    _require_count(len(array), samples, where)
    try:
        if array.dtype.kind == "S":
            texts = np.char.decode(array, "utf-8")
        else:
            texts = array.astype(str)
        labels = texts.tolist()
    except (ValueError, SystemError) as error:
        raise DataFileError(where, f"the labels are no text: {error}", _REMEDY) from error
    if array.dtype.kind == "f":
        return [label.removesuffix(".0") for label in labels]
    return labels


def _from_text(data: bytes, where: str, comma: bool, samples: int) -> list[str]:
    """The labels in a text; comma: it has columns.  Raises DataFileError."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataFileError(where, f"is no text: {error.reason} at byte {error.start}", _REMEDY) from error
    if not comma:
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error as error:
        raise DataFileError(where, f"cannot be read: {error}", _REMEDY) from error
    # Names of columns look like labels: only the number of lines tells them from one more label.
    header = rows[0] if len(rows) == samples + 1 else []
    width = max(map(len, rows), default=0)
    if width > 1 and _COLUMN not in header:
        raise DataFileError(where, f"has {width} columns, none is called {_COLUMN!r}", "name it in the first line")
    column = header.index(_COLUMN) if width > 1 else 0
    for line, row in enumerate(rows, start=1):
        if len(row) <= column:
            facts = f"has {len(row)} columns, the label is in column {column + 1}"
            raise DataFileError(f"{where}:{line}", facts, _REMEDY)
    # Rows of other lengths are fine as long as they reach the column.
    labels = [row[column].strip() for row in rows]
    return labels[1:] if header else labels
