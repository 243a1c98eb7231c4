"""What `reduce` holds in memory does not grow with the number of samples."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils import _pytree as pytree

from chiralize.graph import execution
from chiralize.methods.reduce import fitting, gram
from chiralize.methods.reduce.gram import Gram, add_products
from chiralize.methods.reduce.reduce import reduced
from chiralize.problem.data import cutting
from chiralize.problem.data.cutting import in_rows, leading
from chiralize.problem.data.shelf import Shelf
from chiralize.problem.request import Request
from tests.support.problems import posed
from tests.support.reduce_nets import KINDS, calls_for, ready
from tests.support.small_body import normal


class Held:
    """Bytes of the values of ops that something still refers to. peak: the most at any time."""

    def __init__(self) -> None:
        self.now = self.peak = 0

    def watch(self, tensor: torch.Tensor) -> None:
        self.now += tensor.nbytes
        self.peak = max(self.peak, self.now)
        weakref.finalize(tensor, self._drop, tensor.nbytes)

    def _drop(self, size: int) -> None:
        self.now -= size


@pytest.fixture
def without_gc() -> Iterator[None]:
    """Memory is to be free as soon as nothing refers to it, not when the collector finds cycles."""
    gc.disable()
    yield
    gc.enable()


def peak(monkeypatch: pytest.MonkeyPatch, kind: str, count: int, room: int) -> int:
    """The most that is held while a network is reduced.  room: of the shelf."""
    held, plain = Held(), execution.evaluate

    def evaluate(*given: Any) -> Any:
        found = plain(*given)
        for own in pytree.tree_leaves(found):
            if isinstance(own, torch.Tensor):
                held.watch(own)
        return found

    monkeypatch.setattr(cutting, "_GROUPS", 1)
    calls = calls_for(KINDS[kind].shape, 10 * count)  # an eighth to a batch, a fifth held out
    options = Request("reduce", calibration=calls)
    with monkeypatch.context() as patch:
        patch.setattr(execution, "evaluate", evaluate)
        patch.setattr(fitting, "Shelf", lambda count: Shelf(count, room))
        next(reduced(posed(ready(kind), options), 0.5))
    return held.peak


@pytest.mark.one_in(4)
@pytest.mark.parametrize("kind", ["residual", "temporal", "lstm, both ways", "transformer"])
@pytest.mark.usefixtures("without_gc")
def test_values_go_when_they_were_read(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert peak(monkeypatch, kind, 6, room=0) <= 1.05 * peak(monkeypatch, kind, 3, room=0)


@pytest.mark.usefixtures("without_gc")
def test_a_shelf_in_memory_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: what all batches have come to stays in memory."""
    assert peak(monkeypatch, "residual", 6, 10**9) > 1.25 * peak(monkeypatch, "residual", 3, 10**9)


def test_a_view_is_shelved_alone() -> None:
    whole = normal(1000, 4)
    with Shelf(1) as shelf:
        shelf[0] = [{"part": whole[10:20], "all of it": normal(3)}]
        kept = shelf[0][0]["part"]
        assert shelf.held == kept.untyped_storage().nbytes() + 3 * 8
        assert torch.equal(kept, whole[10:20])


@pytest.mark.parametrize("size", [1, 4, 9])
def test_sums_in_blocks_are_sums(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gram, "_COLUMNS", 4)
    rows = [normal(5, size), normal(3, size, seed=1)]
    sums, blocks = torch.zeros(size, size, dtype=torch.float64), Gram(size)
    for own in rows:
        add_products(sums, own)
        blocks.add(own)
    wanted = sum(own.T @ own for own in rows)
    torch.testing.assert_close(sums, wanted)
    torch.testing.assert_close(blocks.whole(), wanted)


def test_batches_have_the_room_that_there_is() -> None:
    """Eighty batches of eight poses; a pose needs some hundred numbers in float64. They are put together, or cut."""
    network, calls = ready("residual"), calls_for((6, 2), 80)
    found = [in_rows(network, calls, 64, room) for room in (1, 6_000, 30_000, 10**9)]
    rows = [len(leading(own[0])) for own in found]
    assert rows[0] == 1 < rows[1] < 8 < rows[2] < rows[3] == 64
    given = torch.cat([leading(own) for own in calls])
    for own, size in zip(found[:2], rows, strict=False):
        kept = torch.cat([leading(call) for call in own])
        assert len(kept) == len(given) - len(given) % size and torch.equal(kept, given[: len(kept)])
    closed = replace(network, program=None)
    assert [len(leading(own)) for own in in_rows(closed, calls, 64, 1)] == [8] * 80
