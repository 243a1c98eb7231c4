"""Small networks of every kind that `reduce` takes, poses "... joint coord" of six joints in and out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from chiralize.body.tensors import parse_spec
from chiralize.graph.running import Call
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from tests.support.small_body import CLIP, POSE, normal, trained, turned

ENTRIES = 12


class Residual(nn.Module):
    """A lifter: batch norms, a residual block, no bias in one layer."""

    def __init__(self, width: int = 20, tanh: bool = False, norm: bool = True) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(ENTRIES, width), nn.Linear(width, ENTRIES)
        self.norm = nn.BatchNorm1d(width) if norm else nn.Identity()
        self.up, self.down = nn.Linear(width, width, bias=False), nn.Linear(width, width)
        self.act = nn.Tanh() if tanh else nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm(self.first(x.flatten(1))))
        y = y + self.act(self.down(self.act(self.up(y))))
        return self.last(y).unflatten(1, (6, 2))


class Refining(nn.Module):
    """A pose that is corrected, and a second stage that reads the corrected pose."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first, self.correction = nn.Linear(ENTRIES, width), nn.Linear(width, ENTRIES)
        self.second, self.last = nn.Linear(ENTRIES, width), nn.Linear(width, ENTRIES)

    def forward(self, x: Tensor) -> Tensor:
        pose = x.flatten(1) + self.correction(self.first(x.flatten(1)).relu())
        return self.last(self.second(pose).tanh()).unflatten(1, (6, 2))


class Temporal(nn.Module):
    """Convolutions over frames, dilated, padded and with strides."""

    def __init__(self, width: int = 10) -> None:
        super().__init__()
        self.first = nn.Conv1d(ENTRIES, width, 3, padding=1)
        self.wide = nn.Conv1d(width, width, 3, dilation=2, bias=False)
        self.norm = nn.BatchNorm1d(width)
        self.far = nn.Conv1d(width, width, 2, stride=2)
        self.last = nn.Conv1d(width, ENTRIES, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x.flatten(2).transpose(1, 2)).relu()
        y = self.far(self.norm(self.wide(y)).relu()).relu()
        return self.last(y).transpose(1, 2).unflatten(2, (6, 2))


class Recurrent(nn.Module):
    """A stack of recurrent layers and a head."""

    def __init__(self, kind: Callable[..., nn.RNNBase], width: int = 8, layers: int = 1, both: bool = False) -> None:
        super().__init__()
        self.core = kind(ENTRIES, width, layers, batch_first=True, bidirectional=both)
        self.last = nn.Linear(width * (1 + both), ENTRIES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.core(x.flatten(2))[0]).unflatten(2, (6, 2))


class Forecaster(nn.Module):
    """An encoder hands its state to a decoder, which runs on what it said before."""

    def __init__(self, width: int = 10, cell: type[nn.LSTM | nn.GRU] = nn.LSTM, layers: int = 1) -> None:
        super().__init__()
        self.encoder, self.decoder = (cell(ENTRIES, width, layers, batch_first=True) for _ in range(2))
        self.last = nn.Linear(width, ENTRIES)

    def forward(self, x: Tensor) -> Tensor:
        y = x.flatten(2)
        state, pose, told = self.encoder(y)[1], y[:, -1:], []
        for _ in range(2):
            hidden, state = self.decoder(pose, state)
            pose = pose + self.last(hidden)
            told.append(pose)
        return torch.cat(told, 1).unflatten(2, (6, 2))


class Graph(nn.Module):
    """Channels of every joint, mixed along a skeleton that is symmetric."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        bones = torch.eye(6)
        for joint in range(1, 6):
            bones[0, joint] = bones[joint, 0] = 0.5
        self.register_buffer("bones", bones)
        self.first, self.inner, self.last = (
            nn.Linear(2, channels),
            nn.Linear(channels, channels),
            nn.Linear(channels, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.einsum("vw,bwc->bvc", self.bones, self.first(x)).relu()
        return self.last(y + self.inner(y).relu())


class Transformer(nn.Module):
    """One block over frames, the norms before attention and before the multilayer perceptron."""

    def __init__(self, width: int = 12, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.place = nn.Linear(ENTRIES, width), nn.Parameter(torch.zeros(1, 5, width))
        self.before, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.between, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.last = nn.Linear(width, ENTRIES)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x.flatten(2)) + self.place
        parts = self.qkv(self.before(y)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = y + self.out(functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))
        y = y + self.down(functional.gelu(self.up(self.between(y))))
        return self.last(y).unflatten(2, (6, 2))


@dataclass(frozen=True)
class Kind:
    """A network by its class.

    shape: of one sample.  inexact: weights that need not be met when all hidden units are kept, the head apart: the
    original takes one norm, or one softmax, of what is two views here.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...] = (6, 2)
    inexact: tuple[str, ...] = ()


CLIP_OF_5 = (5, 6, 2)
KINDS = {
    "residual": Kind(Residual),
    "tanh": Kind(lambda: Residual(tanh=True, norm=False)),
    "odd width": Kind(lambda: Residual(13)),
    "temporal": Kind(Temporal, (9, 6, 2)),
    "gru, two layers": Kind(lambda: Recurrent(nn.GRU, layers=2), CLIP_OF_5),
    "lstm, both ways": Kind(lambda: Recurrent(nn.LSTM, both=True), CLIP_OF_5),
    "rnn": Kind(lambda: Recurrent(nn.RNN, 11), CLIP_OF_5),
    "forecaster": Kind(Forecaster, (4, 6, 2)),
    "graph": Kind(Graph),
    "transformer": Kind(Transformer, CLIP_OF_5, ("qkv.weight", "out.weight", "up.weight", "down.weight")),
}


@cache
def original(kind: str) -> nn.Module:
    """The network with random weights and statistics; never written to."""
    return trained(KINDS[kind].make(), 3)


def calls_for(shape: Sequence[int], count: int = 40, rows: int = 8, mirrored: bool = False) -> list[Call]:
    """Batches of poses; with the mirror image of every sample beside it, if asked for."""
    found: list[Call] = []
    for seed in range(count):
        x = normal(rows, *shape, seed=100 + seed)
        found.append(((torch.cat([x[: rows // 2], turned(x[: rows // 2])]) if mirrored else x,), {}))
    return found


def subject_of(net: nn.Module, shape: Sequence[int], rows: int = 8) -> Network:
    """The network made ready; sequences have their frames first."""
    return prepare(net, parse_spec(CLIP if len(shape) == 3 else POSE), (normal(rows, *shape),))


@cache
def ready(kind: str) -> Network:
    """The network of a kind made ready; nobody changes it."""
    return subject_of(original(kind), KINDS[kind].shape)


def flip_average(net: nn.Module, x: Tensor) -> Tensor:
    """(f(x) + T f(T x)) / 2."""
    with torch.no_grad():
        return (net(x) + turned(net(turned(x)))) / 2
