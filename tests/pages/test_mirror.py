"""The page on T in one's own code: its examples run, one after the other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.accuracy.networks import PlainLifter

PAGE = (Path(__file__).parents[2] / "docs/mirror.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore")
def test_examples_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 4 and sum(block.count("assert ") for block in blocks) == 4
    names: dict[str, Any] = {"net": PlainLifter(16, 1, torch.nn.ReLU).eval()}
    for block in blocks:
        exec(block, names)
    inputs, targets = next(iter(names["loader"]))
    assert inputs.shape == (16, 17, 2) and targets.shape == (16, 17, 3)
    assert names["inputs"].shape == (17, 2)  # of the one sample
    assert torch.equal(names["image"][:, 0, 0], -names["poses"][:, 0, 0])
