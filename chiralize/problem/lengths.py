"""The record of sizes of an open axis at which a network has no answer, and what is said of them.

`answered` runs the network at other sizes and makes the record. Of a network that takes the standard deviation over
its frames, which is nan for one frame, the report says

    frames: judged from 2 on, since at 1 its answers are not finite (output 0 is nan at [0, 0]); the result is for 2
    and more
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Lengths:
    """Sizes of an open axis at which a network answers, and those at which it does not.

    axis: `frames`.  least: the smallest size with an answer, None where none of those that were tried has one.
    silent: sizes without an answer.  why: what happens at the largest of them that is below `least`, in words.
    """

    axis: str
    least: int | None
    silent: tuple[int, ...]
    why: str

    @property
    def sizes(self) -> str:
        """The sizes without an answer: `1, 2, 4`."""
        return ", ".join(map(str, self.silent))

    @property
    def note(self) -> str:
        """The note of a report."""
        return (
            f"{self.axis}: judged from {self.least} on, since at {self.sizes} {self.why}; the result is for "
            f"{self.least} and more"
        )
