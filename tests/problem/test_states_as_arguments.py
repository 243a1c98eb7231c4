"""Networks that take their states as arguments: sizes and sequences that say nothing of these, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.errors import DataFileError, ModelRunError
from chiralize.problem.data.examples import examples_for
from chiralize.problem.data.sequences import Reading, sequences_in, sequences_of
from chiralize.problem.preparation import prepare

SPEC = parse_spec("""\
joints: [hip, l_arm, r_arm, head]
pairs: [[l_arm, r_arm]]
dims: [x, y, z]
inputs: [{layout: "b t (j d)"}, {state: true}, {state: true}]
outputs: [{layout: "b t (j d)"}, {state: true}, {state: true}]
""")


class Along(nn.Module):
    """A recurrent layer over some frames, which goes on from the states that it is given."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.out = nn.LSTM(12, 7, batch_first=True), nn.Linear(7, 12)

    def forward(self, x: Tensor, h0: Tensor, c0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, (h, c) = self.rnn(x, (h0, c0))
        return self.out(y), h, c


def sizes(**given: Any) -> list[tuple[int, ...]]:
    examples = examples_for(Along().eval(), SPEC, "net", **given)
    return [tuple(tensor.shape) for tensor in examples.call[0]]


def test_sizes_of_states_are_added_to_those_of_the_inputs() -> None:
    assert sizes(shapes=["1,5,12"]) == [(1, 5, 12), (1, 1, 7), (1, 1, 7)]
    assert sizes(shapes=["1,5,12", "1,1,7", "1,1,7"]) == [(1, 5, 12), (1, 1, 7), (1, 1, 7)]


def test_sequences_show_what_one_call_reads() -> None:
    """(sequence, time, frames, numbers), beside a state that has another name."""
    offered = {"x": torch.randn(20, 3, 5, 12), "h": torch.zeros(20, 3, 1, 7)}
    assert sizes(samples=offered)[0] == (1, 5, 12)
    assert sizes(samples={"x": torch.randn(20, 15, 12)})[0] == (1, 15, 12)


def test_arguments_that_are_left_out_are_asked_for_by_name() -> None:
    net = Along().eval()
    with pytest.raises(ModelRunError, match=r"--input-shape x=2,5,12 --input-shape h0=SIZES --input-shape c0=SIZES"):
        prepare(net, SPEC, (torch.zeros(2, 5, 12),))


def reading(frames: int) -> Reading:
    example = (torch.zeros(1, frames, 12), torch.zeros(1, 1, 7), torch.zeros(1, 1, 7))
    return Reading((example, {}), (0,), ("x",), True, axis=1, hands_on=True)


def test_arrays_that_are_no_inputs_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "walks.npz", x=np.zeros((4, 3, 5, 12)), h=np.zeros((4, 3, 1, 7)))
    with pytest.raises(DataFileError, match=r"'h' is no input that a call reads along a sequence: those are x"):
        sequences_in(tmp_path / "walks.npz", replace(reading(5), axis=None))


def test_calls_that_read_whole_sequences_are_refused() -> None:
    walks = np.zeros((4, 15, 12))
    with pytest.raises(DataFileError, match=r"one call reads all 15 frames .*\n.*--input-shape 1,5,12"):
        sequences_of(walks, reading(15), "walks")
    assert [len(steps) for steps in sequences_of(walks, reading(5), "walks")] == [3] * 4
    assert len(sequences_of(walks, replace(reading(15), hands_on=False), "walks")) == 4
