"""Policies in an environment, from starts and from their mirror images, and what there is to say of both.

Example: from start 7 a robot walks to (3, 0.4) and returns 210; from the mirrored start one walks to (3, -0.4) and
returns 209. Their mirror images part by little, and the gap in return is 1. A policy that walks well on one side only
returns 210 and 90. `commands.rollouts` runs the original, its flip average and the result so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chiralize.verification.closed_loop.acting import Policy
from chiralize.verification.closed_loop.environment import Environment
from chiralize.verification.closed_loop.records import AVERAGE, Side, Walker

Array = npt.NDArray[np.float64]
APART_METRES, APART_SPREADS = 0.05, 0.5
"""Distances from which on robots have parted: in metres, or in spreads of what is seen where no place is known."""
_DRAWN = 5
"""Starts whose paths a report draws."""
_ROUNDED = 1e-6
_POINTS = 200
"""Points of a drawn path at most."""


@dataclass(frozen=True)
class Episode:
    """One policy from one start.

    places: `step+1 3`, in metres; or what was seen, `step+1 entry`, where nobody knows where the robot is.
    actions, turned: of both views, `step action`.  coordinates: of all joints, `step+1 joint`; None: no simulator.
    begins_even: what was seen first is its own mirror image.
    """

    rewards: Array
    fallen: bool
    places: Array
    actions: Array
    turned: Array
    coordinates: Array | None = None
    begins_even: bool = False

    @property
    def steps(self) -> int:
        """How long it lasted."""
        return len(self.rewards)


@dataclass(frozen=True)
class Walk:
    """All episodes of one policy: from starts, and from their mirror images."""

    name: str
    ahead: tuple[Episode, ...]
    mirrored: tuple[Episode, ...]


def walk(
    environment: Environment,
    policy: Policy,
    name: str,
    starts: int,
    steps: int,
    progress: Callable[[float], None] = lambda share: None,
) -> Walk:
    """Run a policy, or with `name` the flip average of one. Where starts cannot be mirrored, the policy is instead.

    Raises ModelRunError, UsageError.
    """
    ahead: list[Episode] = []
    mirrored: list[Episode] = []
    for start in range(starts):
        ahead.append(_episode(environment, policy, name, start, steps, False))
        mirrored.append(_episode(environment, policy, name, start, steps, True))
        progress((start + 1) / starts)
    return Walk(name, tuple(ahead), tuple(mirrored))


def _episode(environment: Environment, policy: Policy, name: str, start: int, steps: int, mirrored: bool) -> Episode:
    """One policy, or the flip average of it, from one start or from its mirror image.

    name: of the policy.  steps: the most that are taken.  Raises ModelRunError, UsageError.
    """
    policy.start()
    # Where the start cannot be mirrored, T a(T o) acts from the start as it is: in a symmetric environment it does
    # there what a does at the mirrored start, seen in a mirror.
    in_view = mirrored and environment.how == "view"
    observation = environment.begin(start, mirrored and not in_view)
    begins_even = _is_even(policy, observation, environment.name)
    places = [_where(environment, policy, observation)]
    coordinates = [environment.coordinates()]
    rewards: list[float] = []
    actions: list[Array] = []
    turned: list[Array] = []
    fallen = False
    for _ in range(steps):
        plain, other = policy.both(observation, environment.name)
        actions.append(plain)
        turned.append(other)
        # The flip average is its own mirror image: in views both of its episodes are the same.
        action = (plain + other) / 2 if name == AVERAGE else plain
        if in_view and name != AVERAGE:
            action = other
        step = environment.step(action)
        observation = step.observation
        # One place more than there are actions: that of the start.
        places.append(_where(environment, policy, observation))
        coordinates.append(environment.coordinates())
        rewards.append(step.reward)
        fallen = step.fallen
        if step.fallen or step.over:
            break
    drawable = [qpos for qpos in coordinates if qpos is not None]
    return Episode(
        np.array(rewards),
        fallen,
        np.stack(places),
        np.stack(actions),
        np.stack(turned),
        np.stack(drawable) if drawable else None,
        begins_even,
    )


def _is_even(policy: Policy, observation: Any, where: str) -> bool:
    """Whether what is seen is its own mirror image, as of a robot that stands straight and is to go straight ahead."""
    seen = np.concatenate(policy.flat_observation(observation, where))
    turned = np.concatenate(policy.turned_observation(observation, where))
    return bool(np.abs(seen - turned).max() <= _ROUNDED * max(np.abs(seen).max(), 1.0))


def _where(environment: Environment, policy: Policy, observation: Any) -> Array:
    """The place of the robot, x y z; where it cannot be mirrored what is seen, all inputs in one row."""
    position = environment.position() if environment.how == "state" else None
    if position is not None:
        return position
    return np.concatenate(policy.flat_observation(observation, environment.name))


# ---- figures --------------------------------------------------------------------------------------------------
def unit_of(environment: Environment) -> tuple[str, float]:
    """The unit of distances, and the distance from which on robots have parted."""
    if environment.how == "state":
        return "m", APART_METRES
    return "spreads of what is seen", APART_SPREADS


def walker_of(environment: Environment, policy: Policy, walked: Walk) -> Walker:
    """What there is to say of a walk."""
    _, apart = unit_of(environment)
    distances = _distances(environment, policy, walked)
    parted: list[int | None] = []
    for distance in distances:
        beyond = np.flatnonzero(distance > apart)
        parted.append(int(beyond[0]) if len(beyond) else None)
    return Walker(
        walked.name,
        _side(environment, walked.ahead),
        _side(environment, walked.mirrored),
        tuple(float(distance.mean()) for distance in distances),
        tuple(parted),
        0.0 if walked.name == AVERAGE else _action_gap(walked),
        sum(episode.begins_even for episode in walked.ahead),
    )


def _side(environment: Environment, episodes: tuple[Episode, ...]) -> Side:
    """The figures of the episodes of one side; paths of the first few, of 200 points, where places are known."""
    paths: list[tuple[tuple[float, float], ...]] = []
    for episode in episodes[:_DRAWN] if environment.how == "state" else ():
        every = -(-len(episode.places) // _POINTS)
        paths.append(tuple((float(x), float(y)) for x, y, _ in episode.places[::every]))
    return Side(
        tuple(float(episode.rewards.sum()) for episode in episodes),
        tuple(episode.steps for episode in episodes),
        tuple(episode.fallen for episode in episodes),
        tuple(paths),
    )


def _distances(environment: Environment, policy: Policy, walked: Walk) -> list[Array]:
    """For every start, the distance between T of one robot and the other, step by step, as long as both go on."""
    pairs = list(zip(walked.ahead, walked.mirrored, strict=True))
    # Of what is seen, every entry counts in its own spread, over the observations and their mirror images.
    spread = np.ones(1)
    if environment.how != "state":
        seen = np.concatenate([episode.places for episode in walked.ahead])
        turned = np.stack([_turned(policy, row) for row in seen])
        spread = np.concatenate([seen, turned]).std(0)
        spread = np.where(spread > 0, spread, 1.0)
    distances: list[Array] = []
    for one, other in pairs:
        steps = min(len(one.places), len(other.places))
        if environment.how == "state":
            difference = environment.turned_position(one.places[:steps]) - other.places[:steps]
            distances.append(np.linalg.norm(difference, axis=-1))
            continue
        # With mirrored views both ran from the same start: no T lies between them.
        image = one.places[:steps]
        if environment.how == "reset":
            image = np.stack([_turned(policy, row) for row in image])
        distances.append(np.sqrt(np.square((image - other.places[:steps]) / spread).mean(-1)))
    return distances


def _turned(policy: Policy, row: Array) -> Array:
    """T of what was seen, all inputs in one row."""
    sizes = [len(policy.labels(index)) for index in range(len(policy.reads.inputs))]
    return np.concatenate(policy.turned_observation(policy.reads.split(row, sizes), "--rollout"))


def _action_gap(walked: Walk) -> float:
    """RMS(a(o) - T a(T o)) over the spread of the actions, along the way from the starts."""
    actions = np.concatenate([episode.actions for episode in walked.ahead])
    turned = np.concatenate([episode.turned for episode in walked.ahead])
    spread = float(np.sqrt(np.square(actions - actions.mean(0)).mean()))
    return float(np.sqrt(np.square(actions - turned).mean())) / (spread or 1.0)
