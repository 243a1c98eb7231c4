"""Is an environment its own mirror image? Asked with random actions, so that no policy has a part in the answer.

    o_0, a_1 -> o_1, a_2 -> o_2, ...            from a start, actions at random
    p_0, T a_1 -> p_1, T a_2 -> p_2, ...        from the mirror image of the start
    T o_k = p_k for all k                       if T is the mirror, and the environment symmetric

What differs tells the cause (decision 0046). At k = 0 no action has been taken: T of an observation is wrong, or the
start is. Later, with the same actions twice giving the same: the environment's sides differ, or T of actions is wrong.
Rewards alone: they ask for one side. `commands.rollouts` asks this before any policy runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chiralize.verification.closed_loop.acting import Policy
from chiralize.verification.closed_loop.environment import Environment
from chiralize.verification.closed_loop.records import MIRRORED, Contrary, Coverage, Probe
from chiralize.verification.closed_loop.robot import asymmetry

Array = npt.NDArray[np.float64]
STARTS, STEPS = 5, 10
_LEAST = 1e-3  # of the size of all entries, so that what is zero but for rounding is not blown up
_SHOWN = 5
_PAID, _FURTHER = 0.01, 4.0
"""Rewards of a first step are one-sided where they are that far apart at least, and so many times as far as what is
seen then: the sides of a robot that differ do not do that."""
_OPPOSED = 0.9
"""Of minus the sizes of both runs: an entry whose product over them is beyond it does the opposite in one of them."""


@dataclass(frozen=True)
class _Run:
    """Observations `step+1 entry`, of which the first is the start, and rewards; as far as the episode went.

    seen: T of them where that was asked for.  shown: as the environment gave them.
    """

    seen: Array
    shown: Array
    rewards: Array
    ended: bool


def probe(environment: Environment, policy: Policy, starts: int) -> Probe:
    """Run random actions from a start and T of them from its mirror image, and compare.  Raises ModelRunError.

    policy: says how observations and actions are mirrored; it does not act.  starts: of which five at most are taken.
    Differences are the largest over all starts and steps, by entry in the size of that entry.
    """
    runs = [_compared(environment, policy, start) for start in range(min(starts, STARTS))]
    # The largest differences over all starts, by entry, and what they are evidence of.
    first = np.max([run.apart[0] for run in runs], axis=0)
    later = np.max([run.apart[1] for run in runs], axis=0)
    worst = first if first.max() > MIRRORED else later  # what differs at the start differs later in consequence
    at_start = [(run.plain.seen[:1], run.plain.shown[:1]) for run in runs]
    along = [(run.plain.seen, run.plain.shown) for run in runs]
    moved = _moved(environment, policy)
    return Probe(
        start=float(first.max()),
        steps=float(later.max()),
        reward=max(run.reward for run in runs),
        paid_at_once=max(run.paid_at_once for run in runs),
        repeated=max(run.repeated for run in runs),
        restarted=max(run.restarted for run in runs),
        ends=any(run.ends for run in runs),
        entries=_names(worst, policy) if worst.max() > MIRRORED else (),
        contrary=Contrary(
            # an entry that is wrong at the start is named as such, and not by what follows from it
            opposed=_opposed([run.after for run in runs], policy) if first.max() <= MIRRORED < later.max() else (),
            actions=_actions_mirrored_otherwise(environment, policy),
        ),
        robot=asymmetry(environment.robot) if environment.robot is not None else "",
        coverage=Coverage(len(first), _tested(at_start, moved), _tested(along, moved)),
    )


@dataclass(frozen=True)
class _Compared:
    """What one start shows: T of a run against the run of T, and the run against itself once more.

    plain: the run from the start.  apart: by entry, at the start and later.  after: T of what was seen after the start,
    and what was seen from the mirror image, "step entry" each.  reward, repeated, restarted: as in `Probe`.
    """

    plain: _Run
    apart: tuple[Array, Array]
    after: tuple[Array, Array]
    reward: float
    paid_at_once: float
    repeated: float
    restarted: float
    ends: bool


def _compared(environment: Environment, policy: Policy, start: int) -> _Compared:
    """Three runs: from a start, the same once more (what is drawn at random shows), and from the mirror image."""
    actions = _actions(environment, start)
    plain = _run(environment, policy, start, actions, mirrored=False, turned=True)
    again = _run(environment, policy, start, actions, mirrored=False, turned=True)
    turned = [policy.turned_action(action) for action in actions]
    other = _run(environment, policy, start, turned, mirrored=True, turned=False)
    restarted, repeated = (float(difference.max()) for difference in _apart(plain.seen, again.seen))
    if len(plain.seen) != len(again.seen):
        repeated = np.inf  # one of the two ended
    steps = min(len(plain.seen), len(other.seen))
    return _Compared(
        plain,
        _apart(plain.seen, other.seen),
        (plain.seen[1:steps], other.seen[1:steps]),
        _rewards_apart(plain.rewards, other.rewards),
        _paid_at_once(plain, other),
        repeated,
        restarted,
        ends=len(plain.seen) != len(other.seen) or plain.ended != other.ended,
    )


def _tested(views: Sequence[tuple[Array, Array]], moved: npt.NDArray[np.bool_]) -> int:
    """In how many entries what was seen could have spoken against T.

    views: T of what was seen, and what was seen, "step entry" each.  moved: the entries that T moves or negates.
    One that is 0 all along has no sign, and one that is what T makes of it has a partner that nobody can tell.
    """
    turned, shown = (np.concatenate(parts) for parts in zip(*views, strict=True))
    size = np.abs(turned).max(0)
    floor = _LEAST * float(np.sqrt(np.square(turned).mean())) + np.finfo(np.float64).tiny
    changed = np.abs(turned - shown).max(0) > MIRRORED * size
    return int(((size > floor) & (changed | ~moved)).sum())


def _moved(environment: Environment, policy: Policy) -> npt.NDArray[np.bool_]:
    """Which entries of what is seen T moves or negates."""
    sizes = [len(policy.labels(index)) for index in range(len(policy.reads.inputs))]
    row = np.arange(1.0, sum(sizes) + 1)  # numbers that all differ, in size too, and none of which is 0
    turned = np.concatenate(policy.turned_observation(policy.reads.split(row, sizes), environment.name))
    return turned != row


def _actions(environment: Environment, start: int) -> list[Array]:
    """Random actions, the same for a start whenever it is asked for."""
    rng = np.random.default_rng([start, 41])
    return [environment.random_action(rng) for _ in range(STEPS)]


def _run(
    environment: Environment, policy: Policy, start: int, actions: Sequence[Array], *, mirrored: bool, turned: bool
) -> _Run:
    """Actions from a start, or from its mirror image. turned: T of what is seen. Raises ModelRunError, UsageError."""
    observations = [environment.begin(start, mirrored)]
    rewards: list[float] = []
    ended = False
    for action in actions:
        step = environment.step(action)
        observations.append(step.observation)
        rewards.append(step.reward)
        if step.fallen or step.over:
            ended = True
            break
    shown = np.stack([np.concatenate(policy.flat_observation(one, environment.name)) for one in observations])
    seen = shown
    if turned:
        seen = np.stack([np.concatenate(policy.turned_observation(one, environment.name)) for one in observations])
    return _Run(seen, shown, np.array(rewards), ended)


def _apart(seen: Array, other: Array) -> tuple[Array, Array]:
    """Largest difference of every entry at the start, and later, in the size of the entry."""
    steps = min(len(seen), len(other))  # one of the two may have ended before
    seen, other = seen[:steps], other[:steps]
    both = np.abs(np.concatenate([seen, other]))
    floor = _LEAST * float(np.sqrt(np.square(both).mean())) + np.finfo(np.float64).tiny
    difference = np.abs(seen - other) / np.maximum(both.max(0), floor)
    difference[~np.isfinite(difference)] = np.inf  # nan in one of them must not look like no difference
    if steps > 1:
        later = difference[1:].max(0)
    else:
        later = np.zeros_like(difference[0])
    return difference[0], later


def _opposed(pairs: Sequence[tuple[Array, Array]], policy: Policy) -> tuple[str, ...]:
    """Entries "step entry" that are the negative of each other all along, but for what a few steps let grow."""
    one, other = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    # -1 where one is minus the other throughout; by the larger size, so that one near 0 is no opposite of a large one.
    product, size = (one * other).sum(0), np.maximum(np.square(one).sum(0), np.square(other).sum(0))
    moves = size > (_LEAST**2) * size.max(initial=0.0)
    labels = _labels(policy)
    return tuple(labels[int(index)] for index in np.flatnonzero(moves & (product < -_OPPOSED * size)))[:_SHOWN]


def _rewards_apart(rewards: Array, other: Array) -> float:
    """Largest difference of two rewards of one step, in the size of the largest; 0 where all are 0."""
    steps = min(len(rewards), len(other))
    rewards, other = rewards[:steps], other[:steps]
    size = float(np.abs(np.concatenate([rewards, other])).max(initial=0.0))
    if size:
        return float(np.abs(rewards - other).max(initial=0.0)) / size
    return 0.0


def _paid_at_once(plain: _Run, other: _Run) -> float:
    """How far the rewards of the first step are apart, in their size, where that is no consequence of what is seen."""
    size = float(np.abs(np.concatenate([plain.rewards, other.rewards])).max(initial=0.0))
    if not size or min(len(plain.seen), len(other.seen)) < 2:
        return 0.0
    # Robots whose sides differ see other things after one step, and are paid for these a little otherwise.
    seen = float(_apart(plain.seen[:2], other.seen[:2])[1].max())
    paid = abs(float(plain.rewards[0] - other.rewards[0])) / size
    return paid if paid > max(_PAID, _FURTHER * seen) else 0.0


def _names(differences: Array, policy: Policy) -> tuple[str, ...]:
    """The entries that differ most, the furthest first, each with its difference."""
    labels = _labels(policy)
    order = [int(index) for index in np.argsort(-differences) if differences[index] > MIRRORED]
    return tuple(f"{labels[index]} ({differences[index]:.2g})" for index in order[:_SHOWN])


def _labels(policy: Policy) -> list[str]:
    """Names of all entries of what is seen, in their order."""
    return [label for index in range(len(policy.reads.inputs)) for label in policy.labels(index)]


def _actions_mirrored_otherwise(environment: Environment, policy: Policy) -> tuple[str, ...]:
    """Entries that the robot's actuators mirror otherwise than the specification; none where sizes differ.

    Only where the actions are the simulator's own: an environment with a reset of its own may have another order.
    """
    if environment.how != "state" or environment.robot is None or environment.robot.ctrl.size != environment.low.size:
        return ()
    asked = np.arange(1.0, environment.low.size + 1)  # an action whose entries all differ, as in `_moved`
    difference = np.abs(environment.robot.ctrl.act(asked) - policy.turned_action(asked))
    labels = policy.action_labels()
    return tuple(labels[int(index)] for index in np.flatnonzero(difference)[:_SHOWN])
