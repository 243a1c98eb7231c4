"""Ants that follow a commanded turn in MuJoCo, several at a time, and what they record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chiralize.body.robots.describing import mirror_of
from chiralize.body.robots.mirroring import RobotMirror
from chiralize.body.robots.opening import opened_from
from chiralize.body.robots.stepping import begin
from examples.policy.gait import PERIOD, clock, trot

Array = npt.NDArray[np.float64]
Act = Callable[[Array], Array]
"""A policy: observations `robot 30` to torques `robot 8`."""

FASTEST_TURN = 0.6
"""rad/s, of the commands."""
TOLD_EVERY = 2.0
"""Seconds that a command lasts."""
NOISE = 0.15
"""Standard deviation of what is added to a demonstrated torque when it is executed, not when it is recorded."""
_POSITIONS = 15  # entries of qpos; the other 14 of a state are qvel
_STANDING = np.array([0.0, 0.0, 0.6, 1.0, 0.0, 0.0, 0.0, 0.0, 0.7, 0.0, -0.7, 0.0, -0.7, 0.0, 0.7])
_LOWEST = 0.2  # m; an Ant whose torso is lower has fallen


class Walk(NamedTuple):
    """What robots start from and are told.  states: `robot 29`, qpos and qvel.  times: `robot`, s, of their clocks.
    turns: `robot step`, rad/s."""

    states: Array
    times: Array
    turns: Array


class RollOut(NamedTuple):
    """states: `step+1 robot 29`.  rewards: `step robot`, see `roll_out`.  observations: `step robot 30`."""

    states: Array
    rewards: Array
    observations: Array

    def parting(self, other: RollOut) -> Array:
        """Distance of the torsos of T of these robots from those of others, m, `step+1 robot`."""
        return np.linalg.norm((mirrored_states(self.states) - other.states)[..., :3], axis=-1)


@dataclass(frozen=True)
class Simulator:
    """The compiled model, how the mirror acts on it, its steps per control, and seconds per control."""

    model: Any
    mirror: RobotMirror
    skip: int
    seconds: float


@cache
def simulator() -> Simulator:
    """gymnasium's Ant-v5. Raises ImportError where gymnasium or mujoco is not installed."""
    gymnasium: Any = import_module("gymnasium")

    ant: Any = gymnasium.make("Ant-v5").unwrapped
    return Simulator(ant.model, mirror_of(opened_from(ant.model, "Ant-v5")), ant.frame_skip, ant.dt)


def observe(states: Array, turns: Array, times: Array) -> Array:
    """Ant-v5's own observation without contact forces, then the commanded turn and the clock: `... 30`.

    states: `... 29`.  turns, times: `...`.
    """
    return np.concatenate([states[..., 2:], turns[..., None], clock(times)], axis=-1)


def mirrored_states(states: Array) -> Array:
    """T on `... 29`."""
    mirror = simulator().mirror
    positions, velocities = states[..., :_POSITIONS], states[..., _POSITIONS:]
    return np.concatenate([mirror.qpos.act(positions, -1), mirror.qvel.act(velocities, -1)], axis=-1)


def mirrored_walk(walk: Walk) -> Walk:
    """T on starts and commands; the mirrored clock is half a period ahead."""
    return Walk(mirrored_states(walk.states), walk.times + PERIOD / 2, -walk.turns)


def draw_walk(rng: np.random.Generator, robots: int, steps: int, slowest: float = -FASTEST_TURN) -> Walk:
    """Standing robots in random directions with joints and speeds a little off, commands uniform from `slowest`."""
    state = np.tile(np.concatenate([_STANDING, np.zeros(14)]), (robots, 1))
    heading = rng.uniform(-np.pi, np.pi, robots)
    state[:, 3], state[:, 6] = np.cos(heading / 2), np.sin(heading / 2)
    state[:, 7:] += 0.1 * rng.uniform(-1, 1, (robots, 22))
    spell = round(TOLD_EVERY / simulator().seconds)
    turns = rng.uniform(slowest, FASTEST_TURN, (robots, -(-steps // spell)))
    return Walk(state, rng.uniform(0, PERIOD, robots), np.repeat(turns, spell, axis=1)[:, :steps])


def roll_out(act: Act, walk: Walk, disturb: Callable[[Array], Array] = lambda torques: torques) -> RollOut:
    """Robots that `act` drives. disturb: torques as they are executed.

    The reward of a step is the speed along the torso's x in m/s, less the difference between the commanded and the
    actual rate of turning in rad/s; a robot that has fallen gets none.
    """
    mujoco: Any = import_module("mujoco")

    own = simulator()
    robots = [mujoco.MjData(own.model) for _ in walk.states]
    for data, state in zip(robots, walk.states, strict=True):
        begin(own.model, data, state[:_POSITIONS], state[_POSITIONS:])
    states, rewards, observations = [walk.states], [], []
    standing = np.ones(len(robots), bool)
    for step, turns in enumerate(walk.turns.T):
        observations.append(observe(states[-1], turns, walk.times + step * own.seconds))
        for data, torques in zip(robots, disturb(act(observations[-1])), strict=True):
            data.ctrl[:] = np.clip(torques, -1, 1)
            mujoco.mj_step(own.model, data, nstep=own.skip)
        states.append(np.stack([np.concatenate([data.qpos, data.qvel]) for data in robots]))
        standing &= states[-1][:, 2] > _LOWEST
        missed = np.abs(states[-1][:, _POSITIONS + 5] - turns)
        rewards.append(np.where(standing, forward_speed(states[-1]) - missed, 0.0))
    return RollOut(np.stack(states), np.stack(rewards), np.stack(observations))


def forward_speed(states: Array) -> Array:
    """Speed along the torso's own x, m/s, of `... 29`."""
    w, x, y, z = np.moveaxis(states[..., 3:7], -1, 0)
    ahead = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)], axis=-1)
    return (ahead * states[..., _POSITIONS : _POSITIONS + 3]).sum(-1)


def demonstrate(seed: int, robots: int, steps: int, slowest: float) -> tuple[Array, Array]:
    """Observations `(step robot) 30` of a disturbed trot, and the torques `(step robot) 8` that the trot asks for.

    slowest: least commanded turn, rad/s; 0 shows left turns only. Disturbances show how to recover (as in Laskey et
    al., "DART: Noise Injection for Robust Imitation Learning", 2017).
    """
    rng = np.random.default_rng([seed, 17])
    walk = draw_walk(rng, robots, steps, slowest)
    rolled = roll_out(trot, walk, lambda torques: torques + NOISE * rng.standard_normal(torques.shape))
    observations = rolled.observations.reshape(-1, rolled.observations.shape[-1])
    return observations, trot(observations)
