"""What makes a study of tasks: where its pages are, and what it shows beyond the frame's own tables and pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from examples.study.page import Table, between, short_tables, tables
from examples.study.plots import draw
from examples.study.results import Row, write
from examples.study.run import Factory

Tables = Callable[[Sequence[Row]], Sequence[Table]]
Picture = Callable[[Sequence[Row], Path], "Path | None"]


@dataclass(frozen=True)
class Example:
    """A study with its page.

    factory: makes the tasks; other processes import it.  folder: of README.md, results.csv and figures/.
    tables: further ones by their mark in the README: `<!-- MARK --> ... <!-- /MARK -->`.  pictures: further ones,
    written into the folder that they are given; None where the rows have nothing to draw.  short: the network, the
    figure and its heading that the page opens with, under the mark `short`; () for a page without.
    """

    name: str
    factory: Factory
    folder: Path
    tables: Mapping[str, Tables] = field(default_factory=dict)
    pictures: Sequence[Picture] = ()
    short: tuple[str, str, str] | tuple[()] = ()

    def all_tables(self, rows: Sequence[Row]) -> dict[str, Sequence[Table]]:
        """By the mark in the README; those of the frame are `results`."""
        by_mark: dict[str, Sequence[Table]] = {"results": tables(rows)}
        by_mark |= {mark: made(rows) for mark, made in self.tables.items()}
        if self.short:
            by_mark["short"] = short_tables(rows, *self.short)
        return by_mark

    def draw(self, rows: Sequence[Row], folder: Path) -> list[Path]:
        """All pictures. Returns their files."""
        return [*draw(rows, folder), *(path for own in self.pictures if (path := own(rows, folder)) is not None)]

    def publish(self, rows: Sequence[Row]) -> list[Path]:
        """Write results.csv, figures and the tables of the README. Raises ValueError where a mark is missing."""
        write(self.folder / "results.csv", rows)
        page = self.folder / "README.md"
        text = page.read_text(encoding="utf-8")
        for mark, made in self.all_tables(rows).items():
            text = between(text, mark, "\n\n".join(table.as_markdown() for table in made))
        page.write_text(text, encoding="utf-8")
        return self.draw(rows, self.folder / "figures")
