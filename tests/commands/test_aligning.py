"""`--align`: the layers commute with the reversal afterwards, answers are what is said, and errors say why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from typer.testing import CliRunner

from chiralize import audit, chiralize, load, verify
from chiralize.body.tensors import load_spec
from chiralize.body.tensors.reading import entry_from_layout
from chiralize.cli.app import app
from chiralize.commands.aligning import aligned, wishes
from chiralize.commands.convert import Request, convert
from chiralize.errors import ChiralizeError, UnsupportedError, UsageError
from chiralize.graph.model import Node
from chiralize.graph.passes.alignment.resampling import cubic
from chiralize.graph.passes.alignment.windows import shapes_of, windows
from chiralize.infer.registry import traits
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from tests.commands.test_pictures import MAPS, SWAPPED, Maps
from tests.support.command import scrambled
from tests.verification.test_alignment import Labelled, pictures

_FLOAT = torch.float64


class Trunk(nn.Module):
    """Layers of many kinds, all of which read an even width from one side."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 7, 2, 3, bias=False), nn.BatchNorm2d(6)
        self.narrow, self.beside = nn.Conv2d(6, 8, 3, 2, 1), nn.Conv2d(6, 8, 1, 2)
        self.late = nn.Conv2d(8, 8, 3, 2, 0, groups=2)
        self.up = nn.ConvTranspose2d(8, 6, 3, 2, 1, output_padding=1)
        self.head = nn.Conv2d(6, 17, 3, padding="same", dilation=2)

    def forward(self, images: Tensor) -> Tensor:
        """Pictures "b 3 h w" to maps "b 17 h/8 w/8"."""
        maps = torch.max_pool2d(self.norm(self.stem(images)).relu(), 3, 2, 1)
        maps = (self.narrow(maps) + self.beside(maps)).relu()
        maps = self.late(nn.functional.pad(maps, (0, 1, 0, 1))).relu()
        return self.head(nn.functional.avg_pool2d(self.up(maps), 3, 1, 1))


def made(net: nn.Module | None = None, width: int = 48, spec: Any = MAPS) -> tuple[nn.Module, Network, Tensor]:
    torch.manual_seed(0)
    net = scrambled(net or Trunk()).eval().to(_FLOAT)
    example = torch.randn(2, 3, 32, width, dtype=_FLOAT)
    return net, prepare(net, load_spec(spec), (example,)), example


def commutes_alone(node: Node, network: Network) -> bool:
    """Brute force: whether the layer with its weights made symmetric commutes with the reversal of its columns."""
    graph = network.graph()
    tensors = {name: leaf.tensor for name, leaf in graph.leaves.items()}
    values: dict[str, Any] = dict(node.arguments)
    key = "input" if "input" in values else "self"
    values[key] = torch.randn(*shapes_of(graph)[values[key].name], dtype=_FLOAT)
    for name in ("weight", "bias"):
        if values.get(name) is not None:
            values[name] = tensors[values[name].name]
    if "weight" in values:
        values["weight"] = (values["weight"] + values["weight"].flip(-1)) / 2
    op: Any = torch.ops
    for word in node.target.split("."):
        op = getattr(op, word)
    turned = {**values, key: values[key].flip(-1)}
    return torch.allclose(op(**turned), op(**values).flip(-1), rtol=0, atol=1e-9)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("way", ["kernel", "pad"])
def test_every_layer_commutes_with_the_reversal_afterwards(way: str) -> None:
    """Also of those that did before, and none of the strided ones did."""
    _, before, _ = made(Maps() if way == "pad" else None)
    after, _ = aligned(before, (), way)
    counts = []
    for network in (before, after):
        names = {window.op for window in windows(network.graph(), 4, 3, traits())}
        nodes = [node for node in network.graph().nodes if node.name in names]
        counts.append([commutes_alone(node, network) for node in nodes])
    assert all(counts[1]) and counts[0].count(False) >= 3


