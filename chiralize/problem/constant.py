"""The record of outputs that are the same for all inputs, and what is said of them.

`constant_answers` runs the network on random inputs and makes the record; `doubts` adds a cause that it knows of. An
answer that never changes fits every mirror that leaves it alone, so that no verdict on it says anything:

    warning: output 0 does not depend on the inputs: 8 random inputs got the same; with scale=1.0 in the place of its
    default 0.0 they do. Give the value that it was trained with: --arg scale=VALUE
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chiralize.errors.words import listed, when

_FEW = 4
"""Names of outputs that a message lists."""


@dataclass(frozen=True)
class Cause:
    """An argument of the class that was left at its default, and another value with which answers differ."""

    name: str
    default: Any
    other: Any

    def __str__(self) -> str:
        """The end of a sentence on what does not depend on the inputs: with another value they do."""
        return f"with {self.name}={self.other!r} in the place of its default {self.default!r} they do"


@dataclass(frozen=True)
class ConstantAnswers:
    """Outputs that did not change when the inputs did.

    outputs: their names, none where all change.  is_all: nothing else of the answers changed either.  tried: the inputs
    that got the same answer, in words.  cause: what it is known to come from.
    """

    outputs: tuple[str, ...] = ()
    is_all: bool = False
    tried: str = ""
    cause: Cause | None = None

    @property
    def brief(self) -> str:
        """What is wrong, in a few words."""
        if self.is_all:
            return "its answers do not depend on its inputs"
        verb = "does" if len(self.outputs) == 1 else "do"
        return f"{listed(self.outputs, _FEW)} {verb} not depend on the inputs"

    @property
    def facts(self) -> str:
        """The same with the evidence."""
        return f"{self.brief}: {self.tried} got the same{when(self.cause, f'; {self.cause}')}"

    @property
    def remedy(self) -> str:
        """What to look at."""
        if self.cause is not None:
            return f"give the value that it was trained with: --arg {self.cause.name}=VALUE"
        return (
            "look how it is built: an argument left at its default, a factor of 0, weights that were not loaded; where "
            "it answers inputs in use differently, give them: --calibration inputs.npz"
        )

    @property
    def warning(self) -> str:
        """The note of a report."""
        return f"warning: {self.facts}. {self.remedy[:1].upper()}{self.remedy[1:]}"
