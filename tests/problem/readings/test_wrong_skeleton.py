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


class Distances(nn.Module):
    """A recogniser of distances between joints, and of the joints where they are given."""

    def __init__(self) -> None:
        super().__init__()
        self.distances, self.poses = nn.Linear(105, 8), nn.Linear(34, 8)

    def forward(self, M: Tensor, P: Tensor | None = None) -> Tensor:  # noqa: N803 - names as in such networks
        assert P is not None
        return self.distances(M).mean(1) + self.poses(P.flatten(2)).mean(1)


def test_arrays_with_the_names_of_arguments_leave_only_what_they_are() -> None:
    samples = {"M": torch.rand(9, 32, 105), "P": torch.rand(9, 32, 17, 2)}
    with pytest.raises(UsageError) as caught:
        derive(Distances(), load_spec("h36m"), torch.float32, "forward", "net", "--input-shape", samples=samples)
    assert "(M 1,32,105, P 1,32,17,2) it runs, and nothing says what M is of h36m-17" in caught.value.facts
    assert caught.value.remedy.startswith(
        "describe M in a file: `inputs: [{name: M, fields: [...]}, {name: P, layout: "
    )


def test_answers_that_do_not_fit_may_be_scores() -> None:
    assert "--skeleton h36m --invariant" in _remedy(34, 21, torch.zeros(9, 34))
