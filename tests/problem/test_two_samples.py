"""Examples that are not the user's: two samples where one would fix the batch of the program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import ModelRunError
from chiralize.graph.other_sizes import is_open
from chiralize.problem.data.examples import examples_for
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.problem.two_samples import prepared_openly
from tests.graph.test_open_sizes import Stacked

SPEC = "skeleton: h36m\n"


class OfTwo(nn.Module):
    """The same of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = Stacked(), nn.Linear(34, 51)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.one(x) + self.other(y.flatten(1)).view(-1, 17, 3)


class Single(nn.Module):
    """A network that is written for one sample."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(34, 51)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.reshape(1, 34)).view(1, 17, 3)


class Remembering(Stacked):
    """A network with a state in a buffer, which a second sample would share."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("last", torch.zeros(17, 2))
        self.last: Tensor

    def forward(self, x: Tensor) -> Tensor:
        self.last.copy_(0.5 * self.last + x[0])
        return super().forward(x + self.last)


class InPlace(nn.Module):
    """Writes in place into a view whose axes changed places."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv1d(34, 8, 1), nn.Conv1d(8, 51, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.one(x.flatten(2).transpose(1, 2)).permute(0, 2, 1)
        hidden = F.leaky_relu(hidden, 0.2, True)
        return self.other(hidden.permute(0, 2, 1)).transpose(1, 2).unflatten(2, (17, 3))


def _prepared(net: nn.Module, *shapes: tuple[int, ...]) -> Network:
    spec = parse_spec(SPEC + "inputs: [" + ", ".join(["{layout: b ... j d}"] * len(shapes)) + "]\n")
    return prepared_openly(net, spec, (tuple(map(torch.randn, shapes)), {}))


@pytest.mark.parametrize(("net", "inputs"), [(Stacked(), 1), (OfTwo(), 2)])
def test_one_sample_stays_one_where_the_program_takes_any_number(net: nn.Module, inputs: int) -> None:
    network = _prepared(net, *[(1, 17, 2)] * inputs)
    assert network.rows == 1 and network.program is not None and is_open(network.program) and not network.notes
    for rows in (1, 5):
        tensors = [torch.randn(rows, 17, 2) for _ in range(inputs)]
        torch.testing.assert_close(network.program.module()(*tensors), network.module(*tensors))


class OtherOfOne(nn.Module):
    """Answers a single sample otherwise than the same sample among others."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(34, 51)

    def forward(self, x: Tensor) -> Tensor:
        answer = self.layer(x.flatten(1)).view(-1, 17, 3)
        return 2 * answer if x.shape[0] == 1 else answer


def test_one_sample_that_fixes_the_batch_becomes_two() -> None:
    network = _prepared(OtherOfOne(), (1, 17, 2))
    assert network.rows == 2 and network.program is not None and is_open(network.program)
    assert any("takes two samples and more, not one" in note for note in network.notes)
    assert not any("fixes its batch" in note for note in network.notes)
    x = torch.randn(5, 17, 2)
    torch.testing.assert_close(network.program.module()(x), network.module(x))


class Timed(nn.Module):
    """Reads a time beside the pose, which nobody describes."""

    def __init__(self) -> None:
        super().__init__()
        self.stacked = Stacked()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.stacked(x) + t.mean((2, 3))[:, :, None]


@pytest.mark.parametrize("rows", [1, 2])
def test_a_free_input_of_many_single_axes_grows_along_the_first(rows: int) -> None:
    """At once where that will do; with the examples twice where an answer to one sample is another."""
    spec = parse_spec(SPEC + "inputs: [{layout: b j d}, {free: true}]\n")
    net = (Timed, TimedOfOne)[rows - 1]()
    network = prepared_openly(net, spec, ((torch.randn(1, 17, 2), torch.randn(1, 1, 1, 1)), {}))
    assert network.rows == rows and network.program is not None and is_open(network.program)
    for count in (rows, 5):
        call = torch.randn(count, 17, 2), torch.randn(count, 1, 1, 1)
        torch.testing.assert_close(network.program.module()(*call), network.module(*call))


class TimedOfOne(Timed):
    """The same, and doubles the answer to a single sample."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        answer = super().forward(x, t)
        return 2 * answer if x.shape[0] == 1 else answer


class Squeezed(nn.Module):
    """Drops the batch of one sample, as recognisers do that pool over everything but channels."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(34, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1)).squeeze()