@pytest.mark.one_in(2)
@pytest.mark.parametrize("way", ["kernel", "pad"])
def test_the_whole_network_commutes_once_its_kernels_are_symmetric(way: str) -> None:
    """With the weights that there were it does not, and before the edit it does with no weights."""
    _, before, _ = made(Trunk() if way == "kernel" else Maps())
    after, _ = aligned(before, (), way)
    apart: list[float] = []
    for network in (before, after):
        columns = network.resolved.input_tensors[0].shape[-1]
        images = torch.randn(2, 3, 32, columns, dtype=_FLOAT)
        with torch.no_grad():
            for parameter in network.module.parameters():
                if parameter.ndim == 4:
                    parameter.copy_((parameter + parameter.flip(-1)) / 2)
            answer, turned = network.module(images), network.module(images.flip(-1)).flip(-1)
            apart.append(float((answer - turned).abs().max() / answer.abs().max()))
    assert apart[0] > 1e-2 and apart[1] < 1e-12


def test_wider_kernels_change_no_answer() -> None:
    net, before, example = made()
    after, _ = aligned(before, (), "kernel")
    with torch.no_grad():
        wanted, answer = net(example), after.module(example)
    assert (wanted - answer).abs().max() <= 1e-12 * wanted.abs().max()
    assert "stem, " in after.notes[-1] and "multiplications x 1." in after.notes[-1]
    with pytest.raises(UsageError, match="commutes with the reversal of 48 columns already"):
        aligned(after, (), "kernel")


@pytest.mark.thorough
def test_one_pass_on_an_even_width_once_kernels_fit() -> None:
    """Costs are told against the network that was handed in, not against the one with wider kernels."""
    _, before, _ = made()
    with pytest.raises(ChiralizeError, match="from one end"):
        convert(before, "net", Request("project", samples=1, force=True))
    after, _ = aligned(before, (), "kernel")
    report = convert(after, "net", Request("project", samples=1, force=True)).report
    assert report.judgement.numeric is not None and report.judgement.numeric.passed
    assert report.judgement.certificate is not None and report.judgement.certificate.passed
    assert report.cost.macs_before == before.macs < report.cost.macs_after == after.macs


@pytest.mark.thorough
@settings(max_examples=15, deadline=None)
@given(
    st.integers(9, 24), st.integers(1, 5), st.integers(1, 4), st.integers(0, 3), st.integers(1, 2), st.integers(0, 2)
)
def test_any_convolution(width: int, kernel: int, stride: int, padding: int, dilation: int, more: int) -> None:
    """The same answers and sizes, and a reversal, whatever kernel, stride, padding, dilation, and zeros before it."""
    if width + 2 * padding + more < dilation * (kernel - 1) + 1:
        return
    spec = {"skeleton": "coco", "inputs": ["b c ~w"], "outputs": [{"layout": "b j ~w"}]}
    conv = nn.Conv1d(3, 17, kernel, stride, padding, dilation).to(_FLOAT)
    net = nn.Sequential(nn.ConstantPad1d((more, 0), 0.0), conv) if more else nn.Sequential(conv)
    example = torch.randn(2, 3, width, dtype=_FLOAT)
    network = prepare(net.eval(), load_spec(spec), (example,))
    try:
        after, _ = aligned(network, (), "kernel")
    except UsageError:
        assert all(window.commutes for window in windows(network.graph(), 3, 2, traits()))
        return
    except UnsupportedError as error:
        assert dilation > 1 and "dilation" in error.facts
        return
    with torch.no_grad():
        assert torch.allclose(after.module(example), net(example), rtol=0, atol=1e-12)
    (window,) = windows(after.graph(), 3, 2, traits())
    (node,) = (node for node in after.graph().nodes if node.name == window.op)
    assert commutes_alone(node, after)


def test_wider_pictures_keep_the_cells_that_there_were() -> None:
    """On a picture that goes on by a column, up to the border the maps are those of the original."""
    net, before, _ = made(Maps(), 96)
    after, _ = aligned(before, (), "pad")
    wide = torch.randn(1, 3, 32, 97, dtype=_FLOAT)
    with torch.no_grad():
        wanted, answer = net(wide[..., :96]), after.module(wide)
    assert wanted.shape[-1] == 24 and answer.shape[-1] == 25
    assert torch.allclose(answer[..., :16], wanted[..., :16], rtol=0, atol=1e-9)
    assert "97 columns wide in place of 96" in after.notes[-1] and "24 to 25 cells" in after.notes[-1]


