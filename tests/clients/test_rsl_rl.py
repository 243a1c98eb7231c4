"""Mirrored samples for rsl_rl, on tables and tensors; `test_rsl_rl_recurrent.py` has rsl_rl itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from chiralize.clients.rsl_rl import MirroredVecEnv, augmentation, symmetry_cfg
from chiralize.errors import SpecError, UsageError

JOINTS = ["FL_hip", "FR_hip", "FL_knee", "FR_knee", "RL_hip", "RR_hip", "RL_knee", "RR_knee"]
SIDES = [["FL_hip", "FR_hip"], ["FL_knee", "FR_knee"], ["RL_hip", "RR_hip"], ["RL_knee", "RR_knee"]]
ENDS = [["FL_hip", "RL_hip"], ["FL_knee", "RL_knee"], ["FR_hip", "RR_hip"], ["FR_knee", "RR_knee"]]


def spec(pairs: list[list[str]], part: str, lateral: str, name: str | None = "policy") -> dict[str, Any]:
    """A quadruped: velocity, turning, joints."""
    signs = {joint: [-1] for joint in JOINTS if joint.endswith(part)}
    body = {"joints": JOINTS, "pairs": pairs, "dims": ["q"], "negate": [], "signs": signs, "lateral": lateral}
    entry = {"fields": [{"vector": "velocity"}, {"axial": "turning"}, {"joints": "angles"}]}
    named = entry if name is None else {**entry, "name": name}
    return {"name": "quadruped", **body, "inputs": [named], "outputs": [{"layout": "b (j d)"}]}


SIDE, END = spec(SIDES, "hip", "y"), spec(ENDS, "knee", "x")


def by_hand(obs: Tensor) -> Tensor:
    """The mirror image of `spec(SIDES)`, written out."""
    image = obs[:, [0, 1, 2, 3, 4, 5, 7, 6, 9, 8, 11, 10, 13, 12]]
    return image * torch.tensor([1, -1, 1, -1, 1, -1, -1, -1, 1, 1, -1, -1, 1, 1])


def test_as_given_and_in_the_mirror() -> None:
    obs, actions = torch.randn(5, 14), torch.randn(5, 8)
    both, moved = augmentation(SIDE)(env=None, obs={"policy": obs}, actions=actions)
    assert torch.equal(both["policy"], torch.cat([obs, by_hand(obs)]))
    assert moved is not None and torch.equal(moved[5:], by_hand(torch.cat([obs[:, :6], actions], 1))[:, 6:])
    assert augmentation(SIDE)(env=None, obs=None, actions=None) == (None, None)


def test_tensors_of_rsl_rl_2() -> None:
    obs = torch.randn(3, 14)
    twice, nothing = augmentation(SIDE)(obs=obs, actions=None, env=None, obs_type="policy")
    assert nothing is None and torch.equal(twice, torch.cat([obs, by_hand(obs)]))
    told_apart = augmentation(SIDE, groups={"critic": None})
    assert torch.equal(told_apart(None, obs, None, "critic")[0], torch.cat([obs, obs]))


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 6), st.integers(0, 1000))
def test_two_mirrors_are_a_group(rows: int, seed: int) -> None:
    """Four views; mirrored once more, they are the same four in another order."""
    torch.manual_seed(seed)
    obs = torch.randn(rows, 14, dtype=torch.float64)
    four = augmentation(SIDE, END)
    views = four(obs=obs)[0].split(rows)
    for view in views:
        images = four(obs=view)[0].split(rows)
        assert all(any(torch.equal(image, other) for other in views) for image in images)
    assert torch.equal(views[3], augmentation(END)(obs=views[1])[0][rows:])


def test_groups_by_name() -> None:
    """A group of another layout needs a description of its own, and a wrong one is not made up."""
    obs = {"policy": torch.randn(2, 14), "critic": torch.randn(2, 14), "camera": torch.randn(2, 4, 4)}
    with pytest.raises(UsageError, match="'critic'.*not described"):
        augmentation(SIDE)(obs=obs)
    done = augmentation(SIDE, groups={"critic": spec(SIDES, "knee", "y", None), "camera": None})(obs=obs)[0]
    assert torch.equal(done["policy"][2:], by_hand(obs["policy"]))
    assert not torch.equal(done["critic"][2:], by_hand(obs["critic"]))
    assert torch.equal(done["camera"][2:], obs["camera"])
    nested = {"policy": {"joints": torch.randn(2, 14)}}
    with pytest.raises(UsageError, match="table within a table"):
        augmentation(SIDE)(obs=nested)
    with pytest.raises(SpecError):
        augmentation(SIDE)(obs={"policy": torch.randn(2, 15)})


def test_mirrors_that_do_not_commute() -> None:
    crooked = spec([["FL_hip", "RL_hip"]], "none", "x")
    with pytest.raises(UsageError, match="do not commute"):
        augmentation(SIDE, crooked)(actions=torch.randn(2, 8))


def test_configuration() -> None:
    config = symmetry_cfg(SIDE, mirror_loss=0.2)
    assert (config["use_data_augmentation"], config["use_mirror_loss"], config["mirror_loss_coeff"]) == (
        True,
        True,
        0.2,
    )
    assert symmetry_cfg(SIDE, augment=False)["use_mirror_loss"] is False


class Walkers:
    """Four environments whose observation is the last action; the first ends at every third step."""

    num_envs, num_actions, device = 4, 8, "cpu"

    def __init__(self, old: bool = False) -> None:
        self.steps, self.old, self.taken = 0, old, torch.zeros(4, 8)

    def get_observations(self) -> Any:
        """Observations, before rsl_rl 3 with extras."""
        obs = torch.cat([torch.zeros(4, 6), self.taken], 1)
        return (obs, {"observations": {"critic": obs}}) if self.old else {"policy": obs}

    def step(self, actions: Tensor) -> tuple[Any, ...]:
        """Takes actions as they are, in the world."""
        self.steps += 1
        self.taken = actions
        dones = torch.tensor([self.steps % 3 == 0, False, False, False])
        obs = self.get_observations()
        rest = (torch.zeros(4), dones)
        return (obs[0], *rest, obs[1]) if self.old else (obs, *rest, {})


@pytest.mark.parametrize("old", [False, True])
def test_episodes_in_the_mirror(old: bool) -> None:
    """A view lasts for an episode, the world sees the mirrored action, the policy its own."""
    world = Walkers(old)
    env = MirroredVecEnv(world, SIDE if not old else spec(SIDES, "hip", "y", None), seed=1)
    assert env.num_actions == 8 and len({bool(flag) for flag in env.mirrored}) == 2
    seen: set[bool] = set()
    for step in range(1, 30):
        before = env.mirrored.clone()
        actions = torch.randn(4, 8)
        obs = env.step(actions)[0]
        image = by_hand(torch.cat([torch.zeros(4, 6), actions], 1))[:, 6:]
        assert torch.equal(world.taken, torch.where(before[:, None], image, actions))
        answer = (obs if old else obs["policy"])[:, 6:]
        same_view = before == env.mirrored
        assert torch.equal(answer[same_view], actions[same_view])
        assert same_view[1:].all() and (same_view[0] or step % 3 == 0)
        seen.add(bool(env.mirrored[0]))
    assert seen == {True, False}
    again = MirroredVecEnv(Walkers(old), SIDE, seed=1)
    assert torch.equal(again.mirrored, MirroredVecEnv(Walkers(old), SIDE, seed=1).mirrored)
    with pytest.raises(UsageError):
        MirroredVecEnv(world, SIDE, share=1.5)
