"""States that a network returns and never reads: they hide nothing of its answers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec, resolve
from chiralize.errors import MirrorError
from chiralize.symmetry.action import act

BODY = "joints: [neck, l_hip, r_hip, l_knee, r_knee, l_foot, r_foot]\npairs: [[l_hip, r_hip], [l_knee, r_knee]{}]\n"
RIGHT, WRONG = BODY.format(", [l_foot, r_foot]"), BODY.format("") + "center: [neck, l_foot, r_foot]\n"
TENSORS = "inputs: [b t j d]\noutputs: [b t j d, {state: true}, {state: true}]\n"


class Recurrent(nn.Module):
    """An LSTM over frames that knows both sides, and returns where it ended."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lstm, self.last = nn.LSTM(21, 16, batch_first=True), nn.Linear(16, 21)
        for weight in self.parameters():
            weight.data = torch.randn_like(weight) ** 3 / 2
        (on_poses,) = resolve(parse_spec(RIGHT + "inputs: [b t j d]"), [(1, 4, 7, 3)], []).inputs
        assert on_poses is not None
        self.on_poses = on_poses

    def one_view(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Frames in, frames and the last states out."""
        hidden, states = self.lstm(x.flatten(2))
        return self.last(hidden).unflatten(2, (7, 3)), states

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(t(x) + T t(T x)) / 2, and the states of the first view."""
        plain, states = self.one_view(x)
        return (plain + act(self.one_view(act(x, self.on_poses))[0], self.on_poses)) / 2, states


def clips() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(300, 4, 7, 3, generator=generator) ** 3 * torch.linspace(0.5, 2, 3) - 0.2


def test_another_mirror_is_refused() -> None:
    x = clips()
    with pytest.raises(MirrorError) as caught:
        chiralize.chiralize(Recurrent(), parse_spec(WRONG + TENSORS), (x[:2],), calibration=x, method="average")
    assert "with the swaps that the names tell (" in str(caught.value)


def test_the_right_one_is_confirmed_and_measured_on_real_inputs() -> None:
    x = clips()
    net = chiralize.chiralize(Recurrent(), parse_spec(RIGHT + TENSORS), (x[:2],), calibration=x, method="average")
    report = chiralize.chirality(net).report
    assert report is not None
    assert "no real inputs" not in report.to_text() and "the network was not asked" not in report.to_text()
