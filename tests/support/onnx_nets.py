"""Small networks as ONNX files, by both of torch's exporters."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.support.command import scrambled


class Temporal(nn.Module):
    """Convolutions over frames with batch norms and a residual, "batch frame (joint coord)"."""

    def __init__(self) -> None:
        super().__init__()
        self.expand, self.conv, self.shrink = nn.Conv1d(10, 8, 3), nn.Conv1d(8, 8, 3, dilation=2), nn.Conv1d(8, 10, 1)
        self.norms = nn.ModuleList([nn.BatchNorm1d(8), nn.BatchNorm1d(8)])

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norms[0](self.expand(x.permute(0, 2, 1))))
        x = x[:, :, 2:-2] + torch.relu(self.norms[1](self.conv(x)))
        return self.shrink(x).permute(0, 2, 1)


class LstmPolicy(nn.Module):
    """States are arguments and results."""

    def __init__(self) -> None:
        super().__init__()
        self.memory, self.head = nn.LSTM(10, 6), nn.Linear(6, 10)

    def forward(self, obs: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out, (h, c) = self.memory(obs.unsqueeze(0), (h, c))
        return self.head(out.squeeze(0)), h, c


class Transformer(nn.Module):
    """Tokens are joints."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(2, 8), nn.Linear(8, 2)
        self.place = nn.Parameter(torch.zeros(1, 5, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.embed(x) + self.place))


class Summed(nn.Module):
    """An operator that is not read, CumSum, between two layers; a state beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(16, 6), nn.Linear(6, 10)

    def forward(self, obs: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.first(torch.cat([obs, h], 1)))
        return self.last(torch.cumsum(h, 1)), h


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 8), nn.ELU(), nn.LayerNorm(8), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 10))


NETS: dict[str, tuple[Any, Sequence[tuple[int, ...]]]] = {
    "mlp": (mlp, [(2, 10)]),
    "temporal": (Temporal, [(2, 9, 10)]),
    "lstm": (LstmPolicy, [(2, 10), (1, 2, 6), (1, 2, 6)]),
    "transformer": (Transformer, [(2, 5, 2)]),
    "summed": (Summed, [(2, 10), (2, 6)]),
}


def export(name: str, path: Path, dynamo: bool, names: Sequence[str] = (), is_open: bool = False) -> Path:
    """The scrambled network of a name as a file. names: of inputs, then outputs.  is_open: any batch."""
    make, shapes = NETS[name]
    torch.manual_seed(0)
    args = tuple(torch.randn(shape) for shape in shapes)
    inputs = list(names[: len(shapes)]) or [f"in{number}" for number in range(len(shapes))]
    options: dict[str, Any] = {"input_names": inputs, "output_names": list(names[len(shapes) :]) or None}
    axes = [shape.index(2) for shape in shapes]
    if is_open and dynamo:
        options["dynamic_shapes"] = tuple({axis: torch.export.Dim("batch")} for axis in axes)
    elif is_open:
        options["dynamic_axes"] = {port: {axis: "batch"} for port, axis in zip(inputs, axes, strict=True)}
    if dynamo:
        options["external_data"] = False
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(scrambled(make()), args, path, dynamo=dynamo, **options)
    return path
