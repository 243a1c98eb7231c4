"""What of T an environment confirms: a boat whose every step can be computed, and what may be wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.on_examples import prepared
from chiralize.commands.rollouts import Episodes, environment_of
from chiralize.problem.network import Network
from chiralize.report.loop_cautions import loop_cautions, mirror_faults
from chiralize.report.loop_words import confirmed_in_words
from tests.commands.test_rollouts import STARTS, STEPS, Ahead, Learning, rollouts, run
from tests.support.skiff import SPEC, WRONG, Mirrored, Rower, Water


class Strong(Mirrored):
    """Shows the strengths of both oars, too, which are alike."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return np.concatenate([super().reset(seed=seed)[0], [1.0, 1.0]]), {}

    def mirrored_reset(self, *, seed: int) -> Any:
        return np.concatenate([super().mirrored_reset(seed=seed)[0], [1.0, 1.0]]), {}

    def step(self, action: Any) -> Any:
        seen, *rest = super().step(action)
        return np.concatenate([seen, [1.0, 1.0]]), *rest


def strong_rower() -> Network:
    """A policy that sees both strengths, and does nothing with them."""
    spec = parse_spec(SPEC.replace("name: speed}", "name: speed}, {joints: strength}"))
    policy = nn.Linear(5, 2).double()
    return prepared(policy, spec, (torch.zeros(1, 5, dtype=torch.float64),), None, "forward")


CONFIRMED: dict[str, tuple[Callable[[], Any], str, tuple[str, int, int]]] = {
    "its own mirror image": (Mirrored, SPEC, ("all", 3, 3)),
    "a heading of 0 at the start": (Ahead, SPEC, ("all", 2, 3)),
    "an asymmetric environment": (lambda: Mirrored(Water(right=1.3)), SPEC, ("start", 3, 3)),
    "one that draws at random": (lambda: Mirrored(Water(noise=0.1)), SPEC, ("start", 3, 3)),
    "a one-sided reward": (lambda: Mirrored(Water(slant=0.3)), SPEC, ("all", 3, 3)),
    "another mirror": (Mirrored, WRONG, ("nothing", 3, 3)),
    "another mirror, unseen at the start": (Ahead, WRONG, ("nothing", 2, 3)),
    "starts that differ anyhow": (Learning, SPEC, ("nothing", 3, 3)),
}


@pytest.mark.parametrize("case", CONFIRMED)
def test_what_the_environment_confirms_of_the_mirror(case: str) -> None:
    """Nothing where it contradicts; of one whose sides differ, or that draws, what is seen at the start."""
    make, spec, expected = CONFIRMED[case]
    probe = run(Rower(), make, spec).probe
    assert probe is not None and probe.coverage.observed == 3
    assert (probe.confirms, probe.coverage.tested_at_start, probe.coverage.tested) == expected


PAID = {
    "sides that differ": (Water(right=1.02), False, ["the environment itself is asymmetric"]),
    "sides that differ much": (Water(right=1.5), False, ["the environment itself is asymmetric"]),
    "and a reward that does": (
        Water(right=1.02, slant=0.3), True, ["the environment itself is asymmetric", "the reward is one-sided"]
    ),
    "a reward alone": (Water(slant=0.3), True, ["the reward is one-sided"]),
    "noise": (Water(noise=0.1, slant=0.3), None, ["the environment draws at random"]),
}  # fmt: skip


@pytest.mark.parametrize("case", PAID)
def test_a_robot_whose_sides_differ_does_not_hide_a_one_sided_reward(case: str) -> None:
    """It tells after the first step, where the robot is still nearly its own mirror image."""
    water, is_uneven, says = PAID[case]
    record = run(Rower(), lambda: Mirrored(water), SPEC)
    assert record.probe is not None
    if is_uneven is not None:
        assert record.probe.is_paid_unevenly == is_uneven
    environment = [caution.brief for caution in loop_cautions(record) if "environment" in caution.brief]
    reward = [caution.brief for caution in loop_cautions(record) if "reward" in caution.brief]
    assert [*environment, *reward] == says


def test_entries_that_are_alike_on_both_sides_confirm_no_swap() -> None:
    """Nor does one that is 0: who took its partner or its sign for another would have seen the same."""
    record, _ = rollouts(strong_rower(), environment_of(Strong), episodes=Episodes(STARTS, STEPS))
    assert record.probe is not None and record.probe.is_symmetric
    assert (record.probe.confirms, record.probe.coverage.tested, record.probe.coverage.observed) == ("all", 3, 5)
    assert confirmed_in_words(record) == (
        "the environment confirms T in 3 of 5 entries of what is seen (the others are 0 there, or alike)"
    )


