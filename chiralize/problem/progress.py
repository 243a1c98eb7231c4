"""How far a piece of work is: the function that steps call, and one that does nothing."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with what is being done."""

    def __call__(self, step: str, done: float | None = None, /) -> None:
        """A step begins or goes on.

        step: what is being done, in words; what follows a comma is a detail of the same step, such as its loss.
        done: the share of the step that is done, from 0 to 1; None where it is not known.
        """


def silent(step: str, done: float | None = None, /) -> None:
    """Do nothing."""