def test_padding_makes_three_quarters_of_a_cell_the_middle() -> None:
    """Cells that are labelled at pixel 4 i are off by .75 of a cell on 48 columns, and by none on 49."""
    data = torch.randn(32, 3, 32, 49, generator=torch.Generator().manual_seed(0))
    (alignment,) = audit(Labelled(0.0, columns=49), MAPS, (data[:2],), calibration=data).alignments
    assert alignment.shift == pytest.approx(0.0, abs=0.05) and alignment.is_aligned


@pytest.mark.one_in(2)
@pytest.mark.parametrize("given_shift", [True, False])
def test_resampled_maps_meet_and_stay_met(given_shift: bool) -> None:
    """The average of both views moved half-way: exactly equivariant, and hardly a gap is left of the one before."""
    net, data = Labelled(0.0), pictures()
    align = "resample=0.75" if given_shift else "resample"
    chiral: Any = chiralize(net, MAPS, (data[:2],), calibration=data, align=align, method="average")
    assert verify(chiral).passed
    assert any("--align resample: output 0 by 0.7" in note for note in chiral.chirality.report.notes)
    with torch.no_grad():
        one, other = chiral(data), chiral(data.flip(-1)).flip(-1)[:, SWAPPED]
        halves = [net.across, torch.exp(-((torch.arange(48.0)[:, None] - 4 * torch.arange(12.0) - 1.5).square()) / 32)]
        wanted = data.unflatten(2, (8, 4)).mean(3).mean(1, keepdim=True) @ (halves[1] / halves[1].sum(0).clamp(min=4.0))
    assert torch.allclose(one, other, rtol=0, atol=1e-6)
    inner = (one - wanted)[..., 2:-2].square().mean() / wanted[..., 2:-2].square().mean()
    assert inner.sqrt() < 0.05  # the cell that is half-way: at pixel 4 i + 1.5
    assert chiral.chirality.report.drift.gap < 0.25


@pytest.mark.one_in(2)
@pytest.mark.parametrize("shift", [0.75, -0.6])
def test_a_convolution_that_answers_takes_the_move_in(shift: float) -> None:
    """By hand: the maps read between their cells, zeros beyond the border of what the last convolution reads."""
    _, before, example = made(Maps())
    after, _ = aligned(before, (), f"resample={shift}")
    assert [node.target for node in after.graph().nodes] == [node.target for node in before.graph().nodes]
    with torch.no_grad():
        maps, moved = before.module(example), after.module(example)
    place = shift / 2
    first = -1 if place < 0 else 0
    weights = cubic(place - first)
    for cell in range(2, maps.shape[-1] - 2):
        wanted = sum(weight * maps[..., cell + first + tap - 1] for tap, weight in enumerate(weights))
        assert torch.allclose(moved[..., cell], torch.as_tensor(wanted), rtol=0, atol=1e-12)


def test_maps_that_others_read_are_moved_behind() -> None:
    _, before, _ = made(Twice())
    after, _ = aligned(before, (), "resample=0.75")
    assert len(after.graph().nodes) > len(before.graph().nodes)


@pytest.mark.thorough
def test_one_pass_on_moved_maps() -> None:
    """With all units and their mirror images it is the average of both views, moved; in one pass."""
    net, _, example = made(Maps())
    data = torch.randn(32, 3, 32, 48, dtype=_FLOAT)
    common: dict[str, Any] = {"align": "kernel,resample=0.75", "calibration": data, "force": True}
    whole = chiralize(net, MAPS, (example,), method="reduce", width=1.0, rounds=0, **common)
    average = chiralize(net, MAPS, (example,), method="average", **common)
    with torch.no_grad():
        one, both = whole(example), average(example)
    assert torch.allclose(one, both, rtol=0, atol=1e-6 * float(both.abs().max()))
    assert verify(whole).passed


