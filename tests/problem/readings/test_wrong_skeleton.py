"""A skeleton that is not the network's: what is advised can work."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import load_spec
from chiralize.errors import UsageError
from chiralize.problem.readings.derive import derive


class Flat(nn.Module):
    """A lifter of flat poses, of another body than h36m, or a classifier of one of h36m."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def _remedy(width: int, out: int, samples: Tensor) -> str:
    with pytest.raises(UsageError) as caught:
        derive(
            Flat(width, out),
            load_spec("h36m"),
            torch.float32,
            "forward",
            "net",
            "--input-shape",
            command="chiralize convert net.pth --skeleton h36m",
            samples={"x": samples},
        )
    return caught.value.remedy


def test_an_input_that_does_not_fit_is_no_matter_of_scores() -> None:
    remedy = _remedy(266, 399, torch.zeros(9, 266))
    assert "--invariant" not in remedy
    assert remedy.startswith("check the skeleton (266 = 133 x 2: coco-wholebody")


def test_answers_that_do_not_fit_may_be_scores() -> None:
    assert "--skeleton h36m --invariant" in _remedy(34, 21, torch.zeros(9, 34))
