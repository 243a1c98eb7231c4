"""Which inputs are fitted and which are held out, whatever they come in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from chiralize.body.spec import parse_spec
from chiralize.errors import DataFileError
from chiralize.graph.run import Arguments, Call
from chiralize.problem.inputs import Inputs, inputs_of, stretches, together
from chiralize.problem.network import Network
from chiralize.problem.prepare import prepare
from chiralize.problem.table import table_of
from tests.support.small_body import BODY, POSE, normal, turned


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1)).view_as(x)


class Four(Plain):
    """Takes four poses at a time."""

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.reshape(4, 12)).reshape(4, 6, 2)


@cache
def network(rows: int = 2) -> Network:
    return prepare(Four() if rows == 4 else Plain(), (torch.ones(rows, 6, 2),), {}, parse_spec(POSE))


def numbered(count: int) -> Tensor:
    """Poses that are told apart by their mean."""
    return torch.arange(count)[:, None, None] + normal(count, 6, 2).float() / 100


def numbers(calls: Sequence[Call]) -> list[int]:
    return [round(float(pose.mean())) for call in calls for pose in Arguments.of(*call).tensors[0]]


@given(st.integers(1, 400))
def test_what_is_held_out_comes_from_all_over(count: int) -> None:
    """A fifth, in order, each once; no half of a long file goes without."""
    held = stretches(count)
    assert held == sorted({*held}) and {*held} <= {*range(count)} and len(held) == max(count // 5, 1)
    if len(held) > 1:
        first = [number for number in held if 2 * number < count]
        assert 0.25 * len(held) <= len(first) <= 0.75 * len(held)


@pytest.mark.parametrize("sizes", [(300,), (88, 256, 256), (1,) * 60, (64,) * 30 + (3,)])
def test_some_are_held_out_whatever_the_batches(sizes: tuple[int, ...]) -> None:
    inputs, _ = inputs_of(network(), list(numbered(sum(sizes)).split(list(sizes))))
    seen, held = numbers(inputs.fitted(8)), numbers(inputs.measured(4))
    assert not {*seen} & {*held}
    assert len(seen) + len(held) >= 0.96 * sum(sizes) and 0.15 < len(held) / (len(seen) + len(held)) < 0.25


def test_one_input_is_both() -> None:
    inputs, _ = inputs_of(network(), numbered(1))
    assert list(inputs.seen) == list(inputs.held) == [0]


def test_caps_take_samples_from_all_over() -> None:
    inputs, _ = inputs_of(network(), numbered(1000))
    seen = numbers(inputs.fitted(10, 100))
    assert len(seen) == 100 and seen == sorted(seen) and seen[0] < 20 and seen[-1] > 980
    assert len(numbers(inputs.measured(10, 50))) == 50


def test_eight_calls_are_judged() -> None:
    calls = inputs_of(network(), numbered(1000))[0].judged()
    assert len(calls) == 8 and numbers(calls)[0] == 0 and numbers(calls)[-1] == 999


def test_a_closed_batch_keeps_its_size() -> None:
    inputs, _ = inputs_of(network(4), numbered(103))
    assert {len(Arguments.of(*call).tensors[0]) for call in inputs.fitted(32)} == {4}


@pytest.mark.parametrize("behind", [True, False])
def test_mirror_images_are_left_out(behind: bool) -> None:
    """Whoever adds the images of all inputs learns nothing of them, and would be shown a figure that is too good."""
    x = normal(200, 6, 2).float()
    both = torch.cat([x, turned(x)]) if behind else torch.stack([x, turned(x)], 1).flatten(0, 1)
    inputs, images = inputs_of(network(), both)
    assert images == 200 and len(inputs.seen) + len(inputs.held) == 200
    assert inputs_of(network(), x)[1] == 0


def test_kinds_are_mixed_along_the_batches() -> None:
    """A stretch of them holds all kinds in their share."""
    tables = [table_of(numbered(count), network()) for count in (60, 20)]
    found = together([table.batches(1) for table in tables])
    assert len(found) == 80 and found.samples == 80
    ends = [sum(table is tables[1] for table, _ in found.parts[start : start + 20]) for start in (0, 30, 60)]
    assert all(4 <= count <= 6 for count in ends)


def test_nothing_is_read_before_it_is_needed() -> None:
    class Array(np.ndarray):
        read = 0

        def __getitem__(self, at: Any) -> Any:
            Array.read += 1
            return super().__getitem__(at)

    table = table_of(numbered(40).numpy().view(Array), network())
    Array.read = 0
    batches = Inputs(table, seen=range(40)).fitted(8)
    assert Array.read == 0
    batches[2]
    assert Array.read == 1


# ---- along time -------------------------------------------------------------------------------------------------
STATE = BODY + ('inputs: [{layout: "b j d"}, {state: true}]\noutputs: [{layout: "b j d"}, {state: true}]\n')


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(12, 4), nn.Linear(4, 12)

    def forward(self, pose: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.cell(pose.flatten(1), hidden)
        return self.head(hidden).view_as(pose), hidden


class Clip(nn.Module):
    """Reads three frames a call and keeps a state in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(36, 12)
        self.register_buffer("last", torch.zeros(1, 12))

    def forward(self, x: Tensor) -> Tensor:
        self.last = 0.5 * self.last + self.layer(x.flatten(1))
        return self.last.view(-1, 6, 2)


