"""Answers to sizes are remembered for each way to call the network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from chiralize.graph.running import Call
from chiralize.problem.readings.trial import Trial


def expanded(rows: int) -> Callable[..., Call]:
    return lambda tensors: ((tensors[0].expand(rows, 3),), {})


def test_a_way_that_is_gone_is_not_taken_for_a_later_one() -> None:
    """Python gives the id of a function that is gone to another one."""
    trial = Trial(nn.Identity(), torch.float32)
    assert [trial.answers(((1, 3),), expanded(rows)) for rows in range(1, 9)] == [[(rows, 3)] for rows in range(1, 9)]
