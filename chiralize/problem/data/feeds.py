"""Sequences whose items are made when they are asked for, so that inputs need not lie in memory all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, ParamSpec, TypeVar, overload

P = ParamSpec("P")
Item = TypeVar("Item")
Other = TypeVar("Other")


class UsersError(BaseException):
    """Carries an exception of the user's own code out through ours, past everything that handles `Exception`.

    error: the exception as it was raised, with its traceback.
    """

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(str(error))


class Feed(Sequence[Item], Generic[Item]):
    """`make(place)` for every place; a slice is a feed too. Nothing is kept: an item asked for twice is made twice."""

    def __init__(self, make: Callable[[int], Item], places: Sequence[int]) -> None:
        self.make, self.places = make, places

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, at: int) -> Item: ...
    @overload
    def __getitem__(self, at: slice) -> Feed[Item]: ...
    def __getitem__(self, at: int | slice) -> Item | Feed[Item]:
        return Feed(self.make, self.places[at]) if isinstance(at, slice) else self.make(self.places[at])

    def __iter__(self) -> Iterator[Item]:
        return (self.make(place) for place in self.places)


def mapped(function: Callable[[Item], Other], items: Sequence[Item]) -> Feed[Other]:
    """A function of every item."""
    return Feed(lambda place: function(items[place]), range(len(items)))


def read(items: Sequence[Item], place: int) -> Item:
    """An item of the user's own sequence. Raises UsersError with whatever that raises."""
    try:
        return items[place]
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
    ends = [sum(map(len, parts[: number + 1])) for number in range(len(parts))]

    def make(place: int) -> Item:
        number = next(number for number, end in enumerate(ends) if place < end)
        return parts[number][place - ends[number] + len(parts[number])]

    return Feed(make, range(ends[-1] if ends else 0))
