"""Calibration data as sequences: which arrays are some, how they are cut into calls, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chiralize.errors import DataFileError
from chiralize.graph.rollouts import Steps
from chiralize.problem.data.sequences import Reading, sequences_in, sequences_of


def reading(
    *shapes: tuple[int, ...], rows: bool = True, axis: int | None = None, names: tuple[str, ...] = ()
) -> Reading:
    """What a network with these inputs reads in one call."""
    example = (tuple(torch.zeros(shape) for shape in shapes), {})
    return Reading(example, tuple(range(len(shapes))), names or ("",) * len(shapes), rows, axis)


def numbers(*shape: int) -> np.ndarray:
    return np.arange(float(np.prod(shape))).reshape(shape)


def observed(sequences: list[Steps], place: int = 0) -> list[list[list[float]]]:
    """The numbers of one input, by sequence and step."""
    return [[call[0][place].flatten().tolist() for call in steps] for steps in sequences]


def test_one_array() -> None:
    """`sequence time entry`: a step is a call with a batch of one."""
    found = sequences_of(numbers(2, 3, 4), reading((1, 4)), "x")
    assert observed(found) == numbers(2, 3, 4).tolist()
    assert found[0][0][0][0].shape == (1, 4) and found[0][0][0][0].dtype == torch.float32


def test_time_first() -> None:
    found = sequences_of(numbers(3, 2, 4), reading((1, 4), axis=0), "x")
    assert observed(found) == numbers(3, 2, 4).swapaxes(0, 1).tolist()


def test_time_first_that_nobody_said() -> None:
    """Walks are smooth along time alone: that is asked, unless it is said which axis is time, or none is smooth."""
    walks = np.random.default_rng(0).normal(size=(20, 30, 4)).cumsum(1)
    walks -= walks.mean(1, keepdims=True)
    assert len(sequences_of(walks, reading((1, 4)), "x")) == 20
    with pytest.raises(DataFileError, match=r"(?s)the first axis of \(30, 20, 4\).*--sequence-axis 0"):
        sequences_of(walks.swapaxes(0, 1), reading((1, 4)), "x")
    assert len(sequences_of(walks.swapaxes(0, 1), reading((1, 4), axis=0), "x")) == 20
    assert len(sequences_of(walks.swapaxes(0, 1), reading((1, 4), axis=1), "x")) == 30
    assert len(sequences_of(np.random.default_rng(0).normal(size=(30, 20, 4)), reading((1, 4)), "x")) == 30


def test_several_at_once() -> None:
    """A call of two robots runs two sequences, cut to the shorter; a third that is left over is not run."""
    found = sequences_of([numbers(5, 4), numbers(3, 4), numbers(9, 4)], reading((2, 4)), "x")
    assert [len(steps) for steps in found] == [3]
    assert found[0][1][0][0].tolist() == [numbers(5, 4)[1].tolist(), numbers(3, 4)[1].tolist()]


def test_no_more_than_200_steps() -> None:
    assert [len(steps) for steps in sequences_of(numbers(1, 300, 4), reading((1, 4)), "x")] == [200]


def test_frames_of_one_call() -> None:
    """Time is an axis of the network's own: a call eats as many frames as the example has."""
    found = sequences_of(numbers(2, 7, 4), reading((1, 3, 4), axis=1), "x")
    assert [len(steps) for steps in found] == [2, 2]
    assert found[1][1][0][0].tolist() == numbers(2, 7, 4)[1:, 3:6].tolist()


def test_one_number_a_step() -> None:
    """Such as the number of a word: "sequence time"."""
    assert observed(sequences_of(numbers(2, 3), reading((1,)), "x")) == numbers(2, 3)[..., None].tolist()


def test_without_a_batch() -> None:
    assert observed(sequences_of(numbers(3, 4), reading((4,), rows=False), "x")) == [numbers(3, 4).tolist()]


@pytest.mark.parametrize(
    "data",
    [numbers(5, 4), {"x": numbers(5, 4)}, [], iter([1]), "walks", [1, 2]],
    ids=["samples", "by name", "nothing", "an iterator", "text", "numbers"],
)
def test_what_is_no_sequence(data: Any) -> None:
    assert sequences_of(data, reading((1, 4)), "x") == []


