"""What is timed: single layers and whole networks, dense and in blocks, with the published layers' way beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiralize import nn as chiral
from chiralize.forms.speed import is_faster
from chiralize.records import Node, Where

Make = Callable[[int], nn.Module]


@dataclass(frozen=True)
class Case:
    """Networks that take the same input. variants: by name, the original first.  example: the input of a batch."""

    name: str
    width: int
    variants: Mapping[str, nn.Module]
    example: Callable[[int], tuple[Tensor, ...]]


class Rebuilt(nn.Module):
    """A linear layer that puts its dense weight together in every call, as the published chiral layers do."""

    mask: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.w1, self.w2 = (nn.Parameter(torch.randn(half, half) * half**-0.5) for _ in range(2))
        self.b1 = nn.Parameter(torch.zeros(half))
        self.register_buffer("mask", torch.ones(width, width))

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.cat([self.w1, self.w2], 1), torch.cat([self.w2, self.w1], 1)
        return F.linear(x, torch.cat(rows) * self.mask, torch.cat([self.b1, self.b1]))


class Attention(nn.Module):
    """Self-attention with its own tokens as queries."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, x, x, need_weights=False)[0]


def layers(width: int) -> list[Case]:
    """Layers between hidden spaces of one width; 27 frames, 17 tokens, 16 steps."""
    space = chiral.hidden(width)
    linear, conv = nn.Linear(width, width), nn.Conv1d(width, width, 3)
    heads = max(width // 64, 2)
    return [
        Case("linear", width, {"dense": linear, "blocks": chiral.Linear(space, space), "rebuilt": Rebuilt(width)},
             lambda b: (torch.randn(b, width),)),
        Case("conv1d", width, {"dense": conv, "blocks": chiral.Conv1d(space, space, 3)},
             lambda b: (torch.randn(b, width, 27),)),
        Case("lstm", width, {"dense": nn.LSTM(width, width), "blocks": chiral.LSTM(space, space)},
             lambda b: (torch.randn(16, b, width),)),
        Case("gru", width, {"dense": nn.GRU(width, width), "blocks": chiral.GRU(space, space)},
             lambda b: (torch.randn(16, b, width),)),
        Case("attention", width, {"dense": Attention(nn.MultiheadAttention(width, heads, batch_first=True)),
             "blocks": Attention(chiral.MultiheadAttention(space, heads, batch_first=True))},
             lambda b: (torch.randn(b, 17, width),)),
    ]  # fmt: skip


def chosen(case: Case, batch: int) -> nn.Module:
    """The layer that `auto` takes for a batch: the original itself, or its twin."""
    dense = case.variants["dense"]
    node = Node("op", f"aten.{case.name}.default", {}, ((batch, case.width),), frozenset({0}), Where())
    return case.variants["blocks"] if is_faster(dense, [node], lambda: None) else dense


class Temporal(nn.Module):
    """Dilated residual convolutions over 243 frames in strided form, as in VideoPose3D."""

    def __init__(self, conv: Any, norm: Any, into: Any, space: Any, out: Any) -> None:
        super().__init__()
        self.inlet, self.first = conv(into, space, 3, stride=3, bias=False), norm(space)
        self.wide = nn.ModuleList(conv(space, space, 3, stride=3, bias=False) for _ in range(4))
        self.narrow = nn.ModuleList(conv(space, space, 1, bias=False) for _ in range(4))
        self.norms = nn.ModuleList(norm(space) for _ in range(8))
        self.outlet = conv(space, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(self.inlet(x)))
        for place, (wide, narrow) in enumerate(zip(self.wide, self.narrow, strict=True)):
            y = torch.relu(self.norms[2 * place](wide(x)))
            x = x[:, :, 1::3] + torch.relu(self.norms[2 * place + 1](narrow(y)))
        return self.outlet(x)


class Frame(nn.Module):
    """A residual lifter of single frames."""

    def __init__(self, linear: Any, norm: Any, into: Any, space: Any, out: Any) -> None:
        super().__init__()
        self.inlet, self.outlet = linear(into, space), linear(space, out)
        self.layers = nn.ModuleList(linear(space, space) for _ in range(4))
        self.norms = nn.ModuleList(norm(space) for _ in range(5))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norms[4](self.inlet(x)))
        for at in (0, 2):
            y = torch.relu(self.norms[at](self.layers[at](x)))
            x = x + torch.relu(self.norms[at + 1](self.layers[at + 1](y)))
        return self.outlet(x)


class Encoder(nn.Module):
    """A pre-norm transformer, the size of a block of a large vision transformer."""

    def __init__(self, linear: Any, norm: Any, attention: Any, space: Any, wide: Any, depth: int = 4) -> None:
        super().__init__()
        self.mix = nn.ModuleList(attention(space) for _ in range(depth))
        self.up = nn.ModuleList(linear(space, wide) for _ in range(depth))
        self.down = nn.ModuleList(linear(wide, space) for _ in range(depth))
        self.norms = nn.ModuleList(norm(space) for _ in range(2 * depth))

    def forward(self, x: Tensor) -> Tensor:
        for at in range(len(self.mix)):
            y = self.norms[2 * at](x)
            x = x + self.mix[at](y, y, y, need_weights=False)[0]
            x = x + self.down[at](F.gelu(self.up[at](self.norms[2 * at + 1](x))))
        return x


def networks(width: int) -> list[Case]:
    """Whole networks, the blocks a twin of the original's class."""
    into, out, space = chiral.hidden(34), chiral.hidden(51, fixed=3), chiral.hidden(width)
    heads = max(width // 64, 2)
    return [
        Case("temporal 243", width, {
            "dense": Temporal(nn.Conv1d, nn.BatchNorm1d, 34, width, 51),
            "blocks": Temporal(chiral.Conv1d, chiral.BatchNorm1d, into, space, out)},
            lambda b: (torch.randn(b, 34, 243),)),
        Case("frame lifter", width, {
            "dense": Frame(nn.Linear, nn.BatchNorm1d, 34, width, 51),
            "blocks": Frame(chiral.Linear, chiral.BatchNorm1d, into, space, out)}, lambda b: (torch.randn(b, 34),)),
        Case("transformer", width, {
            "dense": Encoder(nn.Linear, nn.LayerNorm, lambda d: nn.MultiheadAttention(d, heads, batch_first=True),
                             width, 4 * width),
            "blocks": Encoder(chiral.Linear, chiral.LayerNorm,
                              lambda s: chiral.MultiheadAttention(s, heads, batch_first=True), space,
                              chiral.hidden(4 * width))}, lambda b: (torch.randn(b, 64, width),)),
    ]  # fmt: skip
