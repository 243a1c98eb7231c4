"""Sequences whose items are made when they are asked for, so that inputs need not lie in memory all at once.

Calibration inputs pass through several steps (read, cut, scattered, joined). Each of them is a `Feed` on top of the
one before: no step holds more than the batch that is asked for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import accumulate
from typing import Generic, ParamSpec, TypeVar, overload

from chiralize.graph.running import Call

P = ParamSpec("P")
Item = TypeVar("Item")
Other = TypeVar("Other")


class UsersError(BaseException):
    """An exception of the user's own code on its way out, past everything in ours that handles `Exception`.

    error: the exception as it was raised, with its traceback.
    """

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(str(error))


class Feed(Sequence[Item], Generic[Item]):
    """`make(number)` for every number; a slice is a feed too. An item asked for twice is made twice."""

    def __init__(self, make: Callable[[int], Item], numbers: Sequence[int]) -> None:
        self.make, self.numbers = make, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, at: int) -> Item: ...
    @overload
    def __getitem__(self, at: slice) -> Feed[Item]: ...
    def __getitem__(self, at: int | slice) -> Item | Feed[Item]:
        if isinstance(at, slice):
            return Feed(self.make, self.numbers[at])
        return self.make(self.numbers[at])

    def __iter__(self) -> Iterator[Item]:
        return (self.make(number) for number in self.numbers)


class CallsOfArrays(Feed[Call]):
    """Calls that are cut from arrays.

    filled: the tensors of a call that an array is of, by position; the others hold the example's values in all calls.
    remarks: on how the arrays were taken.
    """

    def __init__(
        self, make: Callable[[int], Call], numbers: Sequence[int], filled: Collection[int], remarks: Sequence[str] = ()
    ) -> None:
        super().__init__(make, numbers)
        self.filled, self.remarks = frozenset(filled), tuple(remarks)


def mapped(function: Callable[[Item], Other], items: Sequence[Item]) -> Feed[Other]:
    """The sequence of `function(item)`, each computed when it is asked for."""
    return Feed(lambda index: function(items[index]), range(len(items)))


def counted(items: Sequence[Item], tell: Callable[[float], None]) -> Feed[Item]:
    """The sequence, each item of which tells, when it is asked for, what share of them comes before it."""

    def item(index: int) -> Item:
        """The item itself."""
        tell(index / len(items))
        return items[index]

    return Feed(item, range(len(items)))


def read(items: Sequence[Item], index: int) -> Item:
    """An item of the user's own sequence. Raises UsersError with whatever that raises."""
    try:
        return items[index]
    except Exception as error:
        raise UsersError(error) from error


def uncarried(function: Callable[P, Other], *args: P.args, **kwargs: P.kwargs) -> Other:
    """What a function returns. An exception that UsersError carries is raised as it was, with its own traceback."""
    try:
        return function(*args, **kwargs)
    except UsersError as carried:
        error = carried.error
    raise error  # outside of the block above, so that its own context stays


def grouped(items: Sequence[Item], most: int) -> Feed[Sequence[Item]]:
    """Groups of one size, as few as there can be of at most `most` items; what is left over is dropped."""
    count = max(len(items) // max(-(-len(items) // most), 1), 1)
    starts = range(0, len(items) - count + 1, count)
    return Feed(lambda start: items[start : start + count], starts)


def joined(*parts: Sequence[Item]) -> Feed[Item]:
    """Several sequences, one after the other."""
    ends = list(accumulate(map(len, parts), initial=0))

    def item(index: int) -> Item:
        """The item of the part that holds this index; empty parts hold none."""
        number = bisect_right(ends, index) - 1
        return parts[number][index - ends[number]]

    return Feed(item, range(ends[-1]))
