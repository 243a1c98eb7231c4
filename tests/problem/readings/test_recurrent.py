"""Recurrent layers are tried by their sizes, and not step by step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import load_spec
from chiralize.errors import UsageError
from chiralize.graph import while_capturing
from chiralize.problem.readings.derive import derive
from chiralize.problem.readings.trial import Trial


class Next(nn.Module):
    """The next rotations of 21 joints, four numbers each, and a state. The layer is called without torch's checks."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.write = nn.GRU(84, 16, 2, batch_first=True), nn.Linear(16, 84)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of every frame."""
        start = x.new_zeros(2, len(x), 16)
        weights = [weight for layer in self.rnn.all_weights for weight in layer]
        y, state = torch.gru(x, start, weights, True, 2, 0.0, False, False, True)
        return self.write(y), state


def one(tensors: Any) -> Any:
    return tuple(tensors), {}


def test_they_are_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = list[tuple[int, ...]]()
    shapes_alone = while_capturing._shapes_alone

    def noted(layer: Any, given: Tensor, *rest: Any) -> Any:
        tried.append(tuple(given.shape))
        return shapes_alone(lambda *_: pytest.fail("taken apart"), given, *rest)

    monkeypatch.setattr(while_capturing, "_shapes_alone", noted)
    trial = Trial(Next().eval(), torch.float32)
    assert trial.answers(((1, 9, 84),), one) == [(1, 9, 84), (2, 1, 16)] and tried == [(1, 9, 84)]


def test_sizes_that_they_do_not_take_are_refused() -> None:
    trial = Trial(Next().eval(), torch.float32)
    assert trial.answers(((1, 9, 63),), one) is None and trial.answers(((3, 2, 84),), one) == [(3, 2, 84), (2, 3, 16)]


def test_what_answers_as_much_as_it_reads_is_no_recogniser() -> None:
    with pytest.raises(UsageError, match="4 numbers of every joint") as caught:
        derive(Next().eval(), load_spec("smplx-body-21"), torch.float32, "forward", "net", "--input-shape", command="c")
    assert caught.value.remedy.startswith("say so in a file") and "kind: quaternion" in caught.value.remedy
