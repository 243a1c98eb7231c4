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
from chiralize.problem.data.inputs import calls_from

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
