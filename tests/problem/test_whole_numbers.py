"""Networks one of whose inputs takes whole numbers: time steps, classes, actions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.errors import ModelRunError, UsageError
from chiralize.problem.data.examples import examples_for, some_samples
from chiralize.problem.preparation import WHOLE_NUMBERS, prepare

SPEC = parse_spec("{skeleton: h36m, inputs: [{layout: 'b j d'}, {free: true}], outputs: [{layout: 'b j d'}]}")


class Denoiser(nn.Module):
    """Noisy poses and how noisy they are."""

    def __init__(self) -> None:
        super().__init__()
        self.steps, self.read, self.write = nn.Embedding(50, 8), nn.Linear(51, 8), nn.Linear(8, 51)

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        """Poses with less noise."""
        return self.write(torch.relu(self.read(x.flatten(1)) + self.steps(timesteps))).view(-1, 17, 3)


def test_the_users_samples_are_the_example(tmp_path: Path) -> None:
    steps = np.arange(40, 46)
    np.savez(tmp_path / "cal.npz", timesteps=steps, x=np.ones((6, 17, 3)))
    found = examples_for(Denoiser(), SPEC, "net", samples=some_samples(tmp_path / "cal.npz"))
    (x, first), named = found.call
    assert first.tolist() == [40] and x.shape == (1, 17, 3) and x.dtype == torch.float32
    assert not named and found.is_open and not found.remark


def test_without_them_the_message_says_which_option_brings_them() -> None:
    with pytest.raises(UsageError, match="Long, Int") as caught:
        examples_for(Denoiser(), SPEC, "net")
    assert caught.value.remedy == WHOLE_NUMBERS
    with pytest.raises(ModelRunError, match="Long, Int") as failed:
        prepare(Denoiser(), SPEC, (torch.ones(2, 17, 3), torch.ones(2)))
    assert failed.value.remedy == WHOLE_NUMBERS