class WithFlaps(Mirrored):
    """Two flaps beside the oars, which the heading tilts, too: one turns left where the other one turns right."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float64)
        self.flaps = np.zeros(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.flaps = np.zeros(2)
        return np.concatenate([super().reset(seed=seed)[0], self.flaps]), {}

    def mirrored_reset(self, *, seed: int) -> Any:
        return np.concatenate([super().mirrored_reset(seed=seed)[0], self.flaps]), {}

    def step(self, action: Any) -> Any:
        seen, *rest = super().step(action[:2])
        self.flaps = 0.8 * self.flaps + 0.1 * action[2:] + 0.1 * seen[1]
        return np.concatenate([seen, self.flaps]), *rest


FLAPS = """
joints: [left_oar, right_oar, left_flap, right_flap]
pairs: infer
dims: [q]
negate: []
signs: {left_flap: [-1], right_flap: [-1]}
inputs:
  - layout: b f
    fields:
      - {signs: [-1], name: offset}
      - {signs: [-1], name: heading}
      - {scalar: 1, name: speed}
      - {joints: angle, of: [left_flap, right_flap]}
outputs: [{layout: "b (j d)"}]
"""


@pytest.mark.parametrize("spec", [FLAPS, FLAPS.replace("signs: {left_flap: [-1], right_flap: [-1]}\n", "")])
def test_signs_that_are_wrong_in_what_is_seen_and_done_are_told_from_an_asymmetric_environment(spec: str) -> None:
    """The two nearly make up for each other, and a joint that begins at 0 shows nothing at the start."""
    policy = prepared(nn.Linear(5, 4).double(), parse_spec(spec), (torch.zeros(1, 5).double(),), None, "forward")
    probe = rollouts(policy, environment_of(WithFlaps), episodes=Episodes(STARTS, STEPS))[0].probe
    assert probe is not None and probe.start == 0.0 and not probe.contrary.opposed
    rival = probe.contrary.rival
    if spec == FLAPS:
        assert probe.is_symmetric and rival is None
        return
    assert rival is not None and rival.name == "the other sign of left_flap and right_flap"
    assert probe.confirms == "nothing" and probe.contradicts == (rival.name,)
    ((text, brief),) = mirror_faults(probe, "reset")
    assert text.startswith("with the other sign of left_flap and right_flap mirrored actions from a mirrored start do ")
    assert brief.endswith("the other sign of left_flap and right_flap fits the environment")


class WithNeck(WithFlaps):
    """A neck in the middle that is stopped on one side, and that nothing else feels: no sign of it is wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float64)

    def step(self, action: Any) -> Any:
        seen, *rest = super().step(np.append(action, 0.0))
        self.flaps = np.array([max(self.flaps[0], -0.02), 0.0])
        return np.concatenate([seen[:3], self.flaps[:1]]), *rest

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return super().reset(seed=seed)[0][:4], {}

    def mirrored_reset(self, *, seed: int) -> Any:
        return super().mirrored_reset(seed=seed)[0][:4], {}


def test_a_joint_in_the_middle_is_not_accused() -> None:
    """With the other sign T does nothing to it, and any environment is symmetric in that."""
    spec = FLAPS.replace("left_flap, right_flap]\npairs", "neck]\npairs").replace(
        "of: [left_flap, right_flap]", "of: [neck]"
    )
    spec = spec.replace("{left_flap: [-1], right_flap: [-1]}", "{neck: [-1]}")
    policy = prepared(nn.Linear(4, 3).double(), parse_spec(spec), (torch.zeros(1, 4).double(),), None, "forward")
    probe = rollouts(policy, environment_of(WithNeck), episodes=Episodes(STARTS, STEPS))[0].probe
    assert probe is not None and not probe.is_symmetric and probe.contrary.rival is None
    assert probe.entries[0].startswith("angle.neck")


class Remembering(Mirrored):
    """It shows both oars of the step before, which are at rest at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.last = np.zeros(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.last = np.zeros(2)
        return np.concatenate([super().reset(seed=seed)[0], self.last]), {}

    def mirrored_reset(self, *, seed: int) -> Any:
        self.last = np.zeros(2)
        return np.concatenate([super().mirrored_reset(seed=seed)[0], self.last]), {}

    def step(self, action: Any) -> Any:
        self.last = np.array(action, np.float64)
        seen, *rest = super().step(action)
        return np.concatenate([seen, self.last]), *rest


def test_entries_that_were_0_at_the_start_may_be_mirrored_wrongly() -> None:
    """The environment is not accused alone: nothing at the start tells how a memory of actions is mirrored."""
    for rest, is_told in (("{joints: last}", False), ("{scalar: [port, starboard], name: last}", True)):
        spec = SPEC.replace("name: speed}", f"name: speed}}, {rest}")
        policy = prepared(nn.Linear(5, 2).double(), parse_spec(spec), (torch.zeros(1, 5).double(),), None, "forward")
        record = rollouts(policy, environment_of(Remembering), episodes=Episodes(STARTS, STEPS))[0]
        texts = [caution.text for caution in loop_cautions(record) if "itself is asymmetric" in caution.brief]
        assert any("Or the specification mirrors these entries wrongly" in text for text in texts) == is_told, texts
