"""The methods that every report has, so that a session in Python needs no further import.

Records are below all that writes them, and so these methods import it when they are called.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from chiralize.errors import Caution
    from chiralize.report.records import Report
    from chiralize.report.verdict import Standing, Verdict


class Readable:
    """A report that can be shown: `str` gives the verdict, `to_text()` or the page in a notebook all of it.

    The base of the five reports in `records`, and of nothing else.
    """

    model: str

    @property
    def verdict(self) -> str:
        """The verdict in one sentence."""
        return self._verdict.sentence

    @property
    def standing(self) -> Standing:
        """good, warning or failed."""
        return self._verdict.standing

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """Everything that is wrong or risky, each with its topic."""
        return self._verdict.warnings

    @property
    def warnings(self) -> tuple[str, ...]:
        """Everything that is wrong or risky, in sentences."""
        return tuple(caution.text for caution in self.cautions)

    def to_text(self) -> str:
        """The whole report as plain text."""
        from chiralize.report.text import to_text

        return to_text(self._report)

    def to_json(self) -> str:
        """The whole report as JSON text."""
        from chiralize.report.encoding import to_json

        return to_json(self._report)

    def to_html(self, path: str | Path | None = None) -> str:
        """The whole report as an HTML page, also written to `path` if one is given. Raises OutputFileError."""
        from chiralize.report.html import to_html
        from chiralize.storage.atomic import write_text

        page = to_html(self._report)
        if path is not None:
            write_text(Path(path), page)
        return page

    def __str__(self) -> str:
        return self.verdict

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.model}: {self.verdict}>"

    def _repr_html_(self) -> str:
        """The page, framed, so that its style does not reach the notebook's."""
        from html import escape

        title = escape(f"Report of {self.model}")
        style = "width:100%;height:48rem;border:0"
        return f'<iframe srcdoc="{escape(self.to_html())}" title="{title}" style="{style}"></iframe>'

    @property
    def _report(self) -> Report:
        """The record itself: whoever inherits from this class is one of the five."""
        return cast("Any", self)

    @property
    def _verdict(self) -> Verdict:
        """The verdict, made anew from the record whenever it is asked for."""
        from chiralize.report.verdict import verdict_of

        return verdict_of(self._report)
