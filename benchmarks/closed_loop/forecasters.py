"""Forecasters of Penn Action's 13 joints that answer one frame at a time and then read their own answers.

The state is an argument and a result, as where a server keeps one for every person that it sees.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.accuracy.tasks import FORECAST, OBSERVED, Forecasting, load_task
from chiralize.body.tensors import ConversionSpec, parse_spec

JOINTS = 13
SPEC = """
name: forecaster
skeleton: penn-action
inputs:
  - {layout: b j d, dims: [x, y]}
  - {state: true}
  - {state: true}
outputs:
  - {layout: b j d, dims: [x, y], feeds: input 0}
  - {state: true}
  - {state: true}
"""
UPDATES, BATCH, RATE = 3000, 16, 2e-3
SEQUENCES, FRAMES = 20, 200


class StepForecaster(nn.Module):
    """pose `sample 13 2` and state to the next pose and state.

    hidden, cell_state: `layer sample width`; a GRU leaves `cell_state` as it is.
    """

    def __init__(self, cell: str, width: int, layers: int = 2) -> None:
        super().__init__()
        self.memory = (nn.LSTM if cell == "lstm" else nn.GRU)(2 * JOINTS, width, layers)
        self.head = nn.Linear(width, 2 * JOINTS)
        self.width, self.layers = width, layers

    def following(self, poses: Tensor) -> Tensor:
        """The next frame for every frame, for training: `sample frame joint 2` both ways."""
        states, _ = self.memory(poses.flatten(2).swapaxes(0, 1))
        return poses + self.head(states).swapaxes(0, 1).unflatten(2, (JOINTS, 2))

    def forward(self, pose: Tensor, hidden: Tensor, cell_state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        frame = pose.flatten(1)[None]
        if isinstance(self.memory, nn.LSTM):
            states, (hidden, cell_state) = self.memory(frame, (hidden, cell_state))
        else:
            states, hidden = self.memory(frame, hidden)
        return pose + self.head(states[0]).unflatten(1, (JOINTS, 2)), hidden, cell_state

    def rest(self, samples: int) -> tuple[Tensor, Tensor]:
        """States of people who have not been seen yet."""
        zeros = torch.zeros(self.layers, samples, self.width)
        return zeros, zeros.clone()


@cache
def spec() -> ConversionSpec:
    return parse_spec(SPEC)


def task(folder: Path | None = None) -> Forecasting:
    found = load_task("forecasting", folder)
    assert isinstance(found, Forecasting)
    return found


def train(cell: str, width: int, flips: bool, seed: int) -> StepForecaster:
    """A forecaster, teacher-forced on windows of the training subjects, in eval mode. flips: half are mirrored."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    data, forecaster = task(), StepForecaster(cell, width)
    optimizer = torch.optim.Adam(forecaster.parameters(), lr=RATE, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, UPDATES)
    for _ in range(UPDATES):
        seen, wanted = data.draw(rng, BATCH)
        poses = np.concatenate([seen, wanted], 1)
        if flips:
            flipped = rng.random(BATCH) < 0.5
            poses[flipped] = data.mirror(poses[flipped])
        frames = torch.from_numpy(poses)
        optimizer.zero_grad()
        (forecaster.following(frames[:, :-1]) - frames[:, 1:]).norm(dim=-1).mean().backward()
        nn.utils.clip_grad_norm_(forecaster.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return forecaster.eval()


def calibration(seed: int) -> list[Tensor]:
    """Sequences `frame joint 2` of the training subjects, none longer than 200 frames."""
    data = task()
    rng = np.random.default_rng([seed, 29])
    sequences = data.sequences
    chosen = rng.permutation(len(sequences))[:SEQUENCES]
    return [torch.from_numpy(sequences[place][:FRAMES]) for place in chosen]


def forecast_error(forecaster: nn.Module, rest: tuple[Tensor, Tensor]) -> float:
    """Mean distance of forecast from true joints over the 16 frames after 8 observed ones, on the test subjects.

    rest: states of one sample before its first frame.
    """
    seen, wanted = task().test(None)
    state = tuple(own.expand(-1, len(seen), -1).contiguous() for own in rest)
    errors = []
    with torch.no_grad():
        for frame in range(OBSERVED - 1):
            _, *state = forecaster(seen[:, frame], *state)
        pose = seen[:, OBSERVED - 1]
        for frame in range(FORECAST):
            pose, *state = forecaster(pose, *state)
            errors.append((pose - wanted[:, frame]).norm(dim=-1).mean())
    return float(torch.stack(errors).mean())