def test_files(tmp_path: Path) -> None:
    """Arrays by name; in order; of one input, one for every sequence."""
    two = reading((1, 4), (1, 2), names=("pose", "command"))
    np.savez(tmp_path / "named.npz", command=numbers(2, 3, 2), pose=numbers(2, 3, 4))
    found = sequences_in(tmp_path / "named.npz", two)
    assert observed(found) == numbers(2, 3, 4).tolist() and observed(found, 1) == numbers(2, 3, 2).tolist()
    np.savez(tmp_path / "half.npz", command=numbers(2, 3, 2))
    found = sequences_in(tmp_path / "half.npz", two)
    assert observed(found, 1) == numbers(2, 3, 2).tolist() and not any(map(any, observed(found)[0]))
    np.savez(tmp_path / "ordered.npz", a=numbers(2, 3, 4), b=numbers(2, 3, 2))
    assert observed(sequences_in(tmp_path / "ordered.npz", two), 1) == numbers(2, 3, 2).tolist()
    np.savez(tmp_path / "many.npz", a=numbers(3, 4), b=numbers(5, 4))
    assert [len(steps) for steps in sequences_in(tmp_path / "many.npz", reading((1, 4)))] == [3, 5]
    np.save(tmp_path / "samples.npy", numbers(5, 4))
    assert sequences_in(tmp_path / "samples.npy", reading((1, 4))) == []


ORDER = (
    "put the axes in this order, or say where time is: --sequence-axis; where one call reads another size than (4), "
    "say it: --input-shape, or example_inputs"
)
REFUSED: dict[str, tuple[Any, Reading, str, str]] = {
    "an array of other axes": (
        numbers(2, 3, 5, 4), reading((1, 4)),
        "an array of sequences has shape (2, 3, 5, 4), (sequence, time, 4) is expected", ORDER,
    ),
    "an axis that is not there": (
        numbers(2, 3, 4), reading((1, 4), axis=4),
        "an array of sequences has shape (2, 3, 4), (sequence, time, 4) is expected with time along axis 4", ORDER,
    ),
    "a list of other axes": (
        [numbers(2, 3, 4)], reading((1, 4)),
        "an array of sequences has shape (2, 3, 4), (time, 4) is expected", ORDER,
    ),
    "other numbers of inputs": (
        [[numbers(3, 4)], [numbers(3, 4), numbers(3, 2)]], reading((1, 4), (1, 2)),
        "sequences have different numbers of inputs", "give the same inputs in all of them",
    ),
    "lengths that differ": (
        [[numbers(3, 4), numbers(2, 2)]], reading((1, 4), (1, 2)),
        "the inputs of sequence 0 have different lengths (2, 3)", "give every input at every step",
    ),
    "no step": ([numbers(3, 4), numbers(0, 4)], reading((1, 4)), "sequence 1 has no step", "leave it out"),
    "too short": (
        numbers(1, 2, 4), reading((1, 3, 4), axis=1),
        "sequence 0 is too short", "one call reads 3 frames: give as many or more",
    ),
    "another size": (
        numbers(2, 3, 5), reading((1, 4)),
        "one step of a sequence has shape (5,), one call of the model reads (4,)",
        "give sequences of what the model reads in one call",
    ),
    "too few for a call": (
        numbers(2, 3, 4), reading((4, 4)),
        "2 sequences, one call of the model takes 4", "give more, or an example with a smaller batch",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    data, expected, facts, remedy = REFUSED[name]
    with pytest.raises(DataFileError) as raised:
        sequences_of(data, expected, "calibration")
    error = raised.value
    assert (error.where, error.facts, error.remedy, error.code) == ("calibration", facts, remedy, "CH204")


def test_inputs_with_other_numbers_of_sequences(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=numbers(2, 3, 4), b=numbers(5, 3, 2))
    with pytest.raises(DataFileError) as raised:
        sequences_in(tmp_path / "x.npz", reading((1, 4), (1, 2)))
    assert raised.value.facts == "the inputs have different numbers of sequences (2, 5)"
    assert raised.value.remedy == "give equally many"
