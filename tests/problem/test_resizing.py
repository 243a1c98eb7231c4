"""Calls with another number of samples: of every tensor the axis that counts them, of states that callers pass too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import ConversionSpec, parse_spec
from chiralize.commands.bench import bench
from chiralize.commands.convert import Request, convert
from chiralize.commands.stepping import Runner, rolled
from chiralize.errors import ModelRunError
from chiralize.graph.running import Arguments
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.problem.resizing import resized, samples_in
from chiralize.storage.format import LoadedModel
from tests.support.small_body import BODY

NAMES = "net.pt2", "chiral.pt2"
STATE, FREE, POSE = "{state: true}", "{free: true}", '{layout: "b (j d)"}'
OPEN = torch.export.Dim.AUTO


class Stepping(nn.Module):
    """A controller: an observation and a state to an action and the next state."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(12, 8), nn.Linear(8, 12)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """One step."""
        h = self.cell(x, h)
        return self.head(h), h


class Layered(nn.Module):
    """The same of two layers, with the state as torch has it: (layer, sample, unit)."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.head = nn.GRU(12, 8, num_layers=2), nn.Linear(8, 12)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """One step."""
        y, h = self.cells(x[None], h)
        return self.head(y[0]), h


class Spreading(nn.Module):
    """A state (1, sample, unit) that a longer first axis would be spread along, without an error."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.head = nn.Linear(12, 8), nn.Linear(8, 12)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """One step."""
        h = torch.tanh(self.into(x) + h)
        return self.head(h[0]), h


class Weighted(nn.Module):
    """A table of two numbers beside two samples, which is no part of the samples."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 12)

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        """The answer."""
        low, high = table
        return low + self.layer(x) * high


def spec_of(*inputs: str, outputs: tuple[str, ...] = (POSE, STATE)) -> ConversionSpec:
    return parse_spec(f"{BODY}inputs: [{', '.join(inputs)}]\noutputs: [{', '.join(outputs)}]\n")


def stateful(net: nn.Module, rows: int, *sizes: int, axis: int | None = 0) -> Network:
    """A network with a state of these sizes, as its program; axis: of the state that is open beside the batch."""
    torch.manual_seed(0)
    example = torch.randn(rows, 12), torch.zeros(sizes)
    spec = spec_of(POSE, STATE)
    if axis is None:
        return prepare(net.eval(), spec, example)
    program = torch.export.export(net.eval(), example, dynamic_shapes=({0: OPEN}, {axis: OPEN}))
    return prepare(program, spec, example)


def shapes_of(network: Network, size: int) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in Arguments.of(*resized(network, size)).tensors]


def test_a_state_has_as_many_samples_as_what_is_observed() -> None:
    """At sizes above and below that of the example, which stays as it is."""
    network = stateful(Stepping(), 2, 2, 8)
    assert samples_in(network) == 2
    for size in (1, 64):
        assert shapes_of(network, size) == [(size, 12), (size, 8)]
    assert shapes_of(network, 0) == [(2, 12), (2, 8)]


@pytest.mark.parametrize(
    ("net", "sizes", "rows", "expected"),
    [
        (Layered(), (2, 2, 8), 2, (2, 5, 8)),
        (Layered(), (2, 3, 8), 3, (2, 5, 8)),
        (Spreading(), (1, 1, 8), 1, (1, 5, 8)),
        (Stepping(), (8, 8), 8, (5, 8)),
    ],
)
def test_the_axis_of_a_state_that_counts_samples_is_tried(
    net: nn.Module, sizes: tuple[int, ...], rows: int, expected: tuple[int, ...]
) -> None:
    """Where several are as long as the batch: the one with which a state of the same sizes comes back."""
    assert shapes_of(stateful(net, rows, *sizes, axis=None), 5) == [(5, 12), expected]


def test_a_table_that_is_as_long_as_the_batch_stays() -> None:
    spec = spec_of(POSE, FREE, outputs=(POSE,))
    network = prepare(Weighted().eval(), spec, (torch.randn(2, 12), torch.randn(2)))
    assert shapes_of(network, 5) == [(5, 12), (2,)]


def test_samples_on_another_axis_than_the_first() -> None:
    """The layout says which it is."""
    layout = '{layout: "t b (j d)"}'
    network = prepare(nn.Linear(12, 12).eval(), spec_of(layout, outputs=(layout,)), (torch.randn(4, 2, 12),))
    assert samples_in(network) == 2 and shapes_of(network, 5) == [(4, 5, 12)]
    assert [row.batch for row in bench(network, network, NAMES, batches=(5,), rounds=2).rows] == [5, 5, 5]


def test_a_network_of_one_sample_takes_no_batch() -> None:
    layout = '{layout: "(j d)"}'
    network = prepare(nn.Linear(12, 12).eval(), spec_of(layout, outputs=(layout,)), (torch.randn(12),))
    assert samples_in(network) == 1 and shapes_of(network, 1) == [(12,)]
    with pytest.raises(ModelRunError) as raised:
        resized(network, 4)
    error = raised.value
    assert (error.where, error.facts) == ("batch 4", "no axis of its inputs counts samples, a call takes one")
    assert error.remedy == "leave --batch out"


def test_controllers_are_timed_at_the_sizes_that_are_asked_for() -> None:
    """The cost of a sample is that of one, however many the example has."""
    network = stateful(Stepping(), 2, 2, 8)
    report = bench(network, network, NAMES, batches=(1, 64), rounds=2)
    assert [(row.batch, row.name) for row in report.rows] == [
        (1, "original"),
        (1, "chiral"),
        (64, "original"),
        (64, "chiral"),
    ]
    assert report.cost.macs_before == 12 * 24 + 8 * 24 + 8 * 12
    assert {row.batch for row in bench(network, network, NAMES, rounds=2).rows} == {2}


def test_an_average_takes_states_of_both_views_at_any_size() -> None:
    """Also where its example has another number of samples than the original's."""
    network = stateful(Stepping(), 2, 2, 8)
    average = convert(network, "net", Request("average", samples=1))
    for rows in (2, 3):
        example = torch.randn(rows, 12), torch.zeros(rows, 16)
        chiral = prepare(average.program or average.module, network.spec, example)
        for batches, timed in (((1, 64), [1, 1, 64, 64]), ((), [2, 2])):
            report = bench(network, chiral, NAMES, batches=batches, rounds=2, other_examples=True)
            assert [row.batch for row in report.rows] == timed


def test_examples_of_controllers_that_differ_in_size() -> None:
    """Both take both sizes, their states with them."""
    one, other = stateful(Stepping(), 3, 3, 8), stateful(Stepping(), 2, 2, 8)
    report = bench(one, other, NAMES, rounds=2)
    assert "3 samples in net.pt2 and 2 in chiral.pt2" in str(report.notes)
    assert [row.batch for row in report.rows] == [2, 2, 3, 3]


def test_a_roll_out_is_of_one_sample() -> None:
    """However many the examples have that the files bring, of states as of observations."""
    net, runners = Stepping(), list[Runner]()
    for rows, name in zip((2, 3), NAMES, strict=True):
        network = stateful(net, rows, rows, 8)
        runners.append(Runner(network, LoadedModel(network.module, "pt2", Path(name), "")))
    original, chiral = runners
    assert [tuple(tensor.shape) for tensor in original.tensors] == [(1, 12), (1, 8)]
    rows = rolled(original, chiral, steps=100).rollout
    assert rows[2].residual == pytest.approx(rows[0].residual, abs=1e-5) and rows[0].residual > 0.1
