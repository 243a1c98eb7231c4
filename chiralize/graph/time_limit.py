"""The time that a search or a fit may take: of this process alone, whatever else the machine does."""

from __future__ import annotations

from time import perf_counter, process_time


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


class Stopwatch:
    """The seconds since it was started, by the processor or by the clock, whichever is less.

    Other programs lengthen those of the clock, several threads add up to more than those of the clock.
    """

    def __init__(self) -> None:
        self._processor, self._clock = process_time(), perf_counter()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return min(process_time() - self._processor, perf_counter() - self._clock)
