"""Networks that see pixels: centres are taken up by layers, statistics, numbers, recurrences, residual ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from tests.support.zoo.case import scrambled

IN, OUT = 320.0, 500.0


def pixels(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Poses "... x y" about (330, 250)."""
    draw = np.random.default_rng(seed).normal(size=shape)
    return torch.from_numpy(draw * [150.0, 150.0] + [330.0, 250.0]).to(dtype)


class Trunk(nn.Module):
    """Hidden layers behind an encoder, which `encoded` is."""

    def __init__(self, encoded: Callable[[Any, Tensor], Tensor], first: int = 34, out: int = 3, **parts: Any) -> None:
        super().__init__()
        self.encoded, self.out = encoded, out
        self.first, self.middle, self.last = nn.Linear(first, 48), nn.Linear(48, 48), nn.Linear(48, 17 * out)
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        h = leaky_relu(self.first(self.encoded(self, x)), 0.3)
        h = h + leaky_relu(self.middle(h), 0.3)
        return self.last(h).view(-1, 17, self.out)


class Refining(Trunk):
    """Pixels in, the same pixels and a correction out."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class Unscaled(Trunk):
    """Pixels out by numbers behind the last layer."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 100 + 500


class Temporal(nn.Module):
    """VideoPose3D's layout: convolutions without bias, statistics behind them, residuals cut to size."""

    def __init__(self) -> None:
        super().__init__()
        self.expand_conv, self.expand_bn = nn.Conv1d(34, 32, 3, bias=False), nn.BatchNorm1d(32, 0.1)
        self.conv, self.bn = nn.Conv1d(32, 32, 3, dilation=3, bias=False), nn.BatchNorm1d(32, 0.1)
        self.shrink = nn.Conv1d(32, 51, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = x.view(x.shape[0], x.shape[1], 34).permute(0, 2, 1)
        h = leaky_relu(self.expand_bn(self.expand_conv(h * 0.02)), 0.3)
        h = h[:, :, 3:-3] + leaky_relu(self.bn(self.conv(h)), 0.3)
        return self.shrink(h).permute(0, 2, 1).reshape(x.shape[0], -1, 17, 3)


def _rows() -> Tensor:
    """An adjacency whose rows add up to 1, as far as rounding lets them."""
    near = torch.eye(17, dtype=torch.float64)
    for a, b in [(0, 1), (0, 4), (1, 2), (4, 5), (2, 3), (5, 6), (0, 7), (7, 8), (8, 11), (8, 14), (9, 10)]:
        near[a, b] = near[b, a] = 1.0
    return near / near.sum(1, keepdim=True)


def _tokens(net: Any, x: Tensor) -> Tensor:
    h = net.norm(net.embed(0.01 * x) + net.place)
    h = h + torch.softmax(net.q(h) @ net.k(h).transpose(1, 2), -1) @ h
    return h.flatten(1)


def _screen(_: Any, x: Tensor) -> Tensor:
    return (x / 640 * 2 - torch.tensor([1.0, 0.75], dtype=x.dtype)).flatten(1)


def _scaled(_: Any, x: Tensor) -> Tensor:
    return 0.01 * x.flatten(1)


_MEANS = torch.tensor([[318.0, 244.0]] * 17).flatten() + torch.arange(34) % 5
_SCALES = 100.0 + torch.arange(34) % 7
_TOKENS: dict[str, Any] = {"embed": nn.Linear(2, 8, bias=False), "place": nn.Parameter(torch.zeros(1, 17, 8))}
_TOKENS |= {"norm": nn.LayerNorm(8), "q": nn.Linear(8, 8), "k": nn.Linear(8, 8)}
NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], float]] = {
    "scaled": (lambda: Trunk(_scaled), (2, 17, 2), 0.0),
    "pixels out": (lambda: Trunk(_scaled, out=2), (2, 17, 2), OUT),
    "screen": (lambda: Trunk(_screen), (2, 17, 2), 0.0),
    "numbers": (lambda: Trunk(lambda _, x: (1.0 - x / 320).flatten(1)), (2, 17, 2), 0.0),
    "rooted": (lambda: Trunk(lambda _, x: (x - x[:, :1]).flatten(1) * 0.01), (2, 17, 2), 0.0),
    "statistics": (
        lambda: Trunk(lambda s, x: (x.flatten(1) - s.mean_of) / s.deviation, mean_of=_MEANS, deviation=_SCALES),
        (2, 17, 2),
        0.0,
    ),
    "tokens": (lambda: Trunk(_tokens, 136, **_TOKENS), (2, 17, 2), 0.0),
    "graph": (
        lambda: Trunk(
            lambda s, x: torch.relu(torch.matmul(s.rows, s.mix(0.01 * x)) + s.shift).flatten(1),
            136,
            rows=_rows(),
            mix=nn.Linear(2, 8, bias=False),
            shift=nn.Parameter(torch.zeros(8)),
        ),
        (2, 17, 2),
        0.0,
    ),
    "temporal": (Temporal, (2, 9, 17, 2), 0.0),
    "refining": (lambda: Refining(_scaled, out=2), (2, 17, 2), IN),
    "unscaled": (lambda: Unscaled(lambda _, x: (x.flatten(1) - 320) / 320, out=2), (2, 17, 2), OUT),
    "half a pixel out": (lambda: Unscaled(lambda _, x: (x.flatten(1) - 320) / 320, out=2), (2, 17, 2), 499.5),
}
"""By name: the network, the shape of its input, and where its output is mirrored along x; 0 for no pixels."""


def network(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    """One of them with random weights; buffers that describe pixels keep their values."""
    net = NETS[name][0]().double()
    described = {key: value.clone() for key, value in net.named_buffers() if key in ("mean_of", "deviation", "rows")}
    net = scrambled(net, 1)
    with torch.no_grad():
        for key, value in described.items():
            net.get_buffer(key).copy_(value)
    return net.to(dtype).eval()
