"""Blocks of random networks: what people build, and what nobody should.  A block keeps the kind of its tensor.

Kinds: `joints` is `... j c`, features of each joint; `flat` is `b c`; `sequence` is `b t c`.  Every block is made by a
function of the sizes and of a generator, and ends in the same kind with the same number of channels, so that blocks can
be put together in any order.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Function = Callable[[Tensor], Tensor]
POINTWISE: tuple[Function, ...] = (
    torch.relu, torch.tanh, torch.sigmoid, F.gelu, F.silu, F.elu, F.softplus, F.softsign, F.hardtanh, F.mish, torch.abs,
    torch.sin, torch.cos, torch.square, torch.sign, torch.round, torch.erf, torch.atan, F.hardswish,
    F.relu6, F.logsigmoid,
    lambda x: F.leaky_relu(x, 0.2), lambda x: x.clamp(-1, 2), lambda x: x.clamp(-1, 1), lambda x: x.pow(3),
    lambda x: torch.where(x > 0.1, x, 0.3 * x), lambda x: torch.where(x.abs() > 0.3, x, torch.zeros_like(x)),
    lambda x: x / (1 + x.abs()), lambda x: torch.exp(-x * x), lambda x: torch.maximum(x, -0.5 * x), lambda x: 1 - x,
    lambda x: torch.copysign(torch.sqrt(x.abs() + 1e-3), x), lambda x: x.masked_fill(x < -1, 0.0), lambda x: -x,
    lambda x: torch.nan_to_num(x), lambda x: torch.addcmul(x, x, x, value=0.5), lambda x: torch.lerp(x, x * x, 0.3),
)  # fmt: skip


class Applied(nn.Module):
    """A function as a module."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Residual(nn.Module):
    """x + inner(x), or x * sigmoid(inner(x))."""

    def __init__(self, inner: nn.Module, is_gate: bool) -> None:
        super().__init__()
        self.inner, self.is_gate = inner, is_gate

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.inner(x)) if self.is_gate else x + self.inner(x)


class AlongJoints(nn.Module):
    """A module of `... c j` on `... j c`."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.transpose(-1, -2)).transpose(-1, -2)


class Graph(nn.Module):
    """A learned graph over joints, softmax or not, and a product with weights."""

    def __init__(self, joints: int, channels: int, is_soft: bool) -> None:
        super().__init__()
        self.edges = nn.Parameter(torch.randn(joints, joints) / joints**0.5)
        self.weight = nn.Parameter(torch.randn(channels, channels) / channels**0.5)
        self.is_soft = is_soft

    def forward(self, x: Tensor) -> Tensor:
        edges = self.edges.softmax(-1) if self.is_soft else self.edges
        return torch.einsum("jk,...kc->...jc", edges, x @ self.weight)


class Attention(nn.Module):
    """Self-attention over the axis before the last one, written out or by torch's function."""

    def __init__(self, channels: int, heads: int, by_hand: bool) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.heads, self.by_hand = heads, by_hand

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.into(x).unflatten(-1, (3, self.heads, -1)).movedim(-3, 0).transpose(-2, -3)
        if self.by_hand:
            y = ((q @ k.transpose(-1, -2)) / q.shape[-1] ** 0.5).softmax(-1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(-2, -3).flatten(-2))


class Table(nn.Module):
    """A learned table that is added to, or multiplied with, whatever comes."""

    def __init__(self, shape: tuple[int, ...], is_product: bool) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(shape))
        self.is_product = is_product

    def forward(self, x: Tensor) -> Tensor:
        return x * self.table if self.is_product else x + self.table


class Gathered(nn.Module):
    """Some fixed order of the joints, or of their differences from others."""

    def __init__(self, order: list[int], is_difference: bool) -> None:
        super().__init__()
        self.register_buffer("order", torch.tensor(order))
        self.is_difference = is_difference

    def forward(self, x: Tensor) -> Tensor:
        others = x.index_select(x.ndim - 2, self.get_buffer("order"))
        return x - others if self.is_difference else others


class Recurrent(nn.Module):
    """An LSTM or GRU along time, in one or both directions."""

    def __init__(self, kind: Callable[..., nn.Module], channels: int, both: bool) -> None:
        super().__init__()
        self.cell = kind(channels, channels, batch_first=True, bidirectional=both)
        self.out = nn.Linear(channels * (2 if both else 1), channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cell(x)[0])


