"""`.csv` and other tables of numbers in text: a line a sample, with or without a first line of names."""

from __future__ import annotations

from typing import Any

from chiralize.storage.content import Content
from chiralize.storage.format import Format

_LOOKED_AT = 2**16
"""Bytes at the beginning by which a file is recognised."""


def _recognises(content: Content) -> bool:
    """A text whose second line, or whose only one, is a row of numbers."""
    if content.file is None or content.is_zip:
        return False
    from chiralize.storage.text_tables import is_row

    # The first line may be names of columns, so that the second one decides.  Text has no zero bytes.
    head = content.data[:_LOOKED_AT]
    if b"\0" in head:
        return False
    lines = [line for line in head.decode("utf-8-sig", "replace").splitlines() if line.strip()]
    return bool(lines) and is_row(lines[1] if len(lines) > 1 else lines[0])


def _arrays(content: Content) -> Any:
    from chiralize.storage.text_tables import read_table

    return read_table(content.data, content.where)


FORMAT = Format("csv", "a table in text (.csv)", _recognises, arrays=_arrays, rank=-10)
