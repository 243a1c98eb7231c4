"""The shift of turned maps: known ones are found to a twentieth of a cell, and where there is none nothing is said."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize import audit
from chiralize.body.tensors import parse_spec
from chiralize.commands import audit as commands
from chiralize.graph.passes.alignment.offsets import cells_of
from chiralize.graph.passes.alignment.windows import windows
from chiralize.infer.capture import capture
from chiralize.infer.registry import traits
from chiralize.report import AuditReport, to_html
from chiralize.verification.asymmetry.grids import Array, Products
from chiralize.verification.asymmetry.records import Alignment
from tests.support.command import scrambled
from tests.support.small_body import BODY, IMAGE, Net, normal

MAPS = {"skeleton": "coco", "inputs": ["b c h ~w"], "outputs": [{"layout": "b j h ~w"}]}
SWAPPED = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]


class Labelled(nn.Module):
    """Maps of smooth spots whose cell i answers for pixel 4 i + `first`, as a trained network does by its labels."""

    across: Tensor
    random: Tensor

    def __init__(self, first: float, noise: float = 0.0, flat: str = "", columns: int = 48) -> None:
        super().__init__()
        self.noise, self.flat = noise, flat
        cells = (columns + 3) // 4
        places = 4 * torch.arange(float(cells)) + first
        spots = torch.exp(-((torch.arange(float(columns))[:, None] - places).square()) / (2 * 4.0**2))
        self.register_buffer("across", spots / spots.sum(0).clamp(min=4.0))
        self.register_buffer("random", normal(3 * columns, 17 * cells).float() / 12)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures "b 3 32 48" to maps "b 17 8 12"."""
        rows = pictures.unflatten(2, (8, 4)).mean(3)
        maps = (rows.mean(1, keepdim=True) @ self.across).expand(-1, 17, -1, -1)
        if self.flat == "constant":
            return 0 * maps + 1
        if self.flat == "wide":
            return 0 * maps + maps.mean(-1, keepdim=True)
        noise = (rows.movedim(1, 2).flatten(2) @ self.random).unflatten(2, (17, -1)).movedim(2, 1)
        return maps + self.noise * noise


def pictures(count: int = 32) -> Tensor:
    return normal(count, 3, 32, 48).float()


def aligned(net: nn.Module, spec: Any = MAPS, data: Tensor | None = None) -> tuple[AuditReport, Alignment]:
    data = pictures() if data is None else data
    report = audit(net, spec, (data[:2],), calibration=data)
    return report, report.alignments[0]


@pytest.mark.one_in(4)
@pytest.mark.parametrize("first", [0.0, 1.5, 2.5])
def test_a_known_shift_is_found(first: float) -> None:
    """Pixel 4 i + f and its mirror image 47 - (4 (11 - i) + f) are (3 - 2 f) / 4 cells apart."""
    report, alignment = aligned(Labelled(first))
    expected = (3 - 2 * first) / 4
    assert alignment.shift == pytest.approx(expected, abs=0.05)
    assert alignment.is_aligned == (expected == 0)
    assert ("the turned maps are off by 0.7" in report.to_text()) == (first == 0)


def test_what_the_report_says() -> None:
    report, alignment = aligned(Labelled(0.0))
    text, written = report.to_text(), json.loads(report.to_json())["alignments"][0]
    for words in (
        "a flip test aligned there would average",
        "labels put cell i",
        "mirror: {w: 6}",
        "--align resample=0.7",
    ):
        assert words in text
    assert written["center"] == 6 and written["shift"] == alignment.shift and written["labels"] == 0.75
    assert [figure.shift for figure in alignment.figures] == [0.0, alignment.shift, 1.0]
    gaps = [figure.gap for figure in alignment.figures]
    assert gaps[1] < gaps[2] < gaps[0] and gaps[1] < 0.1
    assert to_html(report).count("<polyline") == 5


def test_a_shift_that_the_specification_states_is_none() -> None:
    """One cell to the right, `mirror: {w: 6}`: cells that are labelled a pixel and a half to the left."""
    stated = {**MAPS, "outputs": [{"layout": "b j h w", "mirror": {"w": 6}}]}
    _, alignment = aligned(Labelled(-0.5), stated)
    assert alignment.stated == 1 and alignment.shift == pytest.approx(1.0, abs=0.05) and alignment.is_aligned


