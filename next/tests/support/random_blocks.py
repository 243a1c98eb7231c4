"""Blocks that random networks are put together from: every one a few lines, over many op families.

These take frames, `b t c`, and give the same. Sizes are small; what is drawn comes from the random numbers of the place
where the block stands.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ODD: tuple[Callable[[], nn.Module], ...] = (nn.Tanh, nn.Softsign, nn.Hardtanh, nn.Tanhshrink)
ANY: tuple[Callable[[], nn.Module], ...] = (
    *ODD, nn.ReLU, nn.GELU, nn.SiLU, nn.LeakyReLU, nn.ELU, nn.Sigmoid, nn.Softplus, nn.Mish, nn.Hardswish, nn.PReLU,
)  # fmt: skip


@dataclass(frozen=True)
class Body:
    """A random skeleton. partner: of every joint.  size: coordinates.  negated: those that T negates."""

    partner: tuple[int, ...]
    size: int
    negated: tuple[int, ...]

    @property
    def joints(self) -> int:
        return len(self.partner)

    @property
    def lefts(self) -> list[int]:
        return [i for i, other in enumerate(self.partner) if i < other]

    @property
    def rights(self) -> list[int]:
        return [self.partner[i] for i in self.lefts]

    @property
    def centers(self) -> list[int]:
        return [i for i, other in enumerate(self.partner) if i == other]

    @property
    def parents(self) -> list[int]:
        """A tree that T leaves alone: pair by pair, the first pair hangs on the first centre joint."""
        parents = [self.centers[0]] * self.joints
        for before, place in zip(self.lefts, self.lefts[1:], strict=False):
            parents[place], parents[self.partner[place]] = before, self.partner[before]
        return parents

    def turn(self, x: Tensor) -> Tensor:
        """T on `... joint coordinate`."""
        sign = [-1.0 if i in self.negated else 1.0 for i in range(self.size)]
        return x[..., list(self.partner), :] * torch.tensor(sign, dtype=x.dtype)


@dataclass(frozen=True)
class At:
    """Where a block stands: its body, number of frames and channels, and random numbers of its own."""

    body: Body
    frames: int
    width: int
    odd: bool
    rng: random.Random

    def linear(self, i: int | None = None, o: int | None = None) -> nn.Linear:
        return nn.Linear(i or self.width, o or self.width, bias=self.rng.random() < 0.7)

    def act(self) -> nn.Module:
        return self.rng.choice(ODD if self.odd else ANY)()

    def either(self, *options: Any) -> Any:
        return self.rng.choice(options)


class Of(nn.Module):
    """A forward function with its parts: modules, parameters, and tensors as buffers."""

    def __init__(self, run: Callable[[Any, Tensor], Tensor], **parts: Any) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, h: Tensor) -> Tensor:
        return self.run(self, h)


Maker = Callable[[At], nn.Module]
FRAMES: dict[str, Maker] = {}


def block_of(table: dict[str, Maker]) -> Callable[[Maker], Maker]:
    def enter(maker: Maker) -> Maker:
        table[maker.__name__] = maker
        return maker

    return enter


def learned(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape))


def channels_first(run: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    return lambda s, h: run(s, h.transpose(1, -1)).transpose(1, -1)


# ---- frames: b t c ---------------------------------------------------------------------------------------------
@block_of(FRAMES)
def mlp(at: At) -> nn.Module:
    return Of(lambda s, h: h + s.b(s.act(s.a(h))), a=at.linear(o=2 * at.width), b=at.linear(2 * at.width), act=at.act())


@block_of(FRAMES)
def dense(at: At) -> nn.Module:
    return Of(lambda s, h: s.act(s.a(h)), a=at.linear(), act=at.act())


@block_of(FRAMES)
def same_layer_twice(at: At) -> nn.Module:
    return Of(lambda s, h: s.a(s.act(s.a(h))), a=at.linear(), act=at.act())


@block_of(FRAMES)
def convolution(at: At) -> nn.Module:
    conv = nn.Conv1d(at.width, at.width, 3, padding=at.either(1, "same"), bias=at.either(True, False))
    return Of(channels_first(lambda s, h: s.act(s.conv(h))), conv=conv, act=at.act())


@block_of(FRAMES)
def depthwise(at: At) -> nn.Module:
    conv = nn.Conv1d(at.width, at.width, 3, padding=1, groups=at.width, bias=at.either(True, False))
    return Of(channels_first(lambda s, h: h + s.conv(h)), conv=conv)


@block_of(FRAMES)
def batch_norm(at: At) -> nn.Module:
    return Of(channels_first(lambda s, h: s.act(s.norm(h))), norm=nn.BatchNorm1d(at.width), act=at.act())


@block_of(FRAMES)
def layer_norm(at: At) -> nn.Module:
    norm = nn.LayerNorm(at.width, elementwise_affine=at.either(True, True, False))
    return Of(lambda s, h: h + s.a(s.norm(h)), norm=norm, a=at.linear())


@block_of(FRAMES)
def norm_by_hand(at: At) -> nn.Module:
    def run(s: Any, h: Tensor) -> Tensor:
        apart = h - h.mean(-1, keepdim=True)
        return s.gain * apart / (apart.square().mean(-1, keepdim=True) + 1e-5).sqrt() + s.shift

    return Of(run, gain=learned(at.width), shift=learned(at.width))


@block_of(FRAMES)
def rms_norm(at: At) -> nn.Module:
    return Of(lambda s, h: s.a(s.norm(h)), norm=nn.RMSNorm(at.width), a=at.linear())


@block_of(FRAMES)
def group_norm(at: At) -> nn.Module:
    return Of(channels_first(lambda s, h: s.norm(h)), norm=nn.GroupNorm(at.either(1, 2, 4), at.width))


@block_of(FRAMES)
def multihead(at: At) -> nn.Module:
    return Of(lambda s, h: h + s.att(h, h, h, need_weights=False)[0],
              att=nn.MultiheadAttention(at.width, at.either(1, 2, 4), batch_first=True))  # fmt: skip


@block_of(FRAMES)
def encoder_layer(at: At) -> nn.Module:
    return nn.TransformerEncoderLayer(
        at.width, 2, 2 * at.width, 0.0, batch_first=True, norm_first=at.either(True, False)
    )


def heads(s: Any, h: Tensor) -> Tensor:
    """Packed queries, keys and values, split into heads; tokens on the last axis but one."""
    q, k, v = s.qkv(h).unflatten(-1, (3, s.heads, -1)).movedim(-4, -2).unbind(-4)
    return s.out(F.scaled_dot_product_attention(q, k, v).movedim(-3, -2).flatten(-2))


@block_of(FRAMES)
def packed_attention(at: At) -> nn.Module:
    return Of(lambda s, h: h + heads(s, h), qkv=at.linear(o=3 * at.width), out=at.linear(), heads=at.either(1, 2, 4))


@block_of(FRAMES)
def attention_by_hand(at: At) -> nn.Module:
    def run(s: Any, h: Tensor) -> Tensor:
        scores = torch.einsum("btc,bsc->bts", s.q(h), s.k(h)) / h.shape[-1] ** 0.5
        return h + torch.softmax(scores, -1) @ s.v(h)

    return Of(run, q=at.linear(), k=at.linear(), v=at.linear())


@block_of(FRAMES)
def recurrent(at: At) -> nn.Module:
    kind, both = at.either(nn.GRU, nn.LSTM, nn.RNN), at.either(False, True)
    rnn = kind(at.width, at.width // 2 if both else at.width, batch_first=True, bidirectional=both)
    return Of(lambda s, h: s.rnn(h)[0], rnn=rnn)


@block_of(FRAMES)
def gru_cell(at: At) -> nn.Module:
    def run(s: Any, h: Tensor) -> Tensor:
        state, out = torch.zeros_like(h[:, 0]), []
        for frame in h.unbind(1):
            state = s.cell(frame, state)
            out.append(state)
        return torch.stack(out, 1)

    return Of(run, cell=nn.GRUCell(at.width, at.width))


@block_of(FRAMES)
def lstm_cell(at: At) -> nn.Module:
    def run(s: Any, h: Tensor) -> Tensor:
        state, out = (s.first.expand(len(h), -1), torch.zeros_like(h[:, 0])), []
        for place in range(h.shape[1]):
            state = s.cell(h[:, place], state)
            out.append(state[0])
        return torch.stack(out, 1) + h

    return Of(run, cell=nn.LSTMCell(at.width, at.width), first=learned(1, at.width))


@block_of(FRAMES)
def pooling(at: At) -> nn.Module:
    pool = at.either(nn.AvgPool1d, nn.MaxPool1d)(3, 1, 1)
    return Of(channels_first(lambda s, h: s.pool(h)), pool=pool)


@block_of(FRAMES)
def gate(at: At) -> nn.Module:
    return Of(lambda s, h: torch.tanh(s.a(h)) * torch.sigmoid(s.b(h)), a=at.linear(), b=at.linear())


@block_of(FRAMES)
def glu(at: At) -> nn.Module:
    return Of(lambda s, h: F.glu(s.a(h), -1), a=at.linear(o=2 * at.width))


@block_of(FRAMES)
def chunks(at: At) -> nn.Module:
    def run(s: Any, h: Tensor) -> Tensor:
        a, b, c = s.a(h).chunk(3, -1)
        return h + s.act(a) * s.act(b) + c

    return Of(run, a=at.linear(o=3 * at.width), act=at.act())


@block_of(FRAMES)
def concatenated(at: At) -> nn.Module:
    return Of(lambda s, h: s.a(torch.cat([h, s.act(h), s.b(h)], -1)), a=at.linear(3 * at.width), b=at.linear(),
              act=at.act())  # fmt: skip


@block_of(FRAMES)
def excitation(at: At) -> nn.Module:
    return Of(lambda s, h: h * torch.sigmoid(s.b(s.act(s.a(h.mean(1, keepdim=True))))), a=at.linear(o=4),
              b=at.linear(4), act=at.act())  # fmt: skip


@block_of(FRAMES)
def running_sum(at: At) -> nn.Module:
    return Of(lambda s, h: s.a(torch.cumsum(h, 1)), a=at.linear())


@block_of(FRAMES)
def spectrum(at: At) -> nn.Module:
    return Of(lambda s, h: h + torch.fft.fft(h, dim=1).real * s.scale, scale=learned(at.width))


@block_of(FRAMES)
def mixed_frames(at: At) -> nn.Module:
    mix = at.either(torch.eye(at.frames).roll(1, 0) + 0.5, learned(at.frames, at.frames))
    return Of(lambda s, h: torch.einsum("ts,bsc->btc", s.mix, h), mix=mix)


@block_of(FRAMES)
def frame_linear(at: At) -> nn.Module:
    return Of(channels_first(lambda s, h: h + s.a(h)), a=at.linear(at.frames, at.frames))


@block_of(FRAMES)
def places(at: At) -> nn.Module:
    return Of(lambda s, h: s.act(h + s.place), place=learned(1, at.frames, at.width), act=at.act())


@block_of(FRAMES)
def embedded_places(at: At) -> nn.Module:
    return Of(lambda s, h: h + s.table(torch.arange(h.shape[1])), table=nn.Embedding(at.frames, at.width))


@block_of(FRAMES)
def written(at: At) -> nn.Module:
    def run(s: Any, h: Tensor) -> Tensor:
        h = s.a(h).clone()
        h[:, 1:] -= h[:, :1]
        h[:, 0] = 0
        return h

    return Of(run, a=at.linear())


@block_of(FRAMES)
def softened(at: At) -> nn.Module:
    return Of(lambda s, h: h + torch.softmax(s.a(h), -1) * s.scale, a=at.linear(), scale=learned(at.width))


@block_of(FRAMES)
def unit_length(at: At) -> nn.Module:
    return Of(lambda s, h: s.a(F.normalize(h, dim=-1)), a=at.linear())


@block_of(FRAMES)
def bounded(at: At) -> nn.Module:
    return Of(lambda s, h: torch.where(h.abs() > 1, s.a(h), h).clamp(-3, 3), a=at.linear())


@block_of(FRAMES)
def low_rank(at: At) -> nn.Module:
    return Of(lambda s, h: h + (h @ s.down) @ s.up, down=learned(at.width, 4), up=learned(4, at.width))