class AlongTime(nn.Module):
    """A module of `b c t` on `b t c`."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.transpose(1, 2)).transpose(1, 2)


def mlp(channels: int, draw: random.Random) -> nn.Module:
    """Two linear layers of the last axis around something pointwise."""
    hidden = draw.choice([4, 6, 8, 7])
    function = draw.choice(POINTWISE)
    return nn.Sequential(nn.Linear(channels, hidden), Applied(function), nn.Linear(hidden, channels))


def anywhere(channels: int, draw: random.Random) -> nn.Module:
    """Blocks that act on the last axis and on nothing else."""
    half = channels // 2
    functions: list[Function] = [
        draw.choice(POINTWISE),
        lambda x: x / (x.norm(dim=-1, keepdim=True) + 0.1),
        lambda x: x.softmax(-1),
        lambda x: x - x.mean(-1, keepdim=True),
        lambda x: torch.cat([x[..., half:], x[..., :half]], -1),
        lambda x: torch.cat([x[..., :half] * x[..., half : 2 * half], x[..., half:]], -1),
        lambda x: x.flip(-1),
        lambda x: x.roll(1, -1),
        lambda x: x.sort(-1).values,
        lambda x: x.cumsum(-1),
        lambda x: x * x.amax(-1, keepdim=True),
        lambda x: F.normalize(x, dim=-1),
        lambda x: F.layer_norm(x, x.shape[-1:]),
        lambda x: x * (x == x.amax(-1, keepdim=True)).to(x.dtype),
        lambda x: torch.stack([x, x.square()], -1).mean(-1),
        lambda x: F.pad(x, (1, 0))[..., :-1],
        lambda x: x.std(-1, keepdim=True) * x,
        lambda x: x + x.logsumexp(-1, keepdim=True),
        lambda x: x * F.one_hot(x.argmax(-1), x.shape[-1]).to(x.dtype),
    ]
    choice = draw.randrange(4)
    if choice == 0:
        return mlp(channels, draw)
    if choice == 1:
        return nn.Linear(channels, channels, bias=draw.random() < 0.7)
    if choice == 2:
        return nn.LayerNorm(channels) if draw.random() < 0.5 else Applied(draw.choice(functions))
    return Applied(draw.choice(functions))


def on_joints(joints: int, channels: int, draw: random.Random) -> nn.Module:
    """A block of `... j c`."""
    order = [draw.randrange(joints) for _ in range(joints)]
    permuted = draw.sample(range(joints), joints)
    functions: list[Function] = [
        lambda x: x - x[..., :1, :],
        lambda x: x - x.mean(-2, keepdim=True),
        lambda x: x * x.softmax(-2),
        lambda x: x + x.amax(-2, keepdim=True),
        lambda x: x.flip(-2),
        lambda x: x.roll(1, -2),
        lambda x: x.sort(-2).values,
        lambda x: x.cumsum(-2),
        lambda x: x.unflatten(-2, (1, joints)).squeeze(-3),
        lambda x: torch.cat([x[..., 1:, :], x[..., :1, :]], -2),
        lambda x: x @ (x.transpose(-1, -2) @ x).softmax(-1),
        lambda x: torch.cdist(x, x) @ x,
        lambda x: x * torch.linspace(-1, 1, joints, dtype=x.dtype).unsqueeze(-1),
        lambda x: x + x.median(-2, keepdim=True).values,
        lambda x: x * (x[..., 0:1, :] > 0).to(x.dtype),
    ]
    choice = draw.randrange(7)
    if choice == 0:
        return AlongJoints(mlp(joints, draw) if draw.random() < 0.6 else nn.Linear(joints, joints))
    if choice == 1:
        return Graph(joints, channels, draw.random() < 0.5)
    if choice == 2:
        return Attention(channels, draw.choice([1, 2]), draw.random() < 0.5)
    if choice == 3:
        shape = draw.choice([(joints, channels), (joints, 1), (channels,)])
        return Table(shape, draw.random() < 0.4)
    if choice == 4:
        return Gathered(draw.choice([order, permuted]), draw.random() < 0.5)
    if choice == 5:
        return Applied(draw.choice(functions))
    return anywhere(channels, draw)


def on_sequences(channels: int, draw: random.Random) -> nn.Module:
    """A block of `b t c`."""
    functions: list[Function] = [
        lambda x: x + x.mean(1, keepdim=True),
        lambda x: x.cumsum(1),
        lambda x: x.flip(1),
        lambda x: x - F.pad(x, (0, 0, 1, 0))[:, :-1],
        lambda x: x + x.amax(1, keepdim=True),
        lambda x: x * x.var(1, keepdim=True),
        lambda x: x + torch.fft.rfft(x, dim=1).abs().mean(1, keepdim=True),
        lambda x: F.avg_pool1d(x.transpose(1, 2), 3, 1, 1).transpose(1, 2),
        lambda x: torch.bmm(torch.bmm(x, x.transpose(1, 2)).softmax(-1), x),
    ]
    choice = draw.randrange(6)
    if choice == 0:
        groups = draw.choice([1, 2, channels])
        return AlongTime(nn.Conv1d(channels, channels, 3, padding=1, groups=groups))
    if choice == 1:
        return AlongTime(nn.BatchNorm1d(channels))
    if choice == 2:
        return Recurrent(draw.choice([nn.LSTM, nn.GRU, nn.RNN]), channels, draw.random() < 0.3)
    if choice == 3:
        return Attention(channels, draw.choice([1, 2]), draw.random() < 0.5)
    if choice == 4:
        return Applied(draw.choice(functions))
    return anywhere(channels, draw)


def on_flat(channels: int, draw: random.Random) -> nn.Module:
    """A block of `b c`."""
    choice = draw.randrange(4)
    if choice == 0:
        return nn.BatchNorm1d(channels)
    if choice == 1:
        return nn.GroupNorm(2, channels)
    return anywhere(channels, draw)