@pytest.mark.thorough
def test_from_a_file_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    net = scrambled(Maps()).eval()
    example = torch.randn(2, 3, 32, 24)
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    torch.export.save(torch.export.export(net, (example,), dynamic_shapes=(batch,)), "net.pt2")
    common = ["convert", "net.pt2", "--skeleton", "coco"]
    outcome = CliRunner().invoke(app, [*common, "--align", "pad,resample=0.5", "-o", "pose.onnx"])
    assert outcome.exit_code == 0, outcome.output
    assert "25 columns wide in place of 24" in outcome.output and "cell i + 0.25" in outcome.output
    session = onnxruntime.InferenceSession("pose.onnx")
    wide = torch.randn(2, 3, 32, 25)
    name = session.get_inputs()[0].name
    one, other = (np.asarray(session.run(None, {name: x.numpy()})[0]) for x in (wide, wide.flip(-1)))
    assert one.shape == (2, 17, 8, 7)
    assert np.abs(one - other[:, SWAPPED, :, ::-1]).max() <= 1e-5
    outcome = CliRunner().invoke(app, [*common, "--align", "kernel", "-o", "pose.pt2"])
    assert outcome.exit_code == 0, outcome.output
    assert verify(load("pose.pt2")).passed


def refused(align: str | Sequence[str], network: Network, product: str = "module") -> str:
    with pytest.raises(ChiralizeError) as caught:
        aligned(network, (), align, product)
    assert caught.value.remedy
    return caught.value.facts


def test_what_does_not_apply() -> None:
    _, network, _ = made()
    assert "none of its ways" in refused("shift", network)
    assert "none of its ways" in refused("pad=3", network)
    assert "no number of cells" in refused("resample=x", network)
    assert "do not go together" in refused("pad,kernel", network)
    assert "more than a quarter" in refused("resample=10", network)
    assert "there are none" in refused("resample", network)
    assert "original's code" in refused("kernel", network, "weights")
    assert wishes(["resample", "kernel"])[0].way == "kernel" and wishes(None) == ()
    stated = {**MAPS, "outputs": [{"layout": "b j h w", "mirror": {"w": 3}}]}
    assert "which moves it as well" in refused("resample=0.5", made(spec=stated)[1])
    poses = nn.Sequential(nn.Flatten(), nn.Linear(34, 34), nn.Unflatten(1, (17, 2))).eval()
    network = prepare(poses, load_spec("coco"), (torch.randn(2, 17, 2),))
    assert "reverses no axis" in refused("kernel", network)


class Twice(Maps):
    """Maps that come out, and are read for another output."""

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures "b 3 h w" to maps "b 17 h/4 w/4"."""
        maps = super().forward(pictures)
        return maps + maps.relu()


class Joined(nn.Module):
    """Two resolutions that meet by doubling the coarse one, which one more column would part."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 17, 3, 2, 1), nn.Conv2d(17, 17, 3, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Pictures "b 3 h w" to maps "b 17 h/2 w/2"."""
        fine = self.fine(images)
        return fine + nn.functional.interpolate(self.coarse(fine), scale_factor=2.0)


class Indexed(Joined):
    """A pooling whose last window hangs over."""

    def forward(self, images: Tensor) -> Tensor:
        """Pictures "b 3 h w" to maps "b 17 h/4 w/4"."""
        return torch.max_pool2d(self.fine(images), 3, 2, ceil_mode=True)


def test_networks_that_no_way_fits() -> None:
    assert "branches would not meet" in refused("pad", made(Joined())[1])
    aligned(made(Joined())[1], (), "kernel")
    assert "hangs over" in refused("kernel", made(Indexed())[1])


class Views(nn.Module):
    """Pictures of several cameras through one trunk, which reads cameras as samples."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk()

    def forward(self, images: Tensor) -> Tensor:
        """Pictures "b view 3 h w" to maps "b 17 h/8 w/8"."""
        maps = self.trunk(images.flatten(0, 1))
        return maps.unflatten(0, images.shape[:2]).mean(1)


def test_kernels_of_a_trunk_that_several_cameras_share() -> None:
    """Layers read four axes where the picture has five."""
    torch.manual_seed(0)
    net = scrambled(Views()).eval().to(_FLOAT)
    example = torch.randn(2, 3, 3, 32, 48, dtype=_FLOAT)
    spec = replace(load_spec(MAPS), inputs=(entry_from_layout("b view c h ~w", "inputs"),))
    before = prepare(net, spec, (example,))
    after, _ = aligned(before, (), "kernel")
    with torch.no_grad():
        wanted, answer = net(example), after.module(example)
    assert (wanted - answer).abs().max() <= 1e-12 * wanted.abs().max()
    assert "trunk.stem" in after.notes[-1]
    with pytest.raises(UsageError, match="commutes with the reversal of 48 columns already"):
        aligned(after, (), "kernel")
