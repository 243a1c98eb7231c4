"""Examples that the user gives: sizes, a file, or what the network's own file brings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chiralize.body.spec import load_spec
from chiralize.errors import DataFileError, UsageError
from chiralize.problem.examples import example_for
from chiralize.problem.request import Source

BODY: dict[str, Any] = {"joints": ["l", "r", "c"], "pairs": [["l", "r"]], "dims": ["x", "y"], "negate": ["x"]}
SPEC = load_spec(BODY)
STATES = load_spec({**BODY, "inputs": ["b t (j d)", "state", "state"], "outputs": ["b t (j d)", "state", "state"]})


class ByName(nn.Module):
    """Its speed goes by name alone."""

    def forward(self, pose: Tensor, turn: Tensor, *, speed: Tensor, height: Tensor | None = None) -> Tensor:
        return pose * speed[:, None] + turn[:, None]


class Along(nn.Module):
    """A recurrent layer over some frames, which goes on from the states that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.LSTM(6, 7, batch_first=True), nn.Linear(7, 6)

    def forward(self, x: Tensor, h0: Tensor, c0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, (h, c) = self.rnn(x, (h0, c0))
        return self.out(y), h, c


def sizes(net: nn.Module, spec: Any = SPEC, **given: Any) -> tuple[list[tuple[int, ...]], dict[str, tuple[int, ...]]]:
    args, kwargs = example_for(net, spec, source=Source(**given)).call
    return [tuple(tensor.shape) for tensor in args], {name: tuple(tensor.shape) for name, tensor in kwargs.items()}


# ---- sizes ----------------------------------------------------------------------------------------------------------
def test_sizes_in_order_and_by_name() -> None:
    expected = [(1, 3, 2), (1, 2)], {"speed": (1, 1)}
    assert sizes(ByName(), input_shapes=["1,3,2", "1,2", "speed=1,1"]) == expected
    assert sizes(ByName(), input_shapes=["turn=1,2", "pose=1,3,2", "speed=1,1"]) == expected


def test_names_that_are_no_arguments_are_keys_of_a_table() -> None:
    (table,), _ = example_for(nn.Identity(), SPEC, source=Source(input_shapes=("policy=1,48", "goal=1,2"))).call
    assert {name: tuple(tensor.shape) for name, tensor in table.items()} == {"policy": (1, 48), "goal": (1, 2)}


@pytest.mark.parametrize("texts", [["1,x,2"], ["0,3,2"], ["1,-3"], [""], ["1,3,2", "pose=1,3,2"], ["pose=1,3", "a=1"]])
def test_what_are_no_sizes(texts: list[str]) -> None:
    with pytest.raises(UsageError):
        sizes(ByName(), input_shapes=texts)


def test_sizes_of_states_are_added_to_those_of_the_inputs() -> None:
    assert sizes(Along(), STATES, input_shapes=["1,5,6"])[0] == [(1, 5, 6), (1, 1, 7), (1, 1, 7)]
    assert sizes(Along(), STATES, input_shapes=["4,5,6"])[0] == [(4, 5, 6), (1, 4, 7), (1, 4, 7)]
    assert sizes(Along(), STATES, input_shapes=["1,5,6", "1,1,7", "1,1,7"])[0] == [(1, 5, 6), (1, 1, 7), (1, 1, 7)]


class Tupled(nn.Module):
    """The only argument is a tuple of tensors."""

    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        return inputs[0] + inputs[1]


def test_one_tuple_as_the_only_argument(tmp_path: Path) -> None:
    path = saved(tmp_path, a=np.ones((4, 3, 2)), b=np.ones((4, 3, 2)))
    for given in ({"input_shapes": ("2,3,2", "2,3,2")}, {"example": path}):
        (pair,), _ = example_for(Tupled(), SPEC, source=Source(**given)).call  # type: ignore[arg-type]
        assert [tuple(tensor.shape) for tensor in pair] == [(2, 3, 2)] * 2
    twice = load_spec({**BODY, "inputs": ["b j d", "b j d"], "outputs": ["b j d"]})
    (pair,), _ = example_for(Tupled(), twice, source=Source()).call
    assert [tuple(tensor.shape) for tensor in pair] == [(2, 3, 2)] * 2


# ---- files ----------------------------------------------------------------------------------------------------------
def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "example.npz", **arrays)
    return folder / "example.npz"


@pytest.mark.parametrize("names", [("pose", "turn", "speed"), ("a", "b", "c")])
def test_arrays_go_to_arguments_by_name(names: Sequence[str], tmp_path: Path) -> None:
    """By their names where these are the arguments', else in order: the last of them is none that may be in order."""
    shapes = [(9, 3, 2), (9, 2), (9, 1)]
    path = saved(tmp_path, **{name: np.ones(shape) for name, shape in zip(names, shapes, strict=True)})
    args, kwargs = example_for(ByName(), SPEC, source=Source(example=path)).call
    assert [tuple(tensor.shape) for tensor in args] == [(2, 3, 2), (2, 2)]
    assert {name: tuple(tensor.shape) for name, tensor in kwargs.items()} == {"speed": (2, 1)}
    assert {tensor.dtype for tensor in (*args, *kwargs.values())} <= {torch.float32, torch.float64}


def test_numbers_are_those_of_the_network_but_where_the_mirror_leaves_whole_ones_alone(tmp_path: Path) -> None:
    spec = load_spec({**BODY, "inputs": ["b j d", "free"], "outputs": ["b j d"]})
    path = saved(tmp_path, pose=np.ones((4, 3, 2), np.int16), clip=np.ones(4, np.int64))
    net = nn.Bilinear(1, 1, 1).double()
    args, _ = example_for(net, spec, source=Source(example=path)).call
    assert [tensor.dtype for tensor in args] == [torch.float64, torch.int64]


def test_a_single_number_is_no_sample(tmp_path: Path) -> None:
    with pytest.raises(DataFileError):
        example_for(ByName(), SPEC, source=Source(example=saved(tmp_path, pose=np.ones(()))))


def test_sizes_and_a_file() -> None:
    with pytest.raises(UsageError):
        example_for(ByName(), SPEC, source=Source(input_shapes=("1,3,2",), example=Path("x.npz")))


def test_what_the_file_of_the_network_brings() -> None:
    brought = ((torch.zeros(3, 3, 2),), {})
    assert example_for(ByName(), SPEC, source=Source(), brought=brought).call is brought
    assert sizes(nn.Linear(6, 6), input_shapes=["7,6"])[0] == [(7, 6)]
