"""Whether a specification is the mirror of an environment in MuJoCo, by stepping it from mirrored states.

With T_s on states (qpos, qvel), T_a on actions and T_o on observations, the environment commutes with the mirror where

    obs(T_s s) = T_o obs(s)                      at rest: only T_o can be wrong
    obs(step(T_s s, T_a a)) = T_o obs(step(s, a))     after a step: T_a, or the robot itself, as well

An entry that differs is named with what it should have been (`-obs[14]`) and what the simulator shows there, if one
entry of obs(s) fits in all states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chiralize.clients._bounds import check_bounds, is_untried, tried_range
from chiralize.clients._mujoco_state import Pair, StateMirror, state_mirror
from chiralize.clients._tables import Spec, TableMirror, is_table
from chiralize.errors import MirrorError, UsageError
from chiralize.errors.words import when

Array = npt.NDArray[np.float64]
_SHOWN = 8
"""Entries that a text lists."""
_WHERE = "check_env"


@dataclass(frozen=True)
class WrongEntry:
    """An entry of the observation that is not what the specification says.

    name: of the block and what is in it.  says: what the entry is in the mirror by the specification, `-obs[14]`.
    shows: what it is in the simulator, "" where no other entry fits.  off: the largest difference.
    is_still: it differs without a step, so that only the observation can be at fault.
    """

    index: int
    name: str
    says: str
    shows: str
    off: float
    is_still: bool


@dataclass(frozen=True)
class EnvReport:
    """How far an environment is from commuting with a mirror.

    still, stepped: largest differences of observations, of a mirrored state and of one step from it; in their unit.
    tolerance: up to which they pass.  reward: largest difference of rewards, which may have a side.
    bounds: actions that the mirror takes out of their bounds, "" for none.  untried: those of them that have no mirror
    image within bounds, so that nothing shows what they do in the mirror.
    """

    states: int
    still: float
    stepped: float
    reward: float
    tolerance: float
    wrong: tuple[WrongEntry, ...]
    bounds: str = ""
    untried: tuple[int, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every entry is what the specification says, and every action could be tried on both sides."""
        return not self.wrong and not self.untried

    def raise_for_failure(self) -> EnvReport:
        """This report; MirrorError where it has not passed."""
        if not self.passed:
            remedy = "correct pairs, signs and fields; what only differs after a step may be an asymmetric model"
            raise MirrorError(_WHERE, self.to_text(), remedy)
        return self

    def to_text(self) -> str:
        """What was found, in lines."""
        lines = [
            f"{self.states} states and their mirror images: observations differ by {self.still:.2g}, after a step by "
            f"{self.stepped:.2g}, rewards by {self.reward:.2g}"
        ]
        if self.bounds:
            lines.append(f"the mirror takes actions out of their bounds: {self.bounds}")
        if self.untried:
            names = ", ".join(map(str, self.untried[:_SHOWN])) + when(len(self.untried) > _SHOWN, ", ...")
            lines.append(
                f"of action {names} no value has its mirror image within bounds: correct its pair or its sign, or let "
                "the environment scale actions to -1 to 1; what differs after a step may come from that"
            )
        elif self.bounds:
            lines.append("only actions whose mirror images are within bounds were tried")
        if self.wrong and not any(entry.is_still for entry in self.wrong):
            lines.append(
                "at rest the observation is mirrored as the specification says: what differs is the mirror of the "
                "action, the skeleton by which states were mirrored, or the robot itself"
            )
        for entry in self.wrong[:_SHOWN]:
            if entry.shows:
                shows = f", the simulator {entry.shows}"
            else:
                shows = ", and no single entry fits what the simulator shows"
            moment = when(not entry.is_still, " after a step")
            lines.append(f"entry {entry.index} ({entry.name}){moment}: the specification says {entry.says}{shows}")
        if len(self.wrong) > _SHOWN:
            lines.append(f"and {len(self.wrong) - _SHOWN} more")
        return "\n".join(lines)


def check_env(
    env: Any,
    spec: Spec,
    *,
    state: StateMirror | None = None,
    states: int = 16,
    seed: int = 0,
    tolerance: float = 1e-6,
) -> EnvReport:
    """Compare observations of mirrored states with mirrored observations, at rest and after a step.

    env: a MuJoCo environment of gymnasium, with `set_state`; its observation is one array.  spec: of a policy, its
    first input the observation, its first output the action.
    state: the mirror on (qpos, qvel). Without it, it follows from the skeleton: of a floating base and hinges or slides
    that have the joints' names, or are as many.
    states: how many are tried, along random actions.  tolerance: for every entry, times its largest size where that is
    beyond 1.
    Raises UsageError for environments that cannot be put into a state, SpecError.
    """
    inner = env.unwrapped
    if not hasattr(inner, "set_state") or not hasattr(inner, "model"):
        facts = f"{type(inner).__name__} cannot be put into a state (it has no set_state)"
        raise UsageError(_WHERE, facts, "give a MuJoCo environment")
    mirror = TableMirror.of(spec)
    turn = state or state_mirror(inner.model, mirror.spec)
    before, after = [], []
    low, high = tried_range(env.action_space, mirror.actions)
    rewards: list[float] = []
    for first, second, gap in _tried(env, mirror, turn, (low, high), states, seed):
        before.append(first)
        after.append(second)
        rewards.append(gap)
    still = _compared(mirror, [pair[0] for pair in before], [pair[0] for pair in after], tolerance)
    stepped = _compared(mirror, [pair[1] for pair in before], [pair[1] for pair in after], tolerance)
    size = before[0][1].size
    wrong = _wrong(mirror, still[1], size, True)
    # What is off at rest is off after a step as well: it is named once.
    moved = {index: entry for index, entry in stepped[1].items() if index not in still[1]}
    wrong += _wrong(mirror, moved, size, False)
    bounds = check_bounds(env.action_space, mirror.actions, _WHERE, refuse=False)
    untried = tuple(np.flatnonzero(is_untried(env.action_space, low, high)).tolist())
    return EnvReport(states, still[0], stepped[0], max(rewards), tolerance, tuple(wrong), bounds, untried)