@pytest.mark.thorough
def test_noise_moves_the_shift_no_further_than_its_error_says() -> None:
    _, alignment = aligned(Labelled(0.0, noise=0.02), data=pictures(96))
    assert alignment.shift == pytest.approx(0.75, abs=0.05) and (alignment.error or 1.0) < 0.02


@pytest.mark.parametrize("shift", [0.4, -1.3])
def test_noise_of_each_view_has_no_say(shift: float) -> None:
    generator, cells = torch.Generator().manual_seed(0), torch.arange(16.0)
    middles = 8 + 2 * torch.randn(400, 1, 1, generator=generator)
    views: list[Array] = []
    for at in (middles, middles - shift):
        noise = torch.randn(400, 1, 16, generator=generator)
        views.append((torch.exp(-((cells - at).square()) / 2) + 0.3 * noise).double().numpy())
    assert Products.of(*views).best(2.0, 2) == pytest.approx(shift, abs=0.05)


@pytest.mark.one_in(2)
@pytest.mark.parametrize(
    ("net", "why"),
    [
        (Labelled(0.0, flat="constant"), "do not change from picture to picture"),
        (Labelled(0.0, flat="wide"), "hardly change from one column"),
        (Labelled(0.0, noise=50.0), "no shift brings the two views together"),
    ],
)
def test_where_nothing_can_be_told(net: nn.Module, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "refuse_constant", lambda *_: None)  # maps beside others may not change either
    report, alignment = aligned(net)
    assert alignment.shift is None and why in alignment.why
    assert why in report.to_text() and "--align" not in report.to_text()


@pytest.mark.thorough
def test_random_inputs_and_other_networks_tell_nothing() -> None:
    report = audit(Labelled(0.0), MAPS, (pictures(2),))
    assert report.alignments == () and "measured on real pictures" in report.to_text()
    poses = Net(
        lambda own, x: own.down(own.up(x.flatten(1)).relu()).view(-1, 6, 2), up=nn.Linear(12, 8), down=nn.Linear(8, 12)
    )
    text = f"{BODY}inputs: [{{layout: 'b j d'}}]\noutputs: [{{layout: 'b j d'}}]\n"
    data = normal(64, len(IMAGE), 2).float()
    assert audit(poses, parse_spec(text), (data[:2],), calibration=data).alignments == ()


class Strided(nn.Module):
    """A usual trunk with kernels that are their own mirror image, and left and right joints with the same weights."""

    def __init__(self, up: int = 4) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.body = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1, bias=False), nn.ReLU())
        self.up = nn.ConvTranspose2d(12, 17, up, 2, 1, output_padding=up % 2)
        scrambled(self)
        with torch.no_grad():
            for weight in (parameter for parameter in self.parameters() if parameter.ndim == 4):
                taps = torch.hann_window(weight.shape[-1] + 2, periodic=False)[1:-1]
                weight.copy_(weight.mean((2, 3), keepdim=True) * taps * taps[:, None])
            for mixed in (self.up.weight.movedim(1, 0), self.up.get_parameter("bias")):
                mixed += mixed[SWAPPED]

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures "b 3 h w" to maps "b 17 h/4 w/4"."""
        return self.up(self.body(self.stem(pictures)))


@pytest.mark.thorough
@pytest.mark.parametrize(("up", "shift"), [(4, 1.75), (3, 0.75)])
def test_the_shift_that_strides_make(up: int, shift: float) -> None:
    """The stem, the pool and the body answer at columns 2 i, 4 i and 8 i, an even transposed layer at 4 i - 2."""
    net = Strided(up).eval()
    smooth = nn.functional.avg_pool2d(normal(24, 3, 48, 112).float(), (17, 17), 1, 8) * 17
    report, alignment = aligned(net, MAPS, smooth)
    assert alignment.explanations.layers == shift
    assert alignment.shift == pytest.approx(shift, abs=0.08)
    assert "by their strides and paddings the layers move them" in report.to_text()


def test_windows_of_a_graph() -> None:
    net = Strided().eval()
    example = torch.randn(1, 3, 32, 48)
    graph = capture(torch.export.export(net, (example,)), (example,), {})
    found = list(windows(graph, 4, 3, traits()))
    assert [window.kind for window in found] == ["convolution", "pooling", "convolution", "transposed"]
    assert [window.excess for window in found] == [1, 1, 1, 0]
    assert cells_of(graph, str(graph.inputs[0]), 3, traits())[str(graph.outputs[0])].start == -2
