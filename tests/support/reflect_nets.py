"""Networks that see pixels, and T in pixels written with numpy."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from chiralize.body.tensors import ConversionSpec, parse_spec
from tests.support.zoo.case import H36M, scrambled

C = 320.0


def turned(x: np.ndarray, center: float) -> np.ndarray:
    """T: joints swap, x is mirrored at the centre. x: "... joint coord"."""
    out = x.copy()
    for a, b in H36M:
        out[..., [a, b], :] = out[..., [b, a], :]
    out[..., 0] = 2 * center - out[..., 0]
    return out


def pixels(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    draw = np.random.default_rng(seed).normal(size=shape)
    return torch.from_numpy(draw * [150.0, 150.0] + [330.0, 250.0]).to(dtype)


def residual(net: nn.Module, x: Tensor, center_out: float = 0.0, center: float = C) -> float:
    """max |F(T x) - T F(x)| in float64, in units of the spread of F."""
    net = copy.deepcopy(net).double()
    with torch.no_grad():
        plain = net(x.double()).numpy()
        there = net(torch.from_numpy(turned(x.double().numpy(), center))).numpy()
    return float(np.abs(there - turned(plain, center_out)).max() / np.abs(plain - plain.mean(0)).max())


def center_of(given: ConversionSpec) -> float:
    """Where the first input is mirrored."""
    assert given.inputs
    return float(given.inputs[0].reflect[0][1])


def report_of(net: Any) -> Any:
    """Of a result of `chiralize`."""
    return net.chirality.report


def spec(inputs: str = "b j d", outputs: str = "{layout: b j d}", center: float = C) -> ConversionSpec:
    return parse_spec(
        f"skeleton: h36m\ninputs: [{{layout: {inputs}, dims: [x, y], reflect: {{x: {center}}}}}]\n"
        f"outputs: [{outputs}]\n"
    )


PIXELS_OUT = "{layout: b j d, dims: [x, y], reflect: {x: 500}}"


class Trunk(nn.Module):
    """What the networks of this file have in common: hidden layers behind an encoder."""

    def __init__(self, first: int = 34, out: int = 3) -> None:
        super().__init__()
        self.first = nn.Linear(first, 48)
        self.middle = nn.Linear(48, 48)
        self.last = nn.Linear(48, 17 * out)
        self.out = out

    def tail(self, h: Tensor) -> Tensor:
        h = leaky_relu(h, 0.3)
        h = h + leaky_relu(self.middle(h), 0.3)
        return self.last(h).view(-1, 17, self.out)


class Scaled(Trunk):
    """Pixels times a number, then a layer with a bias."""

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.first(x.flatten(1) * 0.01))


class Screen(Trunk):
    """Normalised as VideoPose3D does it: to [-1, 1] by a constant for every coordinate."""

    def forward(self, x: Tensor) -> Tensor:
        x = x / 640 * 2 - torch.tensor([1.0, 0.75], dtype=x.dtype)
        return self.tail(self.first(x.flatten(1)))


class ByNumbers(Trunk):
    """Normalised by numbers: what is subtracted belongs to x only, as far as the mirror goes."""

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.first((1.0 - x / 320).flatten(1)))


class Rooted(Trunk):
    """Coordinates relative to the root: the centre cancels."""

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.first((x - x[:, :1]).flatten(1) * 0.01))


class Statistics(Trunk):
    """Normalised by stored statistics."""

    mean_of: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean_of", torch.tensor([[318.0, 244.0]] * 17).flatten() + torch.arange(34) % 5)
        self.register_buffer("deviation", 100.0 + torch.arange(34) % 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.first((x.flatten(1) - self.mean_of) / self.deviation))


class Tokens(Trunk):
    """Joint by joint, with an embedding added behind a layer without a bias, and attention."""

    def __init__(self) -> None:
        super().__init__(17 * 8)
        self.embed = nn.Linear(2, 8, bias=False)
        self.place = nn.Parameter(torch.zeros(1, 17, 8))
        self.norm = nn.LayerNorm(8)
        self.q, self.k = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.embed(0.01 * x) + self.place)
        h = h + torch.softmax(self.q(h) @ self.k(h).transpose(1, 2), -1) @ h
        return self.tail(self.first(h.flatten(1)))


class Graph(Trunk):
    """A graph convolution with a constant adjacency whose rows add up to 1, as far as rounding lets them."""

    adjacency: Tensor

    def __init__(self) -> None:
        super().__init__(17 * 8)
        near = torch.eye(17, dtype=torch.float64)
        for a, b in [(0, 1), (0, 4), (1, 2), (4, 5), (2, 3), (5, 6), (0, 7), (7, 8), (8, 11), (8, 14), (9, 10)]:
            near[a, b] = near[b, a] = 1.0
        self.register_buffer("adjacency", near / near.sum(1, keepdim=True))
        self.mix = nn.Linear(2, 8, bias=False)
        self.shift = nn.Parameter(torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.matmul(self.adjacency, self.mix(0.01 * x)) + self.shift
        return self.tail(self.first(torch.relu(h).flatten(1)))


class Recurrent(Trunk):
    """A GRU in both directions over frames of pixels."""

    def __init__(self) -> None:
        super().__init__(48)
        self.gru = nn.GRU(34, 24, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.first(self.gru(0.01 * x.flatten(2))[0].mean(1)))


class Temporal(nn.Module):
    """VideoPose3D's layout: convolutions without bias, statistics behind them, residuals cut to size."""

    def __init__(self) -> None:
        super().__init__()
        self.expand_conv, self.expand_bn = nn.Conv1d(34, 32, 3, bias=False), nn.BatchNorm1d(32, 0.1)
        self.conv, self.bn = nn.Conv1d(32, 32, 3, dilation=3, bias=False), nn.BatchNorm1d(32, 0.1)
        self.shrink = nn.Conv1d(32, 51, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = x.view(x.shape[0], x.shape[1], 34).permute(0, 2, 1)
        h = leaky_relu(self.expand_bn(self.expand_conv(h)), 0.3)
        h = h[:, :, 3:-3] + leaky_relu(self.bn(self.conv(h)), 0.3)
        return self.shrink(h).permute(0, 2, 1).reshape(x.shape[0], -1, 17, 3)


class Refining(Trunk):
    """Pixels in, the same pixels and a correction out."""

    def __init__(self) -> None:
        super().__init__(34, 2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.tail(self.first(x.flatten(1) * 0.01))


class Unscaled(Trunk):
    """Pixels out by numbers behind the last layer."""

    def __init__(self) -> None:
        super().__init__(34, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.first((x.flatten(1) - 320) / 320)) * 100 + 500


def trained(net: nn.Module, dtype: torch.dtype = torch.float64, seed: int = 1) -> nn.Module:
    """Scrambled weights, sensible for pixels; buffers that describe pixels keep their values."""
    kept = {name: own.clone() for name, own in net.named_buffers() if name in ("mean_of", "deviation", "adjacency")}
    net = scrambled(net.double(), seed)
    with torch.no_grad():
        for name, own in kept.items():
            net.get_buffer(name).copy_(own)
        if isinstance(net, Temporal):
            net.expand_conv.weight.mul_(0.02)
    return net.to(dtype).eval()


FRAMES = (2, 9, 17, 2)
NETS: dict[str, tuple[Any, tuple[int, ...], ConversionSpec, float]] = {
    "scaled": (Scaled, (2, 17, 2), spec(), 0.0),
    "pixels out": (lambda: Scaled(out=2), (2, 17, 2), spec(outputs=PIXELS_OUT), 500.0),
    "screen": (Screen, (2, 17, 2), spec(), 0.0),
    "numbers": (ByNumbers, (2, 17, 2), spec(), 0.0),
    "rooted": (Rooted, (2, 17, 2), spec(), 0.0),
    "statistics": (Statistics, (2, 17, 2), spec(), 0.0),
    "tokens": (Tokens, (2, 17, 2), spec(), 0.0),
    "graph": (Graph, (2, 17, 2), spec(), 0.0),
    "recurrent": (Recurrent, (2, 2, 17, 2), spec("b t j d"), 0.0),
    "temporal": (Temporal, FRAMES, spec("b t j d", "{layout: b t j d}"), 0.0),
    "refining": (Refining, (2, 17, 2), spec(outputs="{layout: b j d, dims: [x, y], reflect: {x: 320}}"), 320.0),
    "half a pixel": (Screen, (2, 17, 2), spec(center=319.5), 0.0),
    "half a pixel out": (Unscaled, (2, 17, 2), spec(outputs=PIXELS_OUT.replace("500", "499.5")), 499.5),
    "unscaled": (Unscaled, (2, 17, 2), spec(outputs=PIXELS_OUT), 500.0),
}
