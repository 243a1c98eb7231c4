"""Recurrent policies of MuJoCo's Ant that cannot see speeds: they imitate the trot of `examples.policy` from memory.

An observation is that of the example without the three entries that are speeds, so that a policy has to remember joint
angles to damp them. As on real robots, the state lies in buffers that `forward` writes, for one robot.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.ant import BODY, TORQUES
from chiralize.body.tensors import ConversionSpec, parse_spec, resolve
from chiralize.symmetry.representation import Representation
from examples.policy.gait import ACTIONS, FIELDS, OBSERVATIONS, trot
from examples.policy.networks import statistics
from examples.policy.robot import NOISE, Array, Walk, draw_walk, mirrored_walk, roll_out
from examples.policy.task import mirror

SPEEDS = ("velocity", "angular_velocity", "joint_velocities")
SEEN = np.delete(np.arange(OBSERVATIONS), np.r_[tuple(FIELDS[name] for name in SPEEDS)])
"""Entries of the example's observation that these policies see, 16 of 30."""
SPEC = (
    "name: ant-without-speeds"
    + BODY
    + """inputs:
  - layout: b f
    fields:
      - {scalar: 1, name: height}
      - {signs: [1, -1, 1, -1], name: orientation}
      - {joints: joint_angles}
      - {signs: [-1], name: turn}
      - {signs: [-1, -1], name: clock}
"""
    + TORQUES
)
ROBOTS, STEPS = 96, 200
"""Demonstrations; a control step is 0.05 s."""
UPDATES, SEQUENCES, FRAMES, RATE = 1200, 24, 100, 3e-3
WALKERS = 6


class RecurrentPolicy(nn.Module):
    """observation `1 16` to torques `1 8`, as a share of the largest. cell: nn.LSTM or nn.GRU.

    hidden, cell_state: what the policy remembers, `1 1 width`; forward writes it.
    """

    def __init__(self, cell: str, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(len(SEEN)))
        self.register_buffer("scale", torch.ones(len(SEEN)))
        self.register_buffer("hidden", torch.zeros(1, 1, width))
        self.register_buffer("cell_state", torch.zeros(1, 1, width if cell == "lstm" else 0))
        self.memory = (nn.LSTM if cell == "lstm" else nn.GRU)(len(SEEN), width, batch_first=True)
        self.head = nn.Sequential(nn.Linear(width, width), nn.ELU(), nn.Linear(width, ACTIONS))

    def following(self, observations: Tensor) -> Tensor:
        """Torques along whole sequences from rest, for training: `sequence step 16` to `sequence step 8`."""
        states, _ = self.memory((observations - self.mean) / self.scale)
        return self.head(states)

    def forward(self, observation: Tensor) -> Tensor:
        seen = ((observation - self.mean) / self.scale)[:, None]
        if isinstance(self.memory, nn.LSTM):
            states, (hidden, cell) = self.memory(seen, (self.hidden, self.cell_state))
            self.cell_state.copy_(cell.detach())
        else:
            states, hidden = self.memory(seen, self.hidden)
        self.hidden.copy_(hidden.detach())
        return self.head(states[:, 0])


@cache
def spec() -> ConversionSpec:
    return parse_spec(SPEC)


@cache
def representations() -> tuple[Representation, Representation]:
    """How the mirror acts on an observation and on the torques."""
    resolved = resolve(spec(), [(1, len(SEEN))], [(1, ACTIONS)])
    (observation,), (torques,) = resolved.inputs, resolved.outputs
    assert observation is not None and torques is not None
    return observation.axes[-1], torques.axes[-1]


# ---- data -----------------------------------------------------------------------------------------------------
@cache
def demonstrations(seed: int) -> tuple[Tensor, Tensor]:
    """Observations `robot step 16` along disturbed trots, and the torques `robot step 8` that the trot asks for."""
    rng = np.random.default_rng([seed, 23])
    walk = draw_walk(rng, ROBOTS, STEPS)
    rolled = roll_out(trot, walk, lambda torques: torques + NOISE * rng.standard_normal(torques.shape))
    observations = rolled.observations.swapaxes(0, 1)  # robot step entry
    return torch.from_numpy(observations[..., SEEN]).float(), torch.from_numpy(trot(observations)).float()


def calibration(seed: int) -> Tensor:
    """Sequences to convert with: observations `robot step 16` of other walks than those of the training."""
    return demonstrations(100 + seed)[0]


# ---- training -------------------------------------------------------------------------------------------------
def train(cell: str, width: int, flips: bool, seed: int) -> RecurrentPolicy:
    """A policy that imitates the trot, in eval mode and at rest. flips: half of the sequences are mirrored."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    observations, torques = demonstrations(seed)
    into, out = representations()
    policy = RecurrentPolicy(cell, width)
    policy.mean, policy.scale = statistics(observations.flatten(0, 1), into)
    optimizer = torch.optim.Adam(policy.parameters(), lr=RATE, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, UPDATES)
    for _ in range(UPDATES):
        chosen, start = rng.integers(ROBOTS, size=SEQUENCES), rng.integers(STEPS - FRAMES)
        seen, wanted = (values[chosen, start : start + FRAMES] for values in (observations, torques))
        if flips and rng.random() < 0.5:
            seen, wanted = mirror(seen, into), mirror(wanted, out)
        optimizer.zero_grad()
        (100 * (policy.following(seen) - wanted).square().mean()).backward()
        nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return policy.eval()


# ---- in the loop ----------------------------------------------------------------------------------------------
@cache
def walks() -> tuple[Walk, Walk]:
    """Walks that no demonstration shows, and their mirror images."""
    walk = draw_walk(np.random.default_rng(2), WALKERS, STEPS)
    return walk, mirrored_walk(walk)


def walk_error(policy: nn.Module) -> float:
    """RMS of the torques about those of the trot where the policy itself has led the robots, in their spread.

    Every robot has a copy of the policy, which starts from its stored state.
    """
    squares, spreads = [], []
    for walk in walks():
        rolled = roll_out(_acting(policy, WALKERS), walk)
        wanted = trot(rolled.observations)
        acted = _replayed(policy, rolled.observations)
        squares.append(np.square(acted - wanted).mean())
        spreads.append(np.square(wanted - wanted.mean((0, 1))).mean())
    return float(np.sqrt(np.mean(squares) / np.mean(spreads)))


def _acting(policy: nn.Module, robots: int) -> Callable[[Array], Array]:
    copies = [copy.deepcopy(policy) for _ in range(robots)]

    def act(observations: Array) -> Array:
        seen = torch.from_numpy(observations[..., SEEN]).float()
        with torch.no_grad():
            torques = [network(row[None]) for network, row in zip(copies, seen, strict=True)]
        return torch.cat(torques).double().numpy()

    return act


def _replayed(policy: nn.Module, observations: Array) -> Array:
    """What the policy does along `step robot 30`."""
    act = _acting(policy, observations.shape[1])
    return np.stack([act(row) for row in observations])
