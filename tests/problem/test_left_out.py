"""Calibration inputs in which one of several inputs is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import DataFileError
from chiralize.methods.registry import method_of
from chiralize.problem.data.checks import judged
from chiralize.problem.data.from_python import calls_of
from chiralize.problem.data.inputs import calls_from
from chiralize.problem.preparation import prepare
from chiralize.problem.problem import Problem
from chiralize.problem.request import Request

SPEC = parse_spec("""
skeleton: coco
inputs:
  - {name: first, layout: "b j d", dims: [x, y]}
  - {name: second, layout: "b j d", dims: [x, y]}
outputs: [{layout: "b j d", dims: [x, y]}]
""")


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Linear(34, 34), nn.Linear(34, 34)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return torch.tanh(self.one(first.flatten(1)) + self.two(second.flatten(1))).unflatten(1, (17, 2))


def poses(seed: int, count: int = 64) -> Tensor:
    return torch.randn(count, 17, 2, generator=torch.Generator().manual_seed(seed)).cumsum(1)


@pytest.mark.parametrize("given", [("first",), ("first", "second")])
def test_an_input_that_the_file_leaves_out_is_named(given: tuple[str, ...], tmp_path: Path) -> None:
    arrays: dict[str, Any] = {name: poses(seed).numpy() for seed, name in enumerate(given)}
    np.savez(tmp_path / "inputs.npz", **arrays)
    example = (poses(2, 4), poses(3, 4))
    calls = calls_from(tmp_path / "inputs.npz", (example, {}), names=("first", "second"))
    batches = [args for args, _ in calls]
    result = chiralize.chiralize(Two(), SPEC, example, calibration=batches, method="average", force=True)
    report = chiralize.chirality(result).report
    assert report is not None
    left_out = "the calibration inputs leave input 1 'second' out"
    assert (left_out in report.verdict) == (len(given) == 1)
    assert any(note.startswith(f"warning: {left_out}: in all of them") for note in report.notes) == (len(given) == 1)


class Normalised(Two):
    """With statistics of its second input in training. A time is multiplied by stored frequencies."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.0, 50.0]).repeat(17, 1))
        self.register_buffer("spread", torch.tensor([4.0, 5.0]).repeat(17, 1))
        self.register_buffer("frequencies", torch.linspace(100, 900, 34))
        self.mean: Tensor
        self.spread: Tensor
        self.frequencies: Tensor

    def forward(self, first: Tensor, second: Tensor, time: Tensor) -> Tensor:  # type: ignore[override]
        waves = (time * self.frequencies).sin().unflatten(1, (17, 2))
        return super().forward(first, (second - self.mean) / self.spread) + 0.01 * waves


OF_TIME = parse_spec("""
skeleton: coco
inputs:
  - {name: first, layout: "b j d", dims: [x, y]}
  - {name: second, layout: "b j d", dims: [x, y]}
  - {name: time, free: true}
outputs: [{layout: "b j d", dims: [x, y]}]
""")


def given_to(network: nn.Module, count: int, **settings: Any) -> None:
    """Convert a network with samples of its first inputs; the others keep the example's values."""
    example = (poses(2, 4), poses(3, 4), torch.ones(4, 1))
    batches: list[tuple[Tensor, ...]] = []
    for seed in range(10, 90, 10):
        samples = (poses(seed, 4), poses(seed + 1, 4), torch.full((4, 1), float(seed)))
        batches.append((*samples[:count], *example[count:]))
    chiralize.chiralize(network, OF_TIME, example, calibration=batches, **settings)


def test_a_refusal_of_foreign_inputs_names_what_is_left_out() -> None:
    with pytest.raises(DataFileError, match=r"give the array of input 1 'second', input 2 'time', which has the ex"):
        given_to(Normalised(), 1, method="match")
    with pytest.raises(DataFileError) as caught:
        given_to(Normalised(), 3, method="match")
    assert caught.value.remedy.startswith("check joint order")


def test_frequencies_of_a_free_input_are_no_normaliser() -> None:
    network = Normalised()
    network.mean.zero_()
    given_to(network, 2, method="match")


WITH_A_FLAG = parse_spec("""
skeleton: coco
inputs:
  - {name: first, layout: "b j d", dims: [x, y]}
  - {fields: [{items: [left, right], kind: scalar}], name: hand}
outputs: [{layout: "b j d", dims: [x, y]}]
""")
LEFT_OUT = "the calibration inputs leave input 1 'hand' out"


class Handed(nn.Module):
    """Poses of people of whom it is told which hand they use."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Linear(34, 34), nn.Linear(2, 34)

    def forward(self, first: Tensor, hand: Tensor) -> Tensor:
        return torch.tanh(self.one(first.flatten(1)) + self.two(hand)).unflatten(1, (17, 2))


def hands(count: int, *left: int) -> Tensor:
    """The right hand in all of so many samples, but in these."""
    flags = torch.tensor([[0.0, 1.0]]).repeat(count, 1)
    for sample in left:
        flags[sample] = flags[sample].flip(0)
    return flags


def remarks_on(calls: Any, example: tuple[Tensor, Tensor]) -> str:
    """What is said of these inputs before anything is fitted to them."""
    network = prepare(Handed(), WITH_A_FLAG, example)
    return " ".join(judged(Problem.of(network, Request(calibration=calls), method_of("average"))).batches.remarks)


def test_a_flag_that_is_mostly_the_same_is_not_left_out() -> None:
    """It agrees with the example in the first, the middle and the last call, and differs in one other."""
    example = (poses(2, 4), hands(4))
    for flags, is_left_out in ((hands(64, 21), False), (hands(64), True)):
        calls = [(pair, {}) for pair in zip(poses(0).split(4), flags.split(4), strict=True)]
        assert (LEFT_OUT in remarks_on(calls, example)) == is_left_out


def test_an_input_with_an_array_is_not_left_out(tmp_path: Path) -> None:
    """Whatever is in it: all people of the file may use the hand of the example."""
    example = (poses(2, 4), hands(4))
    for name, arrays in {"both": (poses(0), hands(64)), "first": (poses(0),)}.items():
        np.savez(tmp_path / f"{name}.npz", **dict(zip(("first", "hand"), map(Tensor.numpy, arrays), strict=False)))
        calls = calls_from(tmp_path / f"{name}.npz", (example, {}), names=("first", "hand"))
        assert (LEFT_OUT in remarks_on(calls, example)) == (name == "first")
    for data, is_left_out in ((poses(0), True), ((poses(0), hands(64)), False)):
        calls, _ = calls_of(data, (example, {}))
        assert (LEFT_OUT in remarks_on(calls, example)) == is_left_out