def test_a_squeezed_batch_is_made_of_two_or_refused() -> None:
    """Derived examples become two samples; those of the user are refused with what to give."""
    spec = parse_spec(f"{SPEC}inputs: [{{layout: b j d}}]\noutputs: [{{invariant: true}}]\n")
    one = torch.randn(1, 17, 2)
    network = prepared_openly(Squeezed(), spec, ((one,), {}))
    assert network.rows == 2 and network.program is not None
    torch.testing.assert_close(network.program.module()(one), network.module(one))
    assert not any("not one" in note for note in network.notes)  # it takes one, and answers as the class does
    with pytest.raises(ModelRunError, match=r"fewer axes than those to two .*\n.*two samples"):
        chiralize.chiralize(Squeezed(), spec, (one,), method="average")


@pytest.mark.parametrize("net", [Single(), Remembering()])
def test_what_takes_no_two_stays_at_one(net: nn.Module) -> None:
    network = _prepared(net, (1, 17, 2))
    assert network.rows == 1
    assert not any("two samples and more" in note for note in network.notes)


class Online(nn.Module):
    """A frame a call, with the state as an argument whose batch is its second axis."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.last = nn.GRU(34, 8, batch_first=True), nn.Linear(8, 51)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        answer, state = self.gru(x.flatten(1)[:, None], state)
        return self.last(answer[:, 0]).unflatten(1, (17, 3)), state


class OnlineOfOne(Online):
    """The same, written for one sample."""

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(x.reshape(1, 17, 2), state)


def _online(net: Online, count: int) -> Network:
    spec = parse_spec(
        f"{SPEC}inputs: [{{layout: b j d}}, {{state: true}}]\noutputs: [{{layout: b j d}}, {{state: true}}]\n"
    )
    return prepare(net, spec, (torch.randn(count, 17, 2), torch.zeros(1, count, 8)))


@pytest.mark.parametrize("count", [1, 2])
def test_a_batch_beside_a_state_is_open(count: int) -> None:
    """Though one layer and one sample are both 1, and torch.export takes a size of 1 for a fixed one."""
    network = _online(Online(), count)
    assert network.program is not None and not any("fixes its batch" in note for note in network.notes)
    call = torch.randn(5, 17, 2), torch.randn(1, 5, 8)
    torch.testing.assert_close(network.program.module()(*call), network.module(*call))


def test_a_batch_that_is_fixed_beside_a_state_is_said() -> None:
    """Though the first axis of the state counts layers, and not samples."""
    (said,) = (note for note in _online(OnlineOfOne(), 1).notes if "fixes its batch" in note)
    assert "exported, it takes 1 as in the examples" in said and "examples of two samples" in said


def test_what_was_tried_is_not_advised() -> None:
    (note,) = (note for note in _prepared(Single(), (1, 17, 2)).notes if "fixes its batch" in note)
    assert "examples of two samples" not in note


def test_derived_examples_are_open_and_the_users_are_not(tmp_path: Path) -> None:
    """Of a file with many samples the first one is our choice; a file of one is the user's."""
    spec, net = parse_spec(SPEC), Stacked()
    assert examples_for(net, spec, "net").is_open
    assert not examples_for(net, spec, "net", shapes=["1,17,2"]).is_open
    for count in (1, 3):
        np.save(tmp_path / "x.npy", np.zeros((count, 17, 2), np.float32))
        assert examples_for(net, spec, "net", example=tmp_path / "x.npy").is_open == (count > 1)


def test_a_result_on_derived_examples_takes_any_batch(tmp_path: Path) -> None:
    result = chiralize.chiralize(Stacked(), "h36m", method="average", force=True, samples=1)
    chiralize.save(result, tmp_path / "chiral.pt2")
    program = torch.export.load(tmp_path / "chiral.pt2").module()
    for size in (2, 5):
        x = torch.randn(size, 17, 2)
        torch.testing.assert_close(program(x), result(x))


def test_a_write_into_a_view_leaves_the_batch_open(tmp_path: Path) -> None:
    """It stays open to one sample as well, on examples of one and of two; so does what is written."""
    net = InPlace().eval()
    options: dict[str, Any] = {"method": "average", "force": True, "samples": 1}
    result = chiralize.chiralize(net, "h36m", torch.randn(1, 5, 17, 2), **options)
    chiralize.save(result, tmp_path / "chiral.pt2")
    of_two = _prepared(net, (2, 5, 17, 2)).program
    assert of_two is not None
    for program, expected in ((torch.export.load(tmp_path / "chiral.pt2"), result), (of_two, net)):
        for count in (1, 2, 5):
            x = torch.randn(count, 5, 17, 2)
            torch.testing.assert_close(program.module()(x), expected(x), rtol=1e-4, atol=1e-5)


def test_the_question_is_torchs_again_afterwards() -> None:
    before = torch._debug_has_internal_overlap  # pyright: ignore[reportPrivateImportUsage]
    _prepared(InPlace(), (1, 9, 17, 2))
    assert torch._debug_has_internal_overlap is before  # pyright: ignore[reportPrivateImportUsage]
    assert before(torch.zeros(1).expand(3)) == 1
