"""Networks that look at pictures: the average of both views is the flip test of their toolboxes, in one network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from chiralize import Mirror, chiralize, load, save, verify
from chiralize.cli.app import app
from chiralize.errors import NeverEquivariantError
from tests.support.command import scrambled

SWAPPED = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
MAPS = {"skeleton": "coco", "inputs": [{"layout": "b c h ~w"}], "outputs": [{"layout": "b j h ~w"}]}
SHIFTED = {**MAPS, "outputs": [{"layout": "b j h w", "mirror": {"w": 3}}]}


class Maps(nn.Module):
    """Maps of joints at a quarter of the picture, by a strided trunk and a deconvolution, as they are usual."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 6, 7, 2, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        self.body = nn.Sequential(nn.Conv2d(6, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.up = nn.Sequential(nn.ConvTranspose2d(8, 6, 4, 2, 1), nn.ReLU())
        self.head = nn.Conv2d(6, 17, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures "b 3 h w" to maps "b 17 h/4 w/4"."""
        return self.head(self.up(self.body(self.stem(pictures))))


def network() -> nn.Module:
    torch.manual_seed(0)
    return scrambled(Maps()).eval()


def flip_test(net: nn.Module, pictures: Tensor, shift: bool = False) -> Tensor:
    """As toolboxes compute it: the maps of the picture and those of its mirror image turned back, in the mean."""
    turned = net(pictures.flip(-1)).flip(-1)[:, SWAPPED]
    if shift:
        turned[..., 1:] = turned[..., :-1].clone()
    return (net(pictures) + turned) / 2


@pytest.mark.thorough
@pytest.mark.parametrize("shift", [False, True])
def test_the_average_is_the_flip_test(shift: bool) -> None:
    net, pictures = network().double(), torch.randn(3, 3, 32, 24, dtype=torch.float64)
    spec = SHIFTED if shift else MAPS
    chiral = chiralize(net, spec, example_inputs=(pictures[:1],), method="average")
    with torch.no_grad():
        wanted, answer = flip_test(net, pictures, shift), chiral(pictures)
    columns = slice(1, None) if shift else slice(None)  # the first one of a shifted map has no partner
    assert (answer - wanted)[..., columns].abs().max() <= 1e-12
    assert verify(chiral).passed


def test_a_stride_on_an_even_width_is_refused() -> None:
    """It reads the columns from one end, and no choice of weights makes up for it."""
    layer, network_of_them = "; 23 or 25 entries would do", "every layer fits at 17 or 25 columns in place of 24"
    with pytest.raises(NeverEquivariantError, match=f"read an axis of 24 entries.*{layer}\n.*{network_of_them}"):
        chiralize(network(), MAPS, example_inputs=(torch.randn(1, 3, 32, 24),), method="project")


class Residual(nn.Module):
    """Maps at a quarter of the picture, which every layer can give reversed where the width is 8 k + 1."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 5, 2, 2, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.depth = nn.Sequential(nn.Conv2d(6, 6, 3, 1, 1, groups=6), nn.Conv2d(6, 6, 1), nn.ReLU())
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.down, self.short = nn.Conv2d(6, 8, 3, 2, 1), nn.Conv2d(6, 8, 1, 2)
        self.up = nn.Sequential(nn.ConvTranspose2d(8, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU())
        self.head = nn.Conv2d(6, 17, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures "b 3 h w" to maps "b 17 h/4 w/4"."""
        x = self.stem(pictures)
        x = self.pool(x + self.depth(x))
        return self.head(self.up((self.down(x) + self.short(x)).relu()))


def residual() -> nn.Module:
    torch.manual_seed(0)
    return scrambled(Residual()).eval()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.one_in(4)
@pytest.mark.parametrize("method", ["project", "match", "reduce"])
def test_one_pass_is_equivariant_in_every_form(method: str, tmp_path: Path) -> None:
    net, pictures = residual(), torch.randn(2, 3, 9, 17)
    given = None if method == "project" else torch.randn(24, 3, 9, 17)
    options: dict[str, Any] = {} if given is None else {"calibration": given, "rounds": 0}
    chiral = chiralize(net, MAPS, example_inputs=(pictures,), method=method, force=True, samples=1, **options)
    verdict = verify(chiral, samples=2)
    assert verdict.passed
    save(chiral, tmp_path / "pose.pt2")
    save(chiral, tmp_path / "pose.onnx")
    again = load(tmp_path / "pose.pt2")
    with torch.no_grad():
        answer = chiral(pictures)
        turned = chiral(pictures.flip(-1)).flip(-1)[:, SWAPPED]
        assert (answer - turned).abs().max() <= 1e-5 * answer.abs().max()
        assert (answer - again(pictures)).abs().max() <= 1e-5 * answer.abs().max()
    session = onnxruntime.InferenceSession(tmp_path / "pose.onnx")
    of_onnx = session.run(None, {session.get_inputs()[0].name: pictures.numpy()})[0]
    assert np.abs(np.asarray(of_onnx) - answer.numpy()).max() <= 1e-4 * float(answer.abs().max())


class Halved(nn.Module):
    """A stem, a residual block, a stride and a deconvolution of four entries, with pairs everywhere inside."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1))
        self.down, self.up = nn.Conv2d(8, 16, 3, 2, 1), nn.ConvTranspose2d(16, 8, 4, 2, 1)
        self.head = nn.Conv2d(8, 17, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures "b 3 h w" to maps "b 17 h/2 w/2"."""
        x = self.stem(pictures)
        x = torch.relu(x + self.block(x))
        return self.head(torch.relu(self.up(torch.relu(self.down(x)))))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.thorough
@pytest.mark.parametrize("form", ["blocks", "fused"])
def test_half_of_the_multiplications(form: str, tmp_path: Path) -> None:
    """By the even and odd form of reversed kernels: counted by torch, proved, to the last bit, and in files."""
    torch.manual_seed(0)
    net, pictures = scrambled(Halved()).eval(), torch.randn(2, 3, 9, 17)
    options: dict[str, Any] = {"example_inputs": (pictures,), "method": "project", "samples": 1, "force": True}
    chiral: Any = chiralize(net, MAPS, form=form, **options)
    report = chiral.chirality.report
    assert report.form == form and report.judgement.certificate is not None and report.judgement.certificate.passed
    counts: list[int] = []
    for module in (chiral, net):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module(pictures)
        counts.append(counter.get_total_flops())
    assert 2 * counts[0] == counts[1]
    for file in ("pose.pt2", "pose.onnx"):
        save(chiral, tmp_path / file)
    with torch.no_grad():
        answer = chiral(pictures)
        assert torch.equal(chiral(pictures.flip(-1)).flip(-1)[:, SWAPPED], answer)
        close = 1e-5 * float(answer.abs().max())
        assert (load(tmp_path / "pose.pt2")(pictures) - answer).abs().max() <= close
    session = onnxruntime.InferenceSession(tmp_path / "pose.onnx")
    of_onnx = session.run(None, {session.get_inputs()[0].name: pictures.numpy()})[0]
    assert np.abs(np.asarray(of_onnx) - answer.numpy()).max() <= close


class Mat(nn.Module):
    """A flattened head on small maps of pressure: the posture, and the joints in pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 6, 3, 1, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 9, 3, 1, 1), nn.ReLU()
        )
        self.head = nn.Linear(9 * 3 * 4, 14)
        self.posture, self.joints = nn.Linear(14, 3), nn.Linear(14, 34)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures "b 1 6 8" to scores "b 3" and joints "b 17 2" around (3.5, 2.5)."""
        x = torch.relu(self.head(self.trunk(pictures).flatten(1)))
        return self.posture(x), self.joints(x).view(-1, 17, 2) * 2 + torch.tensor([3.5, 2.5])


POSTURES = {"classes": {"names": ["back", "left", "right"], "swap": [["left", "right"]]}}
IN_PIXELS = {"layout": "b j d", "dims": ["x", "y"], "reflect": {"x": 3.5}}
ON_MATS = {"skeleton": "coco", "inputs": ["b c h ~w"], "outputs": [POSTURES, IN_PIXELS]}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["blocks", "fused"])
def test_units_that_are_paired_in_any_order_take_half(form: str, tmp_path: Path) -> None:
    """`match` pairs units wherever they stand, and leaves some alone; the blocks are proved all the same."""
    torch.manual_seed(0)
    net, pictures = scrambled(Mat()).eval().double(), torch.randn(2, 1, 6, 8, dtype=torch.float64)
    options: dict[str, Any] = {"method": "match", "samples": 1, "force": True}
    chiral: Any = chiralize(net, ON_MATS, example_inputs=(pictures,), form=form, **options)
    dense = chiralize(net, ON_MATS, example_inputs=(pictures,), form="folded", **options)
    report = chiral.chirality.report
    assert report.form == form and report.judgement.certificate.passed
    cost = report.cost
    assert 2 * cost.macs_after <= 1.2 * cost.macs_before
    save(chiral, tmp_path / "mat.pt2")
    for blocks in (chiral, load(tmp_path / "mat.pt2")):
        with torch.no_grad():
            for wanted, answer in zip(dense(pictures), blocks(pictures), strict=True):
                assert (answer - wanted).abs().max() <= 1e-9


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
def test_nearly_all_units_in_one_pass_are_nearly_the_flip_test() -> None:
    """Least squares finds what the wide network needs: convolutions, strided and transposed, and a residual trunk."""
    net, pictures = residual().double(), torch.randn(8, 3, 9, 17, dtype=torch.float64)
    given = torch.randn(48, 3, 9, 17, dtype=torch.float64)
    options: dict[str, Any] = {"method": "reduce", "width": 0.99, "calibration": given, "force": True}
    chiral = chiralize(net, MAPS, example_inputs=(pictures[:2],), **options)
    with torch.no_grad():
        wanted, answer = flip_test(net, pictures), chiral(pictures)
    assert (answer - wanted).square().mean() <= 1e-3 * wanted.var()


@pytest.mark.thorough
def test_the_flip_test_as_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From an exported network to ONNX, with nothing but the skeleton."""
    monkeypatch.chdir(tmp_path)
    net, pictures = network(), torch.randn(2, 3, 32, 24)
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    torch.export.save(torch.export.export(net, (pictures,), dynamic_shapes=(batch,)), "net.pt2")
    outcome = CliRunner().invoke(app, ["convert", "net.pt2", "--skeleton", "coco", "-o", "pose.onnx"])
    assert outcome.exit_code == 0, outcome.output
    assert "taken as pictures b c h ~w = (2, 3, 32, 24)" in outcome.output
    session = onnxruntime.InferenceSession("pose.onnx")
    answer = session.run(None, {session.get_inputs()[0].name: pictures.numpy()})[0]
    with torch.no_grad():
        assert np.abs(np.asarray(answer) - flip_test(net, pictures).numpy()).max() <= 1e-5


class Organs(nn.Module):
    """Scores of nothing, the left organ and the right one, at every voxel."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.norm = nn.Conv3d(1, 4, 3, 2, 1), nn.GroupNorm(2, 4)
        self.up, self.head = nn.Upsample(scale_factor=2), nn.Conv3d(4, 3, 1)

    def forward(self, voxels: Tensor) -> Tensor:
        """Voxels "b 1 z y x" to scores "b 3 z y x"."""
        return self.head(self.up(self.norm(self.down(voxels)).relu()))


ORGANS = {
    "skeleton": "coco",
    "inputs": [{"layout": "b c z y ~x"}],
    "outputs": [
        {"layout": "b classes z y ~x", "classes": {"swap": [["left", "right"]], "names": ["none", "left", "right"]}}
    ],
}


def test_organs_swap_where_the_voxels_are_reversed() -> None:
    net, voxels = scrambled(Organs()).eval().double(), torch.randn(2, 1, 4, 4, 6, dtype=torch.float64)
    chiral = chiralize(net, ORGANS, example_inputs=(voxels,), method="average")
    with torch.no_grad():
        wanted = (net(voxels) + net(voxels.flip(-1)).flip(-1)[:, [0, 2, 1]]) / 2
        assert (chiral(voxels) - wanted).abs().max() <= 1e-12


@pytest.mark.parametrize("kind", [torch.as_tensor, np.asarray])
def test_maps_of_labels_are_mirrored_as_the_scores_are(kind: Callable[[Any], Any]) -> None:
    mirror = Mirror.of(ORGANS, input_shapes=[(2, 1, 4, 4, 6)], output_shapes=[(2, 3, 4, 4, 6)])
    labels = np.random.default_rng(0).integers(-1, 3, size=(2, 4, 4, 6))
    _, answer = mirror.augment(p=1.0)(kind(np.zeros((2, 1, 4, 4, 6), np.float32)), kind(labels))
    swapped = np.array([0, 2, 1])
    expected = np.where(labels < 0, labels, swapped[labels.clip(0)])[..., ::-1]
    assert (np.asarray(answer) == expected).all()
