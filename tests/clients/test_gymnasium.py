"""Environments in the mirror, and whether the simulator agrees with a specification."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import yaml

from chiralize.clients.gymnasium import MirroredEnv, check_env
from chiralize.errors import MirrorError, UsageError

ROOT = Path(__file__).parents[2]
BODY = {
    "joints": ["left", "right", "neck"],
    "pairs": [["left", "right"]],
    "dims": ["q"],
    "negate": [],
    "signs": {"neck": [-1]},
}
SPEC = {"name": "small", **BODY, "inputs": [{"layout": "b (j d)"}], "outputs": [{"layout": "b (j d)"}]}


class Echo(gymnasium.Env[Any, Any]):
    """Observes its last action. Actions go from -1 to 1, but for those given."""

    def __init__(self, high: tuple[float, float, float] = (1.0, 1.0, 1.0), dictionary: bool = False) -> None:
        low = np.full(3, -1.0, np.float32)
        self.action_space = gymnasium.spaces.Box(low, np.array(high, np.float32))
        box = gymnasium.spaces.Box(np.float32([0, -1, -1]), np.float32([1, 2, 1]))
        clock = gymnasium.spaces.Box(-1, 1, (2,))
        self.dictionary = dictionary
        self.observation_space = gymnasium.spaces.Dict({"body": box, "clock": clock}) if dictionary else box
        self.taken = np.zeros(3, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Of the seed."""
        super().reset(seed=seed)
        self.taken = self.np_random.uniform(0, 1, 3).astype(np.float32)
        return self.seen(), {}

    def seen(self) -> Any:
        """The observation."""
        return {"body": self.taken, "clock": np.float32([0, 1])} if self.dictionary else self.taken

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Keeps the action."""
        self.taken = action
        return self.seen(), float(action[0]), False, False, {}


def test_an_episode_in_the_mirror() -> None:
    env = MirroredEnv(Echo(), SPEC)
    seen, _ = env.reset(seed=5, options={"mirrored": True})
    world = env.unwrapped.taken  # type: ignore[attr-defined]
    assert np.array_equal(seen, world[[1, 0, 2]] * [1, 1, -1])
    action = np.float32([0.1, 0.2, 0.3])
    seen, reward, *_ = env.step(action)
    assert np.allclose(env.unwrapped.taken, [0.2, 0.1, -0.3])  # type: ignore[attr-defined]
    assert np.array_equal(seen, action) and reward == pytest.approx(0.2)
    assert np.array_equal(env.reset(seed=5, options={"mirrored": False})[0], world)


def test_seeds() -> None:
    """The same seed gives the same view and the same start; both views come; p is kept to."""
    env = MirroredEnv(Echo(), SPEC)
    first = [(env.reset(seed=seed)[0].tolist(), env.mirrored) for seed in range(12)]
    assert first == [(env.reset(seed=seed)[0].tolist(), env.mirrored) for seed in range(12)]
    assert {flag for _, flag in first} == {True, False}
    for p in (0.0, 1.0):
        always = MirroredEnv(Echo(), SPEC, p=p)
        assert all(always.reset()[0] is not None and always.mirrored == bool(p) for _ in range(5))
    with pytest.raises(UsageError):
        MirroredEnv(Echo(), SPEC, p=2)


def test_spaces() -> None:
    """Observations of both views are in the space; actions that would leave theirs are refused."""
    env = MirroredEnv(Echo(), SPEC)
    assert env.observation_space.low.tolist() == [-1, -1, -1]  # type: ignore[attr-defined]
    assert env.observation_space.high.tolist() == [2, 2, 1]  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="action 0: -1 to 1, in the mirror -1 to 0.5"):
        MirroredEnv(Echo((1.0, 0.5, 1.0)), SPEC)
    with pytest.raises(UsageError, match="action 2: -1 to 0.5, in the mirror -0.5 to 1"):
        MirroredEnv(Echo((1.0, 1.0, 0.5)), SPEC)


def test_dictionaries() -> None:
    with pytest.raises(UsageError, match="not described"):
        MirroredEnv(Echo(dictionary=True), SPEC)
    env = MirroredEnv(Echo(dictionary=True), SPEC, groups={"clock": None}, p=1)
    seen, _ = env.reset(seed=1)
    assert np.array_equal(seen["body"], env.unwrapped.taken[[1, 0, 2]] * [1, 1, -1])  # type: ignore[attr-defined]
    assert seen["clock"].tolist() == [0, 1] and env.observation_space.contains(seen)


def ant() -> dict[str, Any]:
    """The example's specification, without what gymnasium's Ant does not observe."""
    spec = yaml.safe_load((ROOT / "examples/policy/ant.yaml").read_text())
    spec["inputs"][0]["fields"] = spec["inputs"][0]["fields"][:6]
    return spec


def test_the_simulator_agrees() -> None:
    env = gymnasium.make("Ant-v5", include_cfrc_ext_in_observation=False)
    report = check_env(env, ant(), states=4).raise_for_failure()
    assert report.passed and report.still == 0 and report.stepped < 1e-9 and report.reward < 1e-9
    with pytest.raises(UsageError, match="set_state"):
        check_env(Echo(), SPEC)


def test_the_simulator_names_what_is_wrong() -> None:
    """A field of another kind by its entries; wrong actions, and wrong joints, by the step."""
    env = gymnasium.make("Ant-v5", include_cfrc_ext_in_observation=False)
    spec = ant()
    spec["inputs"][0]["fields"][4] = {"vector": "turning"}
    report = check_env(env, spec, states=4)
    assert [entry.index for entry in report.wrong if entry.is_still] == [16, 17, 18]
    assert "entry 16 (turning.x): the specification says +obs[16], the simulator -obs[16]" in report.to_text()
    with pytest.raises(MirrorError):
        report.raise_for_failure()
    actions, joints = ant(), copy.deepcopy(ant())
    actions["outputs"][0]["joints"] = actions["joints"]
    del joints["signs"]["hip_1"], joints["signs"]["hip_4"]
    for wrong in (actions, joints):
        report = check_env(env, wrong, states=4)
        assert report.wrong and not any(entry.is_still for entry in report.wrong)
        assert "at rest the observation is mirrored as the specification says" in report.to_text()


def test_a_state_that_the_skeleton_does_not_say() -> None:
    """A planar walker has a root of slides: its mirror is the user's to give."""
    env = gymnasium.make("Ant-v5", include_cfrc_ext_in_observation=False)
    spec = ant()
    del spec["lateral"], spec["inputs"][0]["fields"][3:5]
    with pytest.raises(UsageError, match="state="):
        check_env(env, spec)
    signs = np.array([1, -1, 1, 1, -1, 1, -1, *[1] * 8])
    swapped = np.array([0, 1, 2, 3, 4, 5, 6, 13, 14, 11, 12, 9, 10, 7, 8])
    signs[[7, 9, 11, 13]] = -1
    moving = np.array([1, -1, 1, -1, 1, -1, -1, 1, -1, 1, -1, 1, -1, 1])
    others = np.array([0, 1, 2, 3, 4, 5, 12, 13, 10, 11, 8, 9, 6, 7])

    def state(qpos: Any, qvel: Any) -> tuple[Any, Any]:
        return signs * qpos[swapped], moving * qvel[others]

    assert check_env(env, ant(), state=state, states=2).passed


