"""The processor time that a search may take: of this process alone, whatever else the machine does."""

from __future__ import annotations

from time import process_time


class TimeLimit:
    """So many seconds of processor time, from now on."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = process_time() + seconds

    @property
    def is_over(self) -> bool:
        """Whether the time is used up."""
        return process_time() > self._end

    def restart(self) -> None:
        """Give the same time again, from now on."""
        self._end = process_time() + self.seconds

    def part(self, seconds: float) -> TimeLimit:
        """A limit for a part of the work: so many seconds, and no more than are left."""
        return TimeLimit(min(seconds, max(self._end - process_time(), 0.0)))
