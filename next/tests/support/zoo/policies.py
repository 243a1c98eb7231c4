"""Robot policies: observations made of fields, signed joints, states kept in buffers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.support.zoo.case import Case, legs, negated, parts

_OBSERVATION = (
    "skeleton: quadruped\n"
    "inputs: [{fields: [{vector: base_velocity}, {axial: angular_velocity}, {vector: gravity},"
    " {signs: [1, -1, -1], name: command}, {joints: q}, {joints: dq}, {joints: last_action}]}]\n"
    "outputs: [{fields: [{joints: action}]}]\n"
)
_turn = parts(
    (3, negated([1], -1)), (3, negated([0, 2], -1)), (3, negated([1], -1)), (3, negated([1, 2], -1)),
    (12, legs), (12, legs), (12, legs),
)  # fmt: skip


class Policy(nn.Module):
    """Called by `act`; forward is the critic."""

    def __init__(self, activation: type[nn.Module] = nn.ELU) -> None:
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(48, 24), activation(), nn.Linear(24, 16), activation(), nn.Linear(16, 12))
        self.critic = nn.Linear(48, 1)

    def forward(self, observation: Tensor) -> Tensor:
        return self.critic(observation)

    def act(self, observation: Tensor) -> Tensor:
        """The action."""
        return self.actor(observation)


class Normalised(nn.Module):
    """Observations are normalised with running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(48))
        self.register_buffer("var", torch.ones(48))
        self.body = nn.Sequential(nn.Linear(48, 20), nn.Tanh(), nn.Linear(20, 12))

    def forward(self, observation: Tensor) -> Tensor:
        x = (observation - self.mean) / torch.sqrt(self.var + 1e-5)
        return torch.tanh(self.body(x.clamp(-5, 5)))


class Remembering(nn.Module):
    """A GRU cell whose state and last action stay in buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(48, 14), nn.Linear(14, 12)
        self.register_buffer("hidden", torch.zeros(1, 14))
        self.register_buffer("last", torch.zeros(1, 12))

    def forward(self, observation: Tensor) -> Tensor:
        self.hidden[:] = self.cell(observation, self.hidden)
        action = self.head(self.hidden) + 0.3 * self.last
        self.last.copy_(action)
        return action


class RememberingLSTM(nn.Module):
    """A whole LSTM layer with its two states in buffers, assigned anew."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.LSTM(48, 8), nn.Linear(8, 12)
        self.register_buffer("h", torch.zeros(1, 1, 8))
        self.register_buffer("c", torch.zeros(1, 1, 8))

    def forward(self, observation: Tensor) -> Tensor:
        out, (self.h, self.c) = self.rnn(observation.unsqueeze(0), (self.h, self.c))
        return self.head(out.squeeze(0))


_x = (torch.zeros(4, 48),)
_one = (torch.zeros(1, 48),)

CASES = [
    Case("policy, act", Policy, _OBSERVATION, _x, (_turn,), (legs,), entry="act"),
    Case("policy, relu", lambda: Policy(nn.ReLU).actor, _OBSERVATION, _x, (_turn,), (legs,)),
    Case(
        "policy, tanh negated",
        lambda: Policy(nn.Tanh).actor,
        _OBSERVATION + "hidden: {negated: 1/2}\n",
        _x,
        (_turn,),
        (legs,),
    ),
    Case("policy, normalised", Normalised, _OBSERVATION, _x, (_turn,), (legs,)),
    Case("policy, gru in buffers", Remembering, _OBSERVATION, _one, (_turn,), (legs,), stateful=True),
    Case("policy, lstm in buffers", RememberingLSTM, _OBSERVATION, _one, (_turn,), (legs,), stateful=True),
]
