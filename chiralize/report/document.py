"""A report as a list of plain blocks, which text and HTML render alike.

`assembling` makes a `Document` of a record, `text` and `html` write it. Below are the blocks, the ways in which numbers
are written in all of them, and short forms to make them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

from chiralize.errors import Caution

MOST_ROWS = 20
"""Rows of a table of weights, joints or layers."""


@dataclass(frozen=True)
class Section:
    """A heading.

    words: the same for somebody who reads no formulas, "" where the title has none.  folded: where pages can be folded,
    this part begins so.
    """

    title: str
    words: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Line:
    """A sentence. tone: plain, good, bad (a warning), or unsure (neither: nothing confirms it)."""

    text: str
    tone: str = "plain"


@dataclass(frozen=True)
class Table:
    """header, rows: cells as text.  right: columns that are aligned to the right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Bar:
    """A figure to be drawn. text: as it is written beside it.  limit: where it stops being fine, None without one."""

    label: str
    value: float
    text: str
    limit: float | None = None


@dataclass(frozen=True)
class Bars:
    """Figures on one scale; only HTML draws them, so they repeat what a table or a line says."""

    title: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Curves:
    """Values over common places; only HTML draws them.  curves: titles and values.  mark: a place that stands out."""

    title: str
    places: tuple[float, ...]
    curves: tuple[tuple[str, tuple[float, ...]], ...]
    mark: float | None = None


Block = Section | Line | Table | Bars | Curves


@dataclass(frozen=True)
class Document:
    """A report as it is shown.

    title: of the network.  sentence: the verdict.  standing: good, warning or failed; it colours the badge.
    """

    title: str
    sentence: str
    standing: str
    blocks: tuple[Block, ...]


# ---- numbers --------------------------------------------------------------------------------------------------
def short(value: float) -> str:
    """Two digits, without padding: `3.1e-2`, `0`, `inf`.

    >>> short(0.031), short(0.0)
    ('3.1e-2', '0')
    """
    if not value or not isfinite(value):
        return "0" if value == 0 else str(value)
    digits, _, exponent = f"{value:.1e}".partition("e")  # Python writes 3.1e-02
    return f"{digits}e{int(exponent)}"


def plain(value: float) -> str:
    """Three digits: `1.2`, `0.0131`."""
    return f"{value:.3g}"


def ratio(before: float, after: float) -> str:
    """`x0.50`, or nothing where there is nothing to compare."""
    if before:
        return f"x{after / before:.2f}"
    return ""


def milliseconds(seconds: float) -> str:
    """`0.36 ms`."""
    return f"{1e3 * seconds:.3g} ms"


def plural(count: int, word: str) -> str:
    """`1 op`, `12 ops`."""
    return f"{count:,} {word}" + ("" if count == 1 else "s")


def if_known(figure: float | None, written: Callable[[float], str]) -> str:
    """The figure as text, nothing where it is None."""
    if figure is None:
        return ""
    return written(figure)


# ---- blocks ---------------------------------------------------------------------------------------------------
def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> Table:
    """A table of these rows. right: columns that are aligned to the right."""
    return Table(tuple(header), tuple(map(tuple, rows)), frozenset(right))


def rest_of(count: int, shown: int = MOST_ROWS) -> list[Block]:
    """A line on how many rows a table leaves out, if it does."""
    if count > shown:
        return [Line(f"and {count - shown} more (the JSON report lists all)")]
    return []


def warning_lines(cautions: Sequence[Caution]) -> list[Block]:
    """A line for each warning."""
    return [Line(caution.text, "bad") for caution in cautions]
