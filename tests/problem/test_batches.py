"""Calibration inputs in batches of one size, some of which are held out whatever they come in."""

from __future__ import annotations

from itertools import accumulate
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.graph import processes
from chiralize.graph.running import Call
from chiralize.problem.data.batches import Batches, _share_held, held_last
from chiralize.problem.data.cutting import _cut, as_captured, even, in_rows, leading
from chiralize.problem.data.feeds import Feed
from chiralize.problem.preparation import prepare
from tests.support.reduce_nets import original, ready, subject_of
from tests.support.small_body import BODY, POSE, normal, trained


def in_sizes(*sizes: int) -> list[Call]:
    """Numbered poses in batches of these sizes."""
    rows = torch.arange(sum(sizes), dtype=torch.float64)[:, None, None] + normal(sum(sizes), 6, 2) / 100
    return [((part,), {}) for part in rows.split(list(sizes))]


def numbers(calls: list[Call]) -> list[int]:
    """Which poses they are."""
    return [round(float(pose.mean())) for call in calls for pose in leading(call)]


# ---- one size -------------------------------------------------------------------------------------------------------
@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 12))
def test_cut_anywhere(sizes: list[int], size: int) -> None:
    """All rows in their order, but for the last few."""
    calls, total = in_sizes(*sizes), sum(sizes)
    found = list(_cut(calls, sizes, size))
    assert [len(leading(call)) for call in found] == [size] * (total // size)
    whole = torch.cat([leading(call) for call in calls])
    assert all(torch.equal(leading(call), part) for call, part in zip(found, whole.split(size), strict=False))


@pytest.mark.parametrize("sizes", [(300,), (500,) * 4, (256, 256, 88), (88, 256, 256), (1,) * 60, (64,) * 30 + (3,)])
def test_some_are_held_out(sizes: tuple[int, ...]) -> None:
    """A fifth of the samples, none of them among those that are fitted on, next to none dropped."""
    batches = Batches(even(ready("residual"), in_sizes(*sizes)))
    seen, held = numbers(list(batches.seen)), numbers(list(batches.held_out))
    assert not set(seen) & set(held) and batches.source == "held-out calibration inputs"
    assert len(seen) + len(held) >= 0.96 * sum(sizes) and 0.15 < len(held) / (len(seen) + len(held)) < 0.25
    assert len({len(leading(call)) for call in batches.inputs}) == 1


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("method", "sizes"),
    [("reduce", (60,) * 5 + (11,)), ("match", (200, 111)), ("auto", (311,)), ("reduce", (11, 150, 150))],
)
def test_converted_whatever_the_batches(method: str, sizes: tuple[int, ...]) -> None:
    """A loader's last batch is smaller; the first may be."""
    found: Any = chiralize.chiralize(
        original("residual"), parse_spec(POSE), (normal(4, 6, 2),), calibration=[call[0] for call in in_sizes(*sizes)],
        method=method, samples=1, rounds=0, force=True,
    )  # fmt: skip
    drift = found.chirality.report.drift
    assert drift is not None and 55 <= drift.samples <= 65


def test_one_batch_that_is_no_rows_says_so() -> None:
    """Of frames first there is one sample a call, and of one call nothing can be held out."""
    spec = BODY + 'inputs: [{layout: "j d"}]\noutputs: [{layout: "j d"}]\n'
    net = trained(nn.Sequential(nn.Flatten(0), nn.Linear(12, 12), nn.Unflatten(0, (6, 2))))
    network = prepare(net, parse_spec(spec), (normal(6, 2),))
    calls: list[Call] = [((normal(6, 2, seed=seed),), {}) for seed in range(4)]
    assert even(network, calls) is calls
    assert [len(part) for part in (Batches(calls).seen, Batches(calls).held_out)] == [3, 1]
    one = Batches(calls[:1])
    assert one.seen == one.held_out == calls[:1] and one.source == "the same calibration inputs"


