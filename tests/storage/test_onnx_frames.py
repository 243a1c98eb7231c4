"""ONNX files of recurrent networks take any number of frames; one whose graph holds their number takes that alone."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from tests.support.small_body import BODY

SPEC = BODY + 'inputs: [{layout: "b t (j d)"}]\noutputs: [{layout: "b t (j d)"}]\n'


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.GRU | nn.LSTM]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.memory, self.head = kind(12, 8, batch_first=True), nn.Linear(8, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.memory(x)[0])


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_frames_of_recurrent_layers_stay_open(tmp_path: Path, kind: type[nn.GRU | nn.LSTM]) -> None:
    """The exporter fixes them; opened again, the file gives what torch gives at other numbers."""
    net = Recurrent(kind).eval()
    result = chiralize.chiralize(net, parse_spec(SPEC), (torch.randn(2, 7, 12),), method="average")
    path = chiralize.save(result, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(path)
    (port,) = session.get_inputs()
    assert port.shape == ["b", "t", 12] and session.get_outputs()[0].shape == ["b", "t", 12]
    for sizes in ((1, 1), (3, 7), (2, 40)):
        x = torch.randn(*sizes, 12)
        (answer,) = session.run(None, {port.name: x.numpy()})
        torch.testing.assert_close(torch.from_numpy(answer), result(x), rtol=0, atol=1e-5)


class Halved(nn.Module):
    """Frames that a convolution halves go into a layer of two directions, as in detectors of sound."""

    def __init__(self, kind: type[nn.GRU | nn.LSTM]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.halve = nn.Conv1d(12, 12, 3, stride=2, padding=1)
        self.memory, self.head = kind(12, 8, batch_first=True, bidirectional=True), nn.Linear(16, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.memory(self.halve(x.transpose(1, 2)).transpose(1, 2))[0].mean(1))


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_two_directions_over_frames_that_a_stride_halves(tmp_path: Path, kind: type[nn.GRU | nn.LSTM]) -> None:
    """torch's exporter takes such a layer apart step by step, and fails: the layer is left whole."""
    spec = parse_spec(BODY + 'inputs: [{layout: "b t (j d)"}]\noutputs: [{layout: "b (j d)"}]\n')
    result = chiralize.chiralize(Halved(kind).eval(), spec, (torch.randn(3, 8, 12),), method="average")
    session = onnxruntime.InferenceSession(chiralize.save(result, tmp_path / "net.onnx"))
    (port,) = session.get_inputs()
    x = torch.randn(2, 8, 12)
    (answer,) = session.run(None, {port.name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(answer), result(x), rtol=0, atol=1e-5)


class Scaled(Recurrent):
    """With a number before its tensor, which ONNX has no input for."""

    def forward(self, scale: float, x: Tensor) -> Tensor:  # type: ignore[override]
        return scale * super().forward(x)


def test_numbers_among_the_arguments(tmp_path: Path) -> None:
    result = chiralize.chiralize(
        Scaled(nn.GRU).eval(), parse_spec(SPEC), (2.0, torch.randn(2, 7, 12)), method="average"
    )
    session = onnxruntime.InferenceSession(chiralize.save(result, tmp_path / "net.onnx"))
    port = session.get_inputs()[-1]
    x = torch.randn(2, 11, 12)
    (answer,) = session.run(None, {port.name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(answer), result(2.0, x), rtol=0, atol=1e-5)


class Unrolled(nn.Module):
    """A recurrent layer whose last state is given as many times as there are frames, the number written in."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.memory = nn.GRU(12, 12, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        frames = int(x.shape[1])
        return x + self.memory(x)[1][0][:, None].expand(-1, frames, -1)


def test_frames_that_a_graph_counts_are_compared_or_fixed(tmp_path: Path) -> None:
    """Either the file gives torch's answers at other numbers of frames, or it says that it takes none."""
    result = chiralize.chiralize(Unrolled().eval(), parse_spec(SPEC), (torch.randn(2, 7, 12),), method="average")
    session = onnxruntime.InferenceSession(chiralize.save(result, tmp_path / "net.onnx"))
    (port,) = session.get_inputs()
    for frames in (7, 11) if port.shape[1] == "t" else (7,):
        x = torch.randn(2, frames, 12)
        (answer,) = session.run(None, {port.name: x.numpy()})
        torch.testing.assert_close(torch.from_numpy(answer), result(x), rtol=0, atol=1e-5)
