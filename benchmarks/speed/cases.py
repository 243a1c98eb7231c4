"""What is timed: single layers and whole networks, dense and in blocks, with the published layers' way beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiralize import nn as chiral
from chiralize.graph.model import Node, Where
from chiralize.nn import ChiralModule
from chiralize.nn.deploy.timed import Timing

LAYERS = ("linear", "conv1d", "lstm", "gru", "attention")


@dataclass(frozen=True)
class Case:
    """Networks that take the same input. variants: by name, the original first.  example: the input of a batch."""

    name: str
    width: int
    variants: Mapping[str, nn.Module]
    example: Callable[[int], tuple[Tensor, ...]]


class Rebuilt(nn.Module):
    """A layer that puts its dense weights together in every call, as the published chiral layers do.

    Every weight [[w1, w2], [w2, w1]] * mask, a recurrent layer's gate by gate; its bias [b, b].
    """

    def __init__(self, dense: nn.Module, gates: int = 1) -> None:
        super().__init__()
        self.dense, self.gates = (dense,), gates  # in a tuple, so that its parameters are not this module's
        self.names = [name for name, _ in dense.named_parameters()]
        halves = [own.detach().unflatten(0, (gates, 2, -1))[:, 0].clone() for own in dense.parameters()]
        self.direct = nn.ParameterList(own.chunk(2, 2)[0].clone() if own.dim() > 2 else own for own in halves)
        self.crossed = nn.ParameterList(own.chunk(2, 2)[1].clone() for own in halves if own.dim() > 2)
        self.masks = [torch.ones_like(own) for own in dense.parameters()]

    def forward(self, x: Tensor) -> Any:
        crossed = iter(self.crossed)
        made = {}
        for name, own, mask in zip(self.names, self.direct, self.masks, strict=True):
            other = own if own.dim() == 2 else next(crossed)
            rows = [own, own] if own.dim() == 2 else [torch.cat([own, other], 2), torch.cat([other, own], 2)]
            made[name] = torch.cat(rows, 1).flatten(0, 1) * mask
        return torch.func.functional_call(self.dense[0], made, (x,))


class Halves(nn.Module):
    """Two layers of half the size side by side: blocks without a change of basis."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.even, self.odd = nn.Linear(width // 2, width // 2), nn.Linear(width // 2, width // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        even, odd = x.chunk(2, -1)
        return torch.cat([self.even(even), self.odd(odd)], -1)


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
    lstm, gru = nn.LSTM(width, width), nn.GRU(width, width)
    heads = max(width // 64, 2)
    return [
        Case("linear", width, {"dense": linear, "blocks": chiral.Linear(space, space), "halves": Halves(width),
             "rebuilt": Rebuilt(linear)}, lambda b: (torch.randn(b, width),)),
        Case("conv1d", width, {"dense": conv, "blocks": chiral.Conv1d(space, space, 3), "rebuilt": Rebuilt(conv)},
             lambda b: (torch.randn(b, width, 27),)),
        Case("lstm", width, {"dense": lstm, "blocks": chiral.LSTM(space, space), "rebuilt": Rebuilt(lstm, 4)},
             lambda b: (torch.randn(16, b, width),)),
        Case("gru", width, {"dense": gru, "blocks": chiral.GRU(space, space), "rebuilt": Rebuilt(gru, 3)},
             lambda b: (torch.randn(16, b, width),)),
        Case("attention", width, {"dense": Attention(nn.MultiheadAttention(width, heads, batch_first=True)),
             "blocks": Attention(chiral.MultiheadAttention(space, heads, batch_first=True))},
             lambda b: (torch.randn(b, 17, width),)),
    ]  # fmt: skip


def chosen(case: Case, batch: int) -> nn.Module:
    """The layer that `auto` takes for a batch: the original itself, or its twin."""
    dense, blocks, w = case.variants["dense"], cast("ChiralModule", case.variants["blocks"]), case.width
    layer = dense.inner if isinstance(dense, Attention) else dense
    rnn = [(16, batch, w)]
    shapes = {"linear": [(batch, w)], "conv1d": [(batch, w, 25)], "attention": [(17, batch, 3 * w), (17 * batch, w)],
              "lstm": rnn, "gru": rnn}  # fmt: skip
    op = case.name if case.name in ("conv1d", "lstm", "gru") else "linear"
    nodes = [
        Node(f"op_{place}", f"aten.{op}.default", {}, (shape,), frozenset({0}), Where())
        for place, shape in enumerate(shapes.get(case.name, []))
    ]
    return blocks if Timing()(layer, nodes, lambda: blocks) else dense


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