class Four(nn.Module):
    """Takes four poses at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.reshape(4, 12)).reshape(4, 6, 2)


def test_a_closed_batch_keeps_its_size() -> None:
    network = subject_of(trained(Four()), (6, 2), 4)
    assert [len(leading(call)) for call in even(network, in_sizes(4, 4, 4, 2))] == [4, 4, 4]


# ---- put together ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("sizes", "rows"), [((8,) * 6, 8), ((3,) * 16, 8), ((20, 20, 8), 8)])
def test_as_captured(sizes: tuple[int, ...], rows: int) -> None:
    """Smaller batches are put together, larger ones taken apart."""
    found = as_captured(ready("residual"), in_sizes(*sizes))
    assert numbers(list(found)) == list(range(48)) and {len(leading(call)) for call in found} == {rows}


def test_nothing_is_read_before_it_is_needed() -> None:
    read: list[int] = []
    calls = in_sizes(*[8] * 40)
    feed = Feed(lambda place: read.append(place) or calls[place], range(40))
    as_captured(ready("residual"), feed)
    groups = in_rows(ready("residual"), feed, 64)
    read.clear()
    assert len(leading(groups[2])) == 32 and read == [8, 9, 10, 11]


@given(st.integers(1, 400))
def test_few_inputs_make_small_batches(count: int) -> None:
    """At least ten batches where there are as many inputs, and hardly any input is dropped."""
    found = in_rows(ready("residual"), in_sizes(*[1] * count), 64)
    ends = list(accumulate(len(leading(call)) for call in found))
    assert len(found) >= min(count, 10) and ends[-1] > count - min(len(found), 64)


@pytest.mark.parametrize(("total", "count"), [(80, 2), (48, 2), (48, 4), (40, 8), (30, 2)])
def test_processes_hold_out_what_one_would(monkeypatch: pytest.MonkeyPatch, total: int, count: int) -> None:
    """All have as many batches of either part, together those that one process has."""
    calls = in_sizes(*[1] * total)
    alone = Batches(calls, scattered=calls)
    wanted, beside = numbers(list(alone.held_out)), numbers(list(alone.fitted_held_out))
    shares = list[list[int]]()
    for rank in range(count):
        monkeypatch.setattr(processes, "count", lambda: count)
        monkeypatch.setattr(processes, "number_of", lambda batch, rank=rank: batch * count + rank)
        part = Batches(calls[rank::count], scattered=calls[rank::count])
        shares.append(numbers(list(part.held_out)))
        assert numbers(list(part.fitted_held_out)) == shares[-1] * 2
    assert sorted(sum(shares, [])) == wanted and sorted(sum(shares, []) * 2) == sorted(beside)
    assert set(map(len, shares)) == {len(wanted) // count}


@pytest.mark.parametrize(("total", "held"), [(25, 5), (26, 4), (48, 8), (45, 9), (6, 1), (11, 2), (3, 1), (1, 1)])
def test_about_a_fifth(total: int, held: int) -> None:
    assert len(Batches(in_sizes(*[1] * total)).held_out) == held


@given(st.integers(0, 400))
def test_what_is_held_out_comes_from_all_over_a_file(total: int) -> None:
    """Every batch once, the others in their order; no half of a long file goes without."""
    order = list(held_last(cast("list[Call]", list(range(total)))))
    held = [int(number) for number in cast("list[int]", order)[total - _share_held(total) :]]
    staying = [number for number in order if number not in held]
    assert sorted(cast("list[int]", order)) == list(range(total))
    assert staying == sorted(cast("list[int]", staying)) and held == sorted(held)
    if len(held) > 1:
        first = [number for number in held if 2 * number < total]
        assert 0.25 * len(held) <= len(first) <= 0.75 * len(held)


@pytest.mark.parametrize(("total", "count"), [(80, 2), (48, 2), (48, 4), (30, 2), (160, 8)])
def test_processes_move_what_one_would(monkeypatch: pytest.MonkeyPatch, total: int, count: int) -> None:
    """Dealt out in turns, and together in the order of one process."""
    calls = in_sizes(*[1] * total)
    wanted = numbers(list(held_last(calls)))
    shares = list[list[int]]()
    for rank in range(count):
        monkeypatch.setattr(processes, "count", lambda: count)
        monkeypatch.setattr(processes, "number_of", lambda batch, rank=rank: batch * count + rank)
        shares.append(numbers(list(held_last(calls[rank::count]))))
    assert [shares[batch % count][batch // count] for batch in range(total)] == wanted
