"""Sequence models: LSTM and GRU layers, cells in loops, cells written by hand, states that are passed along."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.support.zoo.case import Case, pose


class Sequence(nn.Module):
    """A recurrent layer over `batch frame joint coord`, answers for every frame."""

    def __init__(
        self, kind: type[nn.RNNBase], width: int = 10, layers: int = 1, both_ways: bool = False, first: bool = True
    ) -> None:
        super().__init__()
        self.first = first
        self.rnn = kind(51, width, num_layers=layers, bidirectional=both_ways, batch_first=first)
        self.head = nn.Linear(width * (2 if both_ways else 1), 51)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        out, _ = self.rnn(flat if self.first else flat.transpose(0, 1))
        out = out if self.first else out.transpose(0, 1)
        return (self.head(out) + flat).unflatten(2, (17, 3))


class Forecaster(nn.Module):
    """Encoder and decoder: the encoder's state starts the decoder, which feeds on its own answers."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.GRU(51, 12, batch_first=True)
        self.decoder = nn.GRUCell(51, 12)
        self.head = nn.Linear(12, 51)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        _, state = self.encoder(flat)
        hidden, frame, found = state[0], flat[:, -1], []
        for _ in range(4):
            hidden = self.decoder(frame, hidden)
            frame = frame + self.head(hidden)
            found.append(frame)
        return torch.stack(found, 1).unflatten(2, (17, 3))


class Stepper(nn.Module):
    """One chunk of frames at a time; (h, c) come in and go out."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(51, 9, num_layers=2, batch_first=True)
        self.head = nn.Linear(9, 51)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        out, state = self.rnn(x.flatten(2), state)
        return self.head(out).unflatten(2, (17, 3)), state


class GRULoop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(51, 11), nn.Linear(11, 51)

    def forward(self, x: Tensor) -> Tensor:
        hidden = x.new_zeros(x.shape[0], 11)
        for frame in range(x.shape[1]):
            hidden = self.cell(x[:, frame].flatten(1), hidden)
        return self.head(hidden).view(-1, 17, 3)


class LSTMLoop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTMCell(51, 10), nn.Linear(10, 51)

    def forward(self, x: Tensor) -> Tensor:
        state, found = None, []
        for frame in x.unbind(1):
            state = self.cell(frame.flatten(1), state)
            found.append(self.head(state[0]).view(-1, 17, 3))
        return torch.stack(found, 1)


class HandWritten(nn.Module):
    """A GRU cell of linear layers, `chunk` and sigmoid gates."""

    def __init__(self, width: int = 10) -> None:
        super().__init__()
        self.width = width
        self.gates, self.candidate = nn.Linear(51 + width, 2 * width), nn.Linear(51 + width, width)
        self.head = nn.Linear(width, 51)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.zeros(x.shape[0], self.width, dtype=x.dtype)
        for frame in range(x.shape[1]):
            own = x[:, frame].flatten(1)
            reset, update = torch.sigmoid(self.gates(torch.cat([own, hidden], 1))).chunk(2, 1)
            new = torch.tanh(self.candidate(torch.cat([own, reset * hidden], 1)))
            hidden = (1 - update) * hidden + update * new
        return self.head(hidden).view(-1, 17, 3)


_clip = torch.zeros(2, 5, 17, 3)
_T = (pose(),)
_spec = "skeleton: h36m\n"

CASES = [
    Case("lstm", lambda: Sequence(nn.LSTM), _spec, (_clip,), _T, _T),
    Case("lstm, frames first", lambda: Sequence(nn.LSTM, first=False), _spec, (_clip,), _T, _T, only=("match",)),
    Case("gru", lambda: Sequence(nn.GRU, 11), _spec, (_clip,), _T, _T),
    Case("gru, frames first", lambda: Sequence(nn.GRU, first=False), _spec, (_clip,), _T, _T, only=("project",)),
    Case("lstm, both ways, two layers", lambda: Sequence(nn.LSTM, 8, 2, True), _spec, (_clip,), _T, _T),
    Case("gru, both ways, two layers", lambda: Sequence(nn.GRU, 8, 2, True), _spec, (_clip,), _T, _T),
    Case("gru, negated", lambda: Sequence(nn.GRU, 17),
         _spec + "hidden: {pairing: skeleton, negated: 1/3}\n", (_clip,), _T, _T, only=("project",)),
    Case("lstm, negated", lambda: Sequence(nn.LSTM, 12, 2),
         _spec + "hidden: {negated: 1/2}\n", (_clip,), _T, _T, only=("project",)),
    Case("encoder and decoder", Forecaster, _spec, (_clip,), _T, _T),
    Case(
        "states passed along", Stepper,
        _spec + "inputs: [{layout: b t j d}, {state: true}, {state: true}]\n"
        "outputs: [{layout: b t j d}, {state: true}, {state: true}]\n",
        (_clip, (torch.zeros(2, 2, 9), torch.zeros(2, 2, 9))), (pose(), None, None), (pose(), None, None),
    ),
    Case("gru cell loop", GRULoop, _spec, (_clip,), _T, _T),
    Case("lstm cell loop", LSTMLoop, _spec, (_clip,), _T, _T),
    Case("gru cell by hand", HandWritten, _spec, (_clip,), _T, _T),
]  # fmt: skip
