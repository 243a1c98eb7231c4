"""`auto` and networks that answer with maps: peaks that lean to one side stop it, maps that merely differ do not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import load_spec
from chiralize.commands.one_sided import refuse_one_sided
from chiralize.errors import OneSidedError
from chiralize.graph.mirror import MirrorFit
from chiralize.methods.registry import method_of
from chiralize.problem.mirror import mirror_of
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.problem.problem import Problem
from chiralize.problem.request import Request
from chiralize.verification.asymmetry.peaks import PeakGap, peak_gap, peaks
from chiralize.verification.verdicts import Evidence
from tests.commands.test_pictures import MAPS, SWAPPED

WIDTH, ROWS, CELLS = 48, 32, 12
CONFIRMED = Evidence(fit=MirrorFit(0.6, real=True))
GENERATOR = torch.Generator().manual_seed(0)
PLACES = 8 + 32 * torch.rand(240, 17, generator=GENERATOR)
"""Where every joint is, in columns."""


class Drawn(nn.Module):
    """Reads a picture's number off its corner, and answers with spots of its joints, as a trained network would.

    off: of every cell, in columns; 0 of maps whose cell i is pixel 4 i, which are three quarters of a cell off.
    bias: by how many columns peaks are moved to the right, for each joint.  height: of the spots of mirrored pictures.
    """

    places: Tensor
    bias: Tensor

    def __init__(self, off: float = 1.5, bias: float = 0.0, height: float = 1.0) -> None:
        super().__init__()
        signs = torch.tensor([1.0, *[-1.0, -1.0, 1.0, 1.0] * 4])
        self.off, self.height = off, height
        self.register_buffer("places", PLACES)
        self.register_buffer("bias", bias * signs)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures "b 3 32 48" to maps "b 17 8 12"."""
        number, mark = pictures[:, 0, 0, 0], pictures[:, 0, 0, -1]
        is_turned = (mark > number)[:, None]
        places = self.places[torch.maximum(number, mark).long()]
        places = torch.where(is_turned, (WIDTH - 1 - places)[:, SWAPPED], places) + self.bias
        cells = 4 * torch.arange(CELLS) + self.off
        across = torch.exp(-((cells - places[..., None]) / 4).square() / 2)
        down = torch.exp(-(torch.arange(ROWS / 4) - 3.5).square() / 2)
        maps = down[:, None] * across[:, :, None]
        return torch.where(is_turned[..., None, None], self.height * maps, maps)


def network(net: nn.Module) -> tuple[Network, Problem]:
    pictures = torch.zeros(240, 3, ROWS, WIDTH)
    pictures[:, 0, 0, 0] = torch.arange(240.0)
    prepared = prepare(net.eval(), load_spec(MAPS), (pictures[-2:],))
    calls = [((part,), {}) for part in pictures.split(40)]
    return prepared, Problem.of(prepared, Request("auto", calibration=calls), method_of("auto"))


def peak_gap_of(net: nn.Module) -> PeakGap:
    prepared, problem = network(net)
    measured = peak_gap(net, mirror_of(prepared, None), problem.batches.given, prepared.resolved)
    assert measured is not None
    return measured


def test_peaks_lie_between_cells() -> None:
    maps = torch.randn(2, 3, 5, 6, 7)
    for place, (row, column) in enumerate([(2.3, 4.4), (0.0, 6.0)]):
        spot = torch.exp(-(torch.arange(6.0)[:, None] - row).square() / 2 - (torch.arange(7.0) - column).square() / 2)
        maps[place, 1, 3] = 10 * spot
    found = peaks(maps)
    assert found.shape == (2, 3, 3)
    assert torch.allclose(found[0, 1, 1:], torch.tensor([2.3, 4.4], dtype=torch.float64), atol=0.05)
    assert found[1, 1].tolist() == [3.0, 0.0, 6.0] or abs(found[1, 1, 0] - 3) < 0.5


def test_spots_of_unlike_height_stop_nothing() -> None:
    net = Drawn(height=0.5)
    measured = peak_gap_of(net)
    assert measured.lean < 0.05 and not measured.is_one_sided
    refuse_one_sided(network(net)[1], "net", CONFIRMED)


def test_peaks_that_lean_stop_auto() -> None:
    net = Drawn(bias=6.0)
    assert peak_gap_of(net).lean > 0.5
    with pytest.raises(OneSidedError, match="unlike places .* knows one side better") as caught:
        refuse_one_sided(network(net)[1], "net", CONFIRMED)
    assert "mirrored copies" in caught.value.remedy


def test_maps_that_are_off_stop_auto_and_are_named() -> None:
    with pytest.raises(OneSidedError, match="the turned maps are off by 0.7") as caught:
        refuse_one_sided(network(Drawn(off=0.0))[1], "net", CONFIRMED)
    assert "--align resample" in caught.value.remedy


def test_a_view_whose_peaks_stay_in_the_middle_is_one_sided() -> None:
    assert PeakGap(0.6, 0.0, 1.0, unlike=True).is_one_sided and not PeakGap(0.6, 0.0, 1.0).is_one_sided


def test_other_outputs_are_judged_as_they_were() -> None:
    poses = nn.Sequential(nn.Flatten(), nn.Linear(34, 34), nn.Unflatten(1, (17, 2))).eval()
    prepared = prepare(poses, load_spec("coco"), (torch.randn(2, 17, 2),))
    assert peak_gap(poses, mirror_of(prepared, None), [((torch.randn(2, 17, 2),), {})], prepared.resolved) is None