@cache
def cell(rows: int = 1) -> Network:
    return prepare(Cell(), (torch.zeros(rows, 6, 2), torch.zeros(rows, 4)), {}, parse_spec(STATE))


def along(*shape: int) -> np.ndarray:
    return np.arange(float(np.prod(shape)), dtype=np.float32).reshape(shape)


def observed(sequences: Sequence[Sequence[Call]]) -> list[list[list[float]]]:
    return [[call[0][0].flatten().tolist() for call in steps] for steps in sequences]


WALKS = along(2, 3, 6, 2)
WAYS: dict[str, Any] = {
    "one array": WALKS,
    "a tensor": torch.from_numpy(WALKS),
    "a list": list(WALKS),
    "by name": {"pose": WALKS},
    "an array each": {"walk": WALKS[0], "run": WALKS[1]},
    "tuples": [(walk,) for walk in WALKS],
}


@pytest.mark.parametrize("way", WAYS)
def test_sequences(way: str) -> None:
    """A step is a call; one of two sequences is held out."""
    inputs, _ = inputs_of(cell(), WAYS[way])
    assert observed(inputs.sequences) == WALKS.reshape(2, 3, 12).tolist()
    assert len(inputs.seen_sequences) == len(inputs.held_sequences) == 1
    assert {*inputs.seen} | {*inputs.held} == {*range(6)} and not {*inputs.seen} & {*inputs.held}


def test_several_at_once_cut_to_the_shortest_and_to_200() -> None:
    inputs, _ = inputs_of(cell(2), [along(5, 6, 2), along(3, 6, 2), along(9, 6, 2)])
    assert [len(steps) for steps in inputs.sequences] == [3]
    assert inputs.sequences[0][1][0][0].tolist() == [along(5, 6, 2)[1].tolist(), along(3, 6, 2)[1].tolist()]
    assert [len(steps) for steps in inputs_of(cell(), along(1, 300, 6, 2))[0].sequences] == [200]


def test_frames_of_one_call() -> None:
    """Time is an axis of the network: a call eats as many frames as the example has."""
    spec = parse_spec(BODY + 'inputs: [{layout: "b t j d"}]\noutputs: [{layout: "b j d"}]\n')
    network = prepare(Clip(), (torch.zeros(1, 3, 6, 2),), {}, spec)
    inputs, _ = inputs_of(network, along(2, 7, 6, 2))
    assert [len(steps) for steps in inputs.sequences] == [2, 2]
    assert torch.equal(inputs.sequences[1][1][0][0][0], torch.from_numpy(along(2, 7, 6, 2)[1, 3:6]))
    assert not inputs_of(network, along(20, 3, 6, 2))[0].sequences, "samples of one call each"


def test_what_is_no_sequence_is_samples() -> None:
    inputs, _ = inputs_of(cell(), along(50, 6, 2))
    assert not inputs.sequences and len(inputs.table) == 50


@pytest.mark.parametrize("data", [along(2, 3, 5, 2), [along(3, 5, 2)], along(1, 0, 6, 2)])
def test_sequences_that_do_not_fit(data: Any) -> None:
    with pytest.raises(DataFileError):
        inputs_of(cell(), data)
