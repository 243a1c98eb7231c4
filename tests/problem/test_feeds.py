"""Sequences that make their items when asked: they agree with lists, and hold nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chiralize.problem.data.feeds import Feed, grouped, joined, mapped

numbers = st.lists(st.integers(), max_size=20)
ends = st.none() | st.integers(-25, 25)


def feed(items: list[int]) -> Feed[int]:
    return Feed(lambda place: items[place], range(len(items)))


@given(numbers, ends, ends, st.sampled_from([None, 1, 2, 3, -1]))
def test_slices_are_those_of_a_list(items: list[int], start: int | None, stop: int | None, step: int | None) -> None:
    found = feed(items)
    part, wanted = found[start:stop:step], items[start:stop:step]
    assert list(part) == wanted and len(part) == len(wanted) and bool(part) == bool(wanted)
    assert list(part[1:]) == wanted[1:] and [part[at - len(wanted)] for at in range(len(wanted))] == wanted


@given(st.lists(numbers, max_size=4))
def test_joined_in_order(parts: list[list[int]]) -> None:
    found = joined(*map(feed, parts))
    assert list(found) == sum(parts, []) and [found[at] for at in range(len(found))] == sum(parts, [])


@given(numbers, st.integers(1, 6))
def test_mapped_and_grouped(items: list[int], count: int) -> None:
    assert list(mapped(lambda own: own + 1, feed(items))) == [own + 1 for own in items]
    groups = [list(group) for group in grouped(feed(items), count)]
    kept = sum(groups, [])
    assert kept == items[: len(kept)] and len({len(group) for group in groups}) <= 1
    assert all(len(group) <= count for group in groups) and len(items) - len(kept) < max(len(groups), 1)


def test_items_are_made_when_asked_for() -> None:
    """Neither length nor slices nor views of views make any; every look makes one anew."""
    made: list[int] = []
    found = joined(mapped(str, Feed(lambda place: made.append(place) or place, range(100))), ["x"])[10:50]
    assert len(grouped(found, 5)) == 8 and made == []
    assert found[3] == found[3] == "13" and made == [13, 13]
