"""Arrays of a file for arguments that go by their names alone, and frames that are told from samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.problem.data.examples import examples_for
from chiralize.problem.mirror import depth_of
from chiralize.problem.preparation import prepare
from tests.support.small_body import POSE


class ByName(nn.Module):
    """Its speed goes by name alone."""

    def forward(self, pose: Tensor, turn: Tensor, *, speed: Tensor, height: Tensor | None = None) -> Tensor:
        return pose * speed[:, None] + turn[:, None]


def saved(folder: Path, names: Sequence[str]) -> Path:
    """Two samples of arrays, which are told by their sizes."""
    sizes = {"pose": (2, 5, 2), "turn": (2, 2), "speed": (2, 1)}
    arrays = dict(zip(names, (np.ones(size, np.float32) for size in sizes.values()), strict=False))
    np.savez(folder / "example.npz", **{name: arrays[name] for name in names if name in arrays})
    return folder / "example.npz"


@pytest.mark.parametrize("names", [("pose", "turn", "speed"), ("a", "b", "c")])
def test_arrays_go_to_arguments_by_name(names: Sequence[str], tmp_path: Path) -> None:
    """By their names where these are the arguments', else in order: the last of them is none that may be in order."""
    args, kwargs = examples_for(ByName(), parse_spec(POSE), "net", example=saved(tmp_path, names)).call
    assert [tuple(tensor.shape) for tensor in args] == [(1, 5, 2), (1, 2)]
    assert {name: tuple(tensor.shape) for name, tensor in kwargs.items()} == {"speed": (1, 1)}
    assert ByName()(*args, **kwargs).shape == (1, 5, 2)


@pytest.mark.parametrize("batch_first", [True, False])
def test_depth_counts_frames_and_no_samples(batch_first: bool) -> None:
    """Rounding adds up along the frames: 64 samples beside each other need no wider bound than 2."""

    class Read(nn.Module):
        """A recurrent layer over frames."""

        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(12, 12, num_layers=2, batch_first=batch_first)

        def forward(self, x: Tensor) -> Tensor:
            return self.gru(x)[0]

    layout = "b t (j d)" if batch_first else "t b (j d)"
    spec = parse_spec(POSE.replace('layout: "b j d"', f'layout: "{layout}"'))
    depths: list[int] = []
    for samples in (2, 64):
        x = torch.randn((samples, 7, 12) if batch_first else (7, samples, 12))
        depths.append(depth_of(prepare(Read().eval(), spec, (x,)).captured))
    assert depths[0] == depths[1] and 14 <= depths[0] < 20
