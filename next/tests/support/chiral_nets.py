"""Small networks of chiral layers on the body of six joints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from chiralize.nn import (
    BatchNorm1d,
    Conv1d,
    InvariantParameter,
    LayerNorm,
    Linear,
    MultiheadAttention,
    Pointwise,
    hidden,
    paper_layout,
)
from chiralize.symmetry.representation import Representation, TensorRepresentation
from tests.support.chiral_oracle import turn

BODY = Representation.parse("6: (1 3) (2 4) x 2: -0")
PAIRS, PAPER = hidden(16), paper_layout((2, 2, 2), 4, 2)
MIXED = Representation.parse("8: (0 3) -(1 2) (5 6)")
Function = Callable[[Representation], nn.Module]


def turned(x: Tensor) -> Tensor:
    """T on a pose "... joint coord"."""
    return turn(x.flatten(-2), BODY.action).unflatten(-1, (6, 2))


def relu(space: Representation) -> nn.Module:
    return Pointwise(nn.ReLU(), space)


def tanh(space: Representation) -> nn.Module:
    return Pointwise(nn.Tanh(), space)


class Perceptron(nn.Module):
    """ "batch joint coord" to the same. middle: another layer between the two hidden spaces."""

    def __init__(self, space: Representation, function: Function, middle: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.last = Linear(BODY, space), Linear(space, BODY)
        self.middle = middle or Linear(space, space)
        self.f, self.g = function(space), function(space)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.g(self.middle(self.f(self.first(x.flatten(1)))))).unflatten(1, (6, 2))


class Block(nn.Module):
    """x + f(BN(conv x)) on "batch channel frame"."""

    def __init__(self, space: Representation, function: Function) -> None:
        super().__init__()
        self.conv, self.norm = Conv1d(space, space, 3, padding=1), BatchNorm1d(space)
        self.f, self.drop = function(space), nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(self.f(self.norm(self.conv(x))))


class Temporal(nn.Module):
    """ "batch frame joint coord" to the same: convolutions, batch normalisation, residuals, dropout."""

    def __init__(self, space: Representation, function: Function) -> None:
        super().__init__()
        self.expand, self.norm, self.f = Conv1d(BODY, space, 3, padding=1), BatchNorm1d(space), function(space)
        self.blocks = nn.Sequential(Block(space, function))
        self.shrink = Conv1d(space, BODY, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.f(self.norm(self.expand(x.flatten(2).transpose(1, 2))))  # batch channel frame
        return self.shrink(self.blocks(y)).transpose(1, 2).unflatten(2, (6, 2))


class Recurrent(nn.Module):
    """ "batch frame joint coord" to the same, two layers of an LSTM or a GRU."""

    def __init__(self, space: Representation, kind: Any) -> None:
        super().__init__()
        self.core = kind(BODY, space, num_layers=2, batch_first=True)
        self.last = Linear(self.core.rep_out, BODY)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.core(x.flatten(2))[0]).unflatten(2, (6, 2))


class Transformer(nn.Module):
    """ "batch 4 joint coord" to the same: one layer with norms first and learned positions."""

    def __init__(self, space: Representation, heads: int) -> None:
        super().__init__()
        self.embed, self.last = Linear(BODY, space), Linear(space, BODY)
        self.places = InvariantParameter(TensorRepresentation((Representation.trivial(4), space)))
        self.norms = nn.ModuleList([LayerNorm(space), LayerNorm(space)])
        self.attention = MultiheadAttention(space, heads, batch_first=True)
        self.up, self.down, self.f = Linear(space, space), Linear(space, space), Pointwise(nn.GELU(), space)

    def forward(self, x: Tensor) -> Tensor:
        y = self.embed(x.flatten(2)) + self.places()
        z = self.norms[0](y)
        y = y + self.attention(z, z, z, need_weights=False)[0]
        return self.last(y + self.down(self.f(self.up(self.norms[1](y))))).unflatten(2, (6, 2))