class Bounded(gymnasium.ActionWrapper[Any, Any, Any]):
    """Ant with other bounds: it turns actions into torques by `torque`, and cuts off what is out of bounds."""

    def __init__(self, low: Any, high: Any, torque: Callable[[Any], Any]) -> None:
        super().__init__(gymnasium.make("Ant-v5", include_cfrc_ext_in_observation=False))
        self.action_space = gymnasium.spaces.Box(np.full(8, low, np.float32), np.full(8, high, np.float32))
        self.torque, self.seen = torque, list[Any]()

    def action(self, action: Any) -> Any:
        self.seen.append(action)
        space: Any = self.action_space
        inside = np.clip(action, space.low, space.high)
        return np.clip(self.torque(inside.astype(np.float64)), -1, 1)


HIPS = np.array([1, 0] * 4)  # in the order of the actions; the mirror negates them
SIDES = np.array([1, 1, -1, -1, -1, -1, 1, 1])  # of hip_4, hip_1, hip_2, hip_3


def test_actions_are_tried_all_the_way_to_their_bounds() -> None:
    """Up to 1 both sides do alike. Beyond, one of them is weaker."""
    env = Bounded(-2, 2, lambda action: action / 2)
    assert check_env(env, ant(), states=4).passed and np.abs(env.seen).max() > 1.5
    uneven = Bounded(-2, 2, lambda action: np.where(np.abs(action) > 1, (0.3 + 0.1 * (SIDES > 0)) * action, action / 2))
    assert not check_env(uneven, ant(), states=4).passed


@pytest.mark.parametrize("far", [np.inf, np.finfo(np.float32).max])
def test_actions_without_bounds(far: float) -> None:
    """Those within 1 of zero are tried; with one bound that is far from zero, those next to it."""
    env = Bounded(-far, far, lambda action: action)
    assert check_env(env, ant(), states=4).passed and 0.5 < np.abs(env.seen).max() <= 1
    knees = Bounded(np.where(HIPS, -1, 3), np.where(HIPS, 1, far), lambda action: np.where(HIPS, action, action - 4))
    assert check_env(knees, ant(), states=4).passed
    bent = np.array(knees.seen)[:, 1::2]
    assert bent.min() >= 3 and 4.5 < bent.max() <= 5


def test_bounds_that_the_mirror_keeps() -> None:
    """Knees from 0 to 1, which it exchanges; hips from -0.5 to 1 on one side, from -1 to 0.5 on the other."""
    low = np.where(HIPS, np.where(SIDES > 0, -0.5, -1), 0)
    high = np.where(HIPS, np.where(SIDES > 0, 1, 0.5), 1)
    env = Bounded(low, high, lambda action: action)
    report = check_env(env, ant(), states=4)
    assert report.passed and not report.bounds and "bounds" not in report.to_text()
    seen = np.array(env.seen)
    assert (seen >= np.float32(low)).all() and (seen <= np.float32(high)).all()


def test_bounds_that_the_mirror_does_not_keep() -> None:
    """What both sides can do is tried. What no side can is no fault of an entry, and does not pass."""
    wide = check_env(Bounded(np.where(HIPS, -0.5, -1), 1, lambda action: action), ant(), states=4)
    assert wide.passed and not wide.untried and "action 0: -0.5 to 1, in the mirror -1 to 0.5" in wide.to_text()
    assert "only actions whose mirror images are within bounds were tried" in wide.to_text()
    for low, high in ((0, 1), (2, 3)):
        env = Bounded(low, high, lambda action: action - 0.5)
        report = check_env(env, ant(), states=4)
        assert not report.passed and report.untried == (0, 2, 4, 6)
        assert f"action 0: {low} to {high}, in the mirror -{high} to {-low}" in report.to_text()
        assert "of action 0, 2, 4, 6 no value has its mirror image within bounds" in report.to_text()
        with pytest.raises(MirrorError, match="out of their bounds"):
            report.raise_for_failure()
    wrong = ant()
    wrong["outputs"][0]["joints"] = wrong["joints"]
    assert check_env(Bounded(np.where(HIPS, -0.5, -1), 1, lambda action: action), wrong, states=4).wrong
