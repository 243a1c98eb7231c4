"""How far a piece of work is: what steps call, and what nobody hears."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told what is being done."""

    def __call__(self, step: str, done: float | None = None, /) -> None:
        """Hear of a step.

        step: what is being done, in words; what follows a comma is a detail of the same step, such as its loss.
        done: how much of the step is, from 0 to 1; None where nobody knows.
        """


def silent(step: str, done: float | None = None, /) -> None:
    """Tell nobody."""
