"""Calibration pictures with their channels at the other end: the refusal names the array and how to move them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.errors import UsageError
from chiralize.problem.readings.derive import derive

MAPS = "{{skeleton: coco, inputs: [{}], outputs: ['b j h ~w']}}"


class Maps(nn.Module):
    """Pictures "b 3 h w", or "b h w 3", and perhaps a second one beside them, to maps."""

    def __init__(self, is_last: bool = False) -> None:
        super().__init__()
        self.conv, self.is_last = nn.Conv2d(3, 17, 3, padding=1), is_last

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        maps = self.conv(x.permute(0, 3, 1, 2) if self.is_last else x)
        return maps if weight is None else maps * weight


def refusal(net: nn.Module, inputs: str, samples: dict[str, Tensor]) -> UsageError:
    spec = parse_spec(MAPS.format(inputs))
    with pytest.raises(UsageError) as caught:
        derive(net.eval(), spec, torch.float32, "forward", "net", "--input-shape", samples=samples)
    return caught.value


def test_channels_that_are_last() -> None:
    error = refusal(Maps(), "'b c h ~w'", {"": torch.randn(6, 16, 16, 3)})
    assert error.facts.endswith("the array of the calibration inputs has its channels last, 1,16,16,3 a sample")
    assert error.remedy == "move them, x.transpose(0, 3, 1, 2), so that a sample is 1,3,16,16"


def test_channels_that_are_first() -> None:
    error = refusal(Maps(is_last=True), "'b h ~w c'", {"": torch.randn(6, 3, 16, 20)})
    assert error.facts.endswith("has its channels first, 1,3,16,20 a sample")
    assert error.remedy == "move them, x.transpose(0, 2, 3, 1), so that a sample is 1,16,20,3"


def test_the_array_is_named_among_several() -> None:
    samples = {"weight": torch.rand(6, 1, 16, 16), "x": torch.randn(6, 16, 16, 3)}
    error = refusal(Maps(), "{name: x, layout: b c h ~w}, {name: weight, layout: b c h ~w}", samples)
    assert "'x' of the calibration inputs has its channels last" in error.facts


def test_pictures_that_fit_in_no_order_are_not_blamed_on_it() -> None:
    assert "channels last" not in refusal(Maps(), "'b c h ~w'", {"": torch.randn(6, 16, 16, 4)}).facts
