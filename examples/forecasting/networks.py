"""Sequence-to-sequence forecasting of 2D poses with two stacked LSTMs on either side (paper, section 5.2).

An encoder reads the observed frames; a decoder starts from the encoder's states and says frame by frame how far the
next one is from this one. Both read a frame together with its difference from the frame before (velocity):

    h_t, memory = decoder([p_t, v_t], memory);   v_{t+1} = W h_t + b;   p_{t+1} = p_t + v_{t+1}

Three layouts, one class: torch's layers (plain), chiral layers between plain pairs (free), and chiral layers in the
layout of the paper (joints times channels, half of them negated). An LSTM has tanh and sigmoid only: signs forbid
nothing.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from chiralize import nn as chiral
from chiralize.body.skeleton.catalog import load_skeleton
from chiralize.symmetry.representation import Representation

JOINTS = 13
"""Of Penn Action: head, then shoulders, elbows, wrists, hips, knees and ankles, left before right."""
GROUPS = (6, 6, 1)
"""Left, right and middle joints, the order of the hidden space in the paper's layout."""
NEGATED = 0.5
"""Share of the hidden channels that change sign in the paper's layout; x and y of a joint: one of two."""
PAPER_WIDTH = 1040
"""Hidden units in the paper, 80 a joint."""
FORECAST = 16
"""Frames that are forecast."""
LAYERS = 2
DROPOUT = 0.5


class Forecaster(nn.Module):
    """`batch frame joint 2`, at least two frames, to the `steps` next ones, `batch step joint 2`.

    encoder, decoder: LSTMs over `batch frame channel`, four channels a joint: all positions, then all velocities.
    head: from the decoder's output to the velocities of all joints.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, head: nn.Module, steps: int, dropout: float) -> None:
        super().__init__()
        self.encoder, self.decoder, self.head = encoder, decoder, head
        self.dropout = nn.Dropout(dropout)
        self.steps = steps

    def forward(self, poses: Tensor) -> Tensor:
        """Every forecast frame follows from the network's own answer before it."""
        frames = poses.flatten(2)  # batch frame (joint coord)
        memory = self._read(frames)
        frame, velocity = frames[:, -1:], frames[:, -1:] - frames[:, -2:-1]
        answers = []
        for _ in range(self.steps):
            states, memory = self.decoder(torch.cat([frame, velocity], 2), memory)
            velocity = self.head(self.dropout(states))
            frame = frame + velocity
            answers.append(frame)
        return torch.cat(answers, 1).unflatten(2, poses.shape[2:])

    def following(self, poses: Tensor, future: Tensor) -> Tensor:
        """Teacher forcing: every forecast frame follows from the true one before it. Shapes as those of `forward`."""
        frames = poses.flatten(2)
        memory = self._read(frames)
        true = torch.cat([frames[:, -2:], future[:, :-1].flatten(2)], 1)
        before = true[:, 1:]
        states, _ = self.decoder(torch.cat([before, true.diff(dim=1)], 2), memory)
        return (before + self.head(self.dropout(states))).unflatten(2, poses.shape[2:])

    def _read(self, frames: Tensor) -> Any:
        """The encoder's last states; the velocity of the first frame is not known, so that the second comes first."""
        return self.encoder(torch.cat([frames[:, 1:], frames[:, 1:] - frames[:, :-1]], 2))[1]


def forecaster(
    layout: Literal["plain", "free", "paper"],
    width: int = PAPER_WIDTH,
    steps: int = FORECAST,
    dropout: float = DROPOUT,
) -> Forecaster:
    """An untrained network with `width` hidden units.

    Raises RepresentationSizeError for a width that the paper's layout cannot have: it is a multiple of 13.
    """
    if layout == "plain":
        encoder, decoder = (
            nn.LSTM(4 * JOINTS, width, LAYERS, batch_first=True, dropout=dropout) for _ in range(2)
        )  # fmt: skip
        return Forecaster(encoder, decoder, nn.Linear(width, 2 * JOINTS), steps, dropout)
    pose = Representation.of(load_skeleton("penn-action").merged_action(["x", "y"]))
    hidden = chiral.hidden(width) if layout == "free" else chiral.negated_share(GROUPS, width, NEGATED)
    encoder, decoder = (
        chiral.LSTM(pose + pose, hidden, LAYERS, batch_first=True, dropout=dropout) for _ in range(2)
    )  # fmt: skip
    return Forecaster(encoder, decoder, chiral.Linear(hidden, pose), steps, dropout)