def _tried(
    env: Any, mirror: TableMirror, turn: StateMirror, ends: tuple[Array, Array], states: int, seed: int
) -> Iterator[tuple[Pair, Pair, float]]:
    """Observations at rest and after a step, of states and of their mirror images, and how far rewards differ.

    ends: least and greatest of every action that is tried.
    """
    generator = np.random.default_rng(seed)
    inner = env.unwrapped
    space = env.action_space
    # Where the ends have changed places no action has its image within bounds: the middle is taken.
    middle = (ends[0] + ends[1]) / 2
    low, high = np.where(ends[0] > ends[1], middle, ends[0]), np.where(ends[0] > ends[1], middle, ends[1])
    env.reset(seed=seed)
    for _ in range(states):
        # Rounding to the dtype of actions may lead over a bound.
        action = np.clip(generator.uniform(low, high).astype(space.dtype), space.low, space.high)
        qpos, qvel = inner.data.qpos.copy(), inner.data.qvel.copy()
        first = _from(env, (qpos, qvel), action)
        image = turn(qpos, qvel)
        second = _from(env, image, np.asarray(mirror.actions(action)))
        yield first[0], second[0], abs(first[1] - second[1])
        # On from the state itself by another action, so that the next one is a state that the robot gets into.
        _put(inner, (qpos, qvel))
        env.step(generator.uniform(low, high).astype(space.dtype))


def _from(env: Any, state: Pair, action: Array) -> tuple[Pair, float]:
    """Observations of a state and of a step from it, and the step's reward."""
    # Whatever the environment counts or draws besides its state is the same for a state and its mirror image.
    env.reset(seed=0)
    inner = env.unwrapped
    _put(inner, state)
    # Empty where there is no way to observe without a step: then only steps are compared.
    resting = _observed(inner._get_obs()) if hasattr(inner, "_get_obs") else np.zeros(0)
    answer = env.step(action)
    moved = _observed(answer[0])
    if resting.shape != moved.shape:  # wrappers change what is seen
        resting = np.zeros(0)
    return (resting, moved), float(answer[1])


def _put(inner: Any, state: Pair) -> None:
    """Set a state; what the solver remembers of other states would tell two sides apart."""
    inner.data.qacc_warmstart[:] = 0
    inner.set_state(*state)


def _observed(value: Any) -> Array:
    """An observation as one array "entry", a copy. Raises UsageError for several."""
    if is_table(value) or isinstance(value, tuple):
        raise UsageError(_WHERE, "the observation is no single array", "check its parts one by one, or flatten it")
    return np.asarray(value, np.float64).copy()


def _compared(
    mirror: TableMirror, before: Sequence[Array], after: Sequence[Array], tolerance: float
) -> tuple[float, dict[int, tuple[float, str]]]:
    """The largest difference, and of every entry that is off: by how much, and what it is in place of what it should.

    before, after: observations of states, and of their mirror images.
    """
    if not before[0].size:
        return 0.0, {}
    expected, answers = np.asarray(mirror.observations(np.stack(before))), np.stack(after)
    seen = np.stack(before)
    allowed = tolerance * np.maximum(1.0, np.abs(answers).max(0))
    gaps = np.abs(expected - answers).max(0)
    off: dict[int, tuple[float, str]] = {}
    for index in np.flatnonzero(gaps > allowed).tolist():
        off[index] = float(gaps[index]), _fitting(seen, answers[:, index], float(allowed[index]))
    return float(gaps.max()), off


def _fitting(seen: Array, answer: Array, allowed: float) -> str:
    """The entry, with its sign, that is what the mirror image shows; "" where none or more than one is."""
    # An entry that is 0 in all states fits with both signs, and so says nothing.
    fits: list[str] = []
    for sign, text in ((1, "+"), (-1, "-")):
        gaps = np.abs(seen - sign * answer[:, None]).max(0)
        fits += [f"{text}obs[{index}]" for index in np.flatnonzero(gaps <= allowed).tolist()]
    return fits[0] if len(fits) == 1 else ""


def _wrong(mirror: TableMirror, off: Mapping[int, tuple[float, str]], size: int, is_still: bool) -> list[WrongEntry]:
    """Entries that are off, in the words of the specification. size: of the observation."""
    if not off:
        return []
    # T of (1, 2, 3, ...) shows where each entry comes from and with which sign.
    said = np.asarray(mirror.observations(np.arange(1.0, size + 1)[None]))[0]
    entries: list[WrongEntry] = []
    for index, (gap, shows) in off.items():
        says = f"{'+' if said[index] > 0 else '-'}obs[{int(abs(said[index])) - 1}]"
        entries.append(WrongEntry(index, mirror.label(size, index), says, shows, gap, is_still))
    return entries
